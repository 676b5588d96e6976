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
/// Makes map_module_pages fail after that many calls; ~0: never.
void fail_module_mapping(unsigned after);
/// All that was written to the console.
[[nodiscard]] const std::string& console();

}  // namespace hv::fake
