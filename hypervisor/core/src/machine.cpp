// SPDX-License-Identifier: MIT
#include "hv/core/machine.hpp"

#include "hv/core/platform/isolated_space.hpp"
#include "hv/core/time/guest_time.hpp"

namespace hv::core {

std::int64_t Machine::unix_nanoseconds(std::uint64_t now) const
{
    return unix_nanoseconds_at_tick_zero +
           static_cast<std::int64_t>(scale(now, GuestTime::nanoseconds_per_second, platform::ticks_per_second()));
}

void Machine::arm_here(Timer& timer, std::uint64_t deadline)
{
    Processor& processor = here();
    processor.timers.arm(timer, deadline);
    if (deadline < processor.programmed) {
        processor.programmed = deadline;
        platform::set_deadline(deadline);
    }
}

void Machine::attend(unsigned processor)
{
    processors[processor].attention.store(true, std::memory_order_release);
    if (processor != platform::current_processor())
        platform::wake(processor);
}

void Machine::wait_for_turn()
{
    const unsigned self = platform::current_processor();
    for (unsigned processor = 1; processor < platform::processor_count(); ++processor) {
        if (processor == self)
            continue;
        const std::uint64_t before = processors[processor].turns.load(std::memory_order_acquire);
        while (processors[processor].turns.load(std::memory_order_acquire) == before) {
            attend(processor);
            platform::watch_trusted_hooks();
            for (unsigned pause = 0; pause < 100; ++pause)
                __builtin_ia32_pause();
        }
    }
}

}  // namespace hv::core
