// SPDX-License-Identifier: MIT
//
// The machine as host tests have it: an arena of "physical" memory that begins at address 0, a clock that
// only the test moves, and wakes that are written down.  Links in the place of hypervisor/arch/x86/platform.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "hv/base/address.hpp"
#include "hv/core/platform/isolated_space.hpp"

namespace hv::fake {

/// Physical addresses [0, arena_bytes) have memory behind them; the first page is there, too.  It reads zero
/// until it is written, and costs nothing until then.
inline constexpr std::uint64_t arena_bytes{8ull << 30};

/// Everything as at the start of a program: memory zero, clock at 0 and 1 GHz, `processors` processors,
/// nothing recorded.
void reset_platform(unsigned processors = 2);

void set_current_processor(unsigned processor);

void set_ticks(std::uint64_t ticks);
void advance_ticks(std::uint64_t ticks);
void set_ticks_per_second(std::uint64_t frequency);

/// The processors that were woken, in order.
[[nodiscard]] const std::vector<unsigned>& wakes();
void forget_wakes();
/// What set_deadline was last told on a processor; ~0 is disarmed.
[[nodiscard]] std::uint64_t deadline(unsigned processor);
/// Called by wait_for_interrupt and take_pending_interrupts (`waits` says which): the test may move the clock
/// there.
void on_interrupt_window(std::function<void(bool waits)> action);
/// Times that wait_for_interrupt was called.
[[nodiscard]] unsigned waits();
/// Runs of addresses that modules have now; 0 after a test that unbound what it bound.
[[nodiscard]] unsigned module_reservations();
/// Makes map_module_pages and map_isolated_pages fail after that many calls; ~0: never.
void fail_module_mapping(unsigned after);
/// One more mapping: whether it is to fail.
[[nodiscard]] bool module_mapping_fails();
/// The file behind physical memory, for a second mapping of a frame.
[[nodiscard]] int physical_memory();

// ---- isolated instances (fake_isolated_space.cpp): hooks run in the test's process, on their own stacks ----

/// Address spaces of instances there are now.
[[nodiscard]] unsigned isolated_spaces();
/// The next isolated hook runs, but does not return: it is thrown out at its end with `fault`.
void fail_next_hook(core::platform::HookEnd end, const core::platform::HookFault& fault = {});
/// What last_hook_stack() says from now on.
void show_hook_stack(const core::platform::HookStack& stack);
/// The next isolated hook is interrupted once.
void interrupt_next_hook();
/// Hooks that were run isolated since the platform was reset, and those that needed their space loaded for themselves.
[[nodiscard]] unsigned isolated_hooks();
[[nodiscard]] unsigned space_switches();
[[nodiscard]] std::uint64_t hook_budget();

/// All that was written to the console.
[[nodiscard]] const std::string& console();

}  // namespace hv::fake
