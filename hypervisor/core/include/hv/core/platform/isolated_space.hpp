// SPDX-License-Identifier: MIT
//
// Address spaces of isolated module instances, and running a hook in one: with the least privilege, on the instance's own
// stack, with nothing mapped for it but what it was given.  A link-time seam like platform.hpp: the target's definitions are in
// hypervisor/arch/x86/mm/isolated_space.cpp and cpu/module_gate.cpp, the host tests' in tests/fake.  Knows nothing of
// modules: pages, functions and their ends.
//
// The hypervisor's own half is the same in every space, and no instance can reach it.  No space is ever loaded on the
// control domain's processor.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "hv/abi/host_table.hpp"
#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/memory/frame_allocator.hpp"
#include "hv/core/platform/module_space.hpp"

namespace hv::core::platform {

struct IsolatedSpace {
    FrameAllocator& frames;
    Ledger& ledger;  ///< pays for the tables
    HostPhysical root{};
    /// Where the instance's addresses begin: all of isolated_bytes from here are its own, at first with nothing mapped.
    std::uint64_t base{};
    /// Who runs in it is thrown out at the next interrupt, for ever.
    std::atomic<bool> closed{};
};

inline constexpr std::uint64_t isolated_bytes{1ull << 30};

/// Makes the tables; once.  Fails with no_memory or limit_reached; destroy_isolated_space() gives back what there is.
Status create_isolated_space(IsolatedSpace& space);
/// Gives the tables back.  No processor has it loaded, and none will.
void destroy_isolated_space(IsolatedSpace& space);
/// Shows the instance [frames, frames + bytes) at `address`, where nothing was mapped before.  Fails with no_memory.
Status map_isolated_pages(IsolatedSpace& space, std::uint64_t address, HostPhysical frames, std::uint64_t bytes,
                          ModuleAccess access);
/// What of its stack a hook can use before it meets a page that is not mapped.
[[nodiscard]] std::uint64_t isolated_stack_bytes();

/// The address, in every space, that a module calls for the service at this position of the service table (0: the first).
[[nodiscard]] std::uint64_t isolated_service(unsigned position);
/// Where a hook returns to; the caller puts it on top of the hook's stack.
[[nodiscard]] std::uint64_t isolated_return();

/// Keeps the space loaded on this processor, so that its hooks pay no switch; null: the hypervisor's own.
void keep_loaded(const IsolatedSpace* space);

enum class HookEnd : std::uint8_t {
    returned,
    fault,        ///< last_hook_fault() says which
    over_budget,  ///< it ran longer than set_hook_budget() allows
    closed,       ///< the space was closed meanwhile
};

/// Where a hook was when it was thrown out: registers in the instruction set's order.
struct HookFault {
    std::uint64_t general[16]{};
    std::uint64_t rip{}, rflags{};
    std::uint64_t address{};  ///< of a page fault
    std::uint32_t vector{}, error_code{};
};

/// What lay on the stack of a trusted hook when it was thrown out, from its stack pointer upwards, as much of it as is kept.
struct HookStack {
    std::uint64_t address{};
    std::uint64_t top{};  ///< the hook's whole stack ends here; the address that it returns to is the last word
    std::span<const std::byte> bytes{};
};

/// The context among them: no hook of the ABI has more.
inline constexpr std::size_t hook_arguments{5};

struct HookCallFrame {
    std::uint64_t function;
    std::uint64_t stack;  ///< points to the return address
    std::uint64_t arguments[hook_arguments];
};

struct HookOutcome {
    std::uint64_t verdict;  ///< of one that returned
    HookEnd end;
    /// Interrupts came meanwhile and were taken: whatever they stood for must be looked for.
    bool interrupted;
};

/// Runs a hook to its end, with interrupts enabled while the module's own code runs.  Not nested.
HookOutcome run_isolated_hook(IsolatedSpace& space, const HookCallFrame& frame);
/// How a hook of a trusted instance ended: like abi::Verdict, it comes back in registers.
struct TrustedOutcome {
    std::uint64_t verdict;
    std::uint64_t thrown_out;  ///< not 0: last_hook_end() says why
};
/// Runs a hook in the hypervisor's own ring.  It is thrown out when it faults in its own code, or when another processor finds
/// that it runs too long while its own code runs; within a service it is left alone.  Not nested.
extern "C" TrustedOutcome hv_run_trusted_hook(std::uint64_t context, std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t,
                                              std::uint64_t function);
/// Looks whether trusted hooks on other processors run too long.  Any processor but the control domain's, more often than hooks
/// have budgets.
void watch_trusted_hooks();
/// The budget of hooks in ticks().
[[nodiscard]] std::uint64_t hook_budget();

/// Of this processor's last hook that did not return.
[[nodiscard]] HookEnd last_hook_end();
[[nodiscard]] const HookFault& last_hook_fault();
/// Of this processor's last trusted hook that was thrown out.  Empty where its stack pointer did not lead into its stack.
[[nodiscard]] HookStack last_hook_stack();
/// In ticks(), for all processors: how long a hook may run; ~0: as long as it likes.
void set_hook_budget(std::uint64_t ticks);

}  // namespace hv::core::platform

namespace hv::core {

/// What the gate calls in the name of an isolated hook: every service with its arguments checked (ext/isolated_services.cpp).
extern "C" const abi::HostTable isolated_services;

}  // namespace hv::core
