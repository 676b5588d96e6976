// SPDX-License-Identifier: MIT
//
// Services on the guest's time.
#include "service_call.hpp"

namespace hv::core::services {

Answer time_now(std::uint64_t domain, std::uint64_t* guest_ns)
{
    return serve_domain(domain, abi::need_time, [&](HookCall& call) -> Status {
        if (guest_ns == nullptr)
            return Error::invalid_argument;
        *guest_ns = call.binding->domain.time.nanoseconds(platform::ticks());
        return Done{};
    });
}

Answer time_snapshot(std::uint64_t vcpu, abi::TimeSnapshot* snapshot)
{
    return serve_vcpu(vcpu, abi::need_time, [&](HookCall&, VcpuBinding& own) -> Status {
        if (snapshot == nullptr)
            return Error::invalid_argument;
        const std::uint64_t now = platform::ticks();  // one look at the clock for all of them
        const GuestTime& time = own.vcpu.domain.time;
        *snapshot = {.guest_ns = time.nanoseconds(now),
                     .guest_tsc = own.vcpu.guest_tsc(now),
                     .tsc_hz = time.frequency(),
                     .wall_clock_ns = 0};  // nobody tells the hypervisor the date yet
        return Done{};
    });
}

Answer timer_create(std::uint64_t vcpu, std::uint64_t cookie, std::uint64_t* timer)
{
    return serve_vcpu(vcpu, abi::need_timers | acts, [&](HookCall& call, VcpuBinding& own) -> Status {
        if (timer == nullptr)
            return Error::invalid_argument;
        *timer = HV_TRY(call.binding->timers.create_timer(own, call.binding->number, cookie)).raw();
        return Done{};
    });
}

Answer timer_set(std::uint64_t timer, const abi::TimerSetting* setting)
{
    return serve(abi::need_timers | acts, [&](HookCall& call) -> Status {
        if (setting == nullptr)
            return Error::invalid_argument;
        return call.binding->timers.set(HV_TRY(own_handle(call, timer, HandleKind::timer)), *setting);
    });
}

Answer timer_cancel(std::uint64_t timer)
{
    return serve(abi::need_timers | acts, [&](HookCall& call) -> Status {
        return call.binding->timers.cancel(HV_TRY(own_handle(call, timer, HandleKind::timer)));
    });
}

Answer timer_destroy(std::uint64_t timer)
{
    return serve(abi::need_timers | acts, [&](HookCall& call) -> Status {
        return call.binding->timers.destroy(HV_TRY(own_handle(call, timer, HandleKind::timer)));
    });
}

}  // namespace hv::core::services
