// SPDX-License-Identifier: MIT
//
// The synthetic timers: four of each VCPU.  In direct mode the core injects the vector by itself when the time has come; in message
// mode the module is called and posts a message.  Expirations that come while nobody could take them are skipped, whether the timer
// is lazy or not. A timer that runs, once, and enables itself is moved by its count with no call of the module: the core stores the
// count, and moves the timer whose handle stands in `moved_by_count`. Specification: [TLFS-6.0b §12.3, §12.4].
#include "hv/ext/timer.hpp"
#include "synic.hpp"

namespace hv::viridian {
namespace {

using Config = tlfs::TimerConfig;

std::uint32_t timer_of(std::uint32_t offset)
{
    return (offset - tlfs::offset_of(tlfs::HV_X64_MSR_STIMER0_CONFIG)) / 2;
}
bool is_config(std::uint32_t offset)
{
    return (offset - tlfs::offset_of(tlfs::HV_X64_MSR_STIMER0_CONFIG)) % 2 == 0;
}

Expected<std::uint64_t> now_of(const Viridian::Vcpu& vcpu)
{
    return reference_count(HV_TRY(vcpu.now()));
}

/// The core's timer stands for what the registers say.
Status arm(const Viridian::Vcpu& vcpu, SyntheticTimer& timer, std::uint32_t index)
{
    if (!runs(timer)) {
        if (timer.handle != 0)
            HV_TRY(ext::Timer{timer.handle}.cancel());
        return Done{};
    }
    if (timer.handle == 0)
        timer.handle = HV_TRY(ext::Timer::create(vcpu.handle(), index)).handle;
    std::uint64_t period{}, expiration{timer.count};
    if (Config::Periodic::get(timer.config)) {
        period = signal_period(timer.count);
        if (__builtin_add_overflow(HV_TRY(now_of(vcpu)), period, &expiration))
            expiration = ~0ull;
        timer.due = expiration;
    }
    const ext::Timer core{timer.handle};
    const std::uint64_t deadline{nanoseconds_of(expiration)};
    if (Config::DirectMode::get(timer.config))
        return core.inject_at(deadline, nanoseconds_of(period), Config::ApicVector::get(timer.config));
    return core.call_at(deadline, nanoseconds_of(period));
}

/// What the core looks at when the guest writes the count.
void let_count_move(Viridian::VcpuState& state, std::uint32_t index)
{
    const SyntheticTimer& timer{state.timers[index]};
    state.moved_by_count[index] = is_moved_by_its_count(timer) ? timer.handle : 0;
}

/// One whose registers did not lead to a running core timer is as it was.
Status set(Viridian::Vcpu& vcpu, std::uint32_t index, std::uint64_t config, std::uint64_t count)
{
    SyntheticTimer& timer{vcpu.state().timers[index]};
    SyntheticTimer next{config, count, timer.handle, timer.due};
    const auto armed = arm(vcpu, next, index);
    if (!armed && timer.handle == 0 && next.handle != 0)
        static_cast<void>(ext::Timer{next.handle}.destroy());
    HV_TRY(armed);
    timer = next;
    let_count_move(vcpu.state(), index);
    return Done{};
}

/// Zero stops the timer; anything else starts one that enables itself.
Status write_count(Viridian::Vcpu& vcpu, std::uint32_t index, std::uint64_t count)
{
    const SyntheticTimer& timer{vcpu.state().timers[index]};
    std::uint64_t config{timer.config};
    if (count == 0)
        config = Config::Enable::set(config, false);
    else if (Config::AutoEnable::get(config))
        config = accepted_config(config | Config::Enable::mask);
    else
        config = config_at(timer, HV_TRY(now_of(vcpu)));
    return set(vcpu, index, config, count);
}

}  // namespace

Expected<std::uint64_t> Viridian::read_stimer(const Vcpu& vcpu, std::uint32_t offset)
{
    HV_TRY(check_offered(vcpu, Feature::stimer));
    const SyntheticTimer& timer{vcpu.state().timers[timer_of(offset)]};
    if (!is_config(offset))
        return timer.count;
    return config_at(timer, HV_TRY(now_of(vcpu)));
}

Status Viridian::write_stimer(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value)
{
    HV_TRY(check_offered(vcpu, Feature::stimer));
    const std::uint32_t index{timer_of(offset)};
    if (!is_config(offset))
        return write_count(vcpu, index, value);
    if ((value & ~Config::defined) != 0)
        return Error::invalid_argument;
    return set(vcpu, index, accepted_config(value), vcpu.state().timers[index].count);
}

/// A timer in message mode has expired.
abi::Verdict Viridian::timer(Vcpu& vcpu, std::uint64_t, std::uint64_t cookie, std::uint64_t missed)
{
    auto& state = vcpu.state();
    if (cookie >= tlfs::stimer_count || !runs(state.timers[cookie]) || Config::DirectMode::get(state.timers[cookie].config))
        return abi::done_unchanged;
    const auto index = static_cast<std::uint32_t>(cookie);
    SyntheticTimer& timer{state.timers[index]};
    const std::uint64_t period{signal_period(timer.count)};
    const bool periodic{Config::Periodic::get(timer.config)};
    const std::uint64_t due{periodic ? timer.due + missed * period : timer.count};
    const auto now = now_of(vcpu);
    const bool skipped{now && too_late(timer, due, now.value())};
    if (periodic)
        timer.due = due + period;
    else
        timer.config = Config::Enable::set(timer.config, false);
    let_count_move(state, index);
    const bool posted{!skipped && post_timer_message(vcpu, index, due)};
    state.skipped += missed + (posted ? 0 : 1);
    return abi::done;
}

void reset_stimers(Viridian::Vcpu& vcpu)
{
    auto& state = vcpu.state();
    for (std::uint32_t index = 0; index < tlfs::stimer_count; ++index) {
        SyntheticTimer& timer{state.timers[index]};
        if (timer.handle != 0)
            static_cast<void>(ext::Timer{timer.handle}.cancel());
        timer = {0, 0, timer.handle, 0};
        let_count_move(state, index);
    }
}

}  // namespace hv::viridian
