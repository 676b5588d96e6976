// SPDX-License-Identifier: MIT
//
// The one hypervisor that runs here: what every part of the core works with, put together once at boot by main (and by
// each host test for itself) and reached through machine().
#pragma once

#include <atomic>
#include <cstdint>

#include "hv/core/hvm/backend.hpp"
#include "hv/core/memory/frame_allocator.hpp"
#include "hv/core/memory/heap.hpp"
#include "hv/core/sched/scheduler.hpp"
#include "hv/core/time/timer_queue.hpp"
#include "hv/x86/cpuid.hpp"

namespace hv::core {

class Vcpu;

/// What one guest processor keeps for itself.
struct Processor {
    TimerQueue timers{};
    Vcpu* current{};                   ///< loaded and running; only this processor looks
    std::uint64_t programmed{TimerQueue::never};  ///< the deadline that the hardware timer is set to
    std::atomic<bool> attention{};     ///< somebody wants the main loop to look around
    std::atomic<std::uint64_t> turns{};  ///< of the main loop: see wait_for_turn
    std::uint64_t next_watch{};          ///< over the trusted hooks of other processors
};

/// Instances in the hypervisor's own ring, of all domains.
inline constinit std::atomic<unsigned> trusted_instances{};

struct Machine {
    FrameAllocator& frames;
    Ledger& ledger;  ///< the hypervisor's own
    Heap& heap;      ///< the same
    const HvmTable& hvm;
    x86::CpuidResult (*host_cpuid)(std::uint32_t leaf, std::uint32_t subleaf);
    std::int64_t unix_nanoseconds_at_tick_zero{};  ///< UTC since 1970; 0 where no clock told
    Scheduler scheduler{};
    Processor processors[platform::maximum_processors]{};

    /// UTC in nanoseconds since 1970 at host tick `now`, as far as the clock that was read at boot is right.
    [[nodiscard]] std::int64_t unix_nanoseconds(std::uint64_t now) const;
    [[nodiscard]] Processor& here() { return processors[platform::current_processor()]; }
    /// Arms `timer` on the calling processor, hardware included.
    void arm_here(Timer& timer, std::uint64_t deadline);
    /// Makes a processor go through its main loop soon.
    void attend(unsigned processor);
    /// Returns when every other guest processor has gone through its main loop once: nobody still uses what was
    /// unpublished before.  Called by a guest processor's main loop, outside of any lock.
    void wait_for_turn();
};

namespace detail {
inline constinit Machine* the_machine{};
}

/// Valid from install_machine() on.
[[nodiscard]] inline Machine& machine() { return *detail::the_machine; }
inline void install_machine(Machine& machine) { detail::the_machine = &machine; }

}  // namespace hv::core
