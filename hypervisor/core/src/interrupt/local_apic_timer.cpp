// SPDX-License-Identifier: MIT
//
// The local APIC's timer: one-shot, periodic and TSC-deadline [SDM3-083 §11.5.4].  Counting is arithmetic on
// the guest tick at which the count reaches zero; nothing runs in between.
#include <algorithm>

#include "hv/core/interrupt/local_apic.hpp"

namespace hv::core {

namespace {

std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b)
{
    std::uint64_t sum{};
    return __builtin_add_overflow(a, b, &sum) ? no_deadline : sum;
}

}  // namespace

ApicTimerMode LocalApic::timer_mode() const
{
    return static_cast<ApicTimerMode>(LvtRegister::TimerMode::get(lvt(LvtEntry::timer)));
}

/// Ticks per count as a power of two.  Bits 3, 1 and 0 of the divide register: 2, 4, … 128, and 1 for all
/// ones.
unsigned LocalApic::count_shift() const
{
    const std::uint32_t code = (divide_ & 3) | (divide_ >> 1 & 4);
    return timer_clock_shift + ((code + 1) & 7);
}

std::uint64_t LocalApic::period() const
{
    return std::max(std::uint64_t{initial_count_} << count_shift(), minimum_period);
}

std::uint32_t LocalApic::current_count(std::uint64_t now) const
{
    const ApicTimerMode mode = timer_mode();
    const bool counts = mode == ApicTimerMode::one_shot || mode == ApicTimerMode::periodic;
    if (!counts || deadline_ == no_deadline)
        return 0;
    std::uint64_t remaining{};
    if (now < deadline_)
        remaining = deadline_ - now;
    else if (mode == ApicTimerMode::periodic)
        remaining = period() - (now - deadline_) % period();
    const unsigned shift = count_shift();
    const std::uint64_t count = (remaining >> shift) + ((remaining & ((1ull << shift) - 1)) != 0 ? 1 : 0);
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(count, initial_count_));
}

ApicEffect LocalApic::start_count(std::uint32_t count, std::uint64_t now)
{
    if (timer_mode() == ApicTimerMode::tsc_deadline)
        return {};
    expire(now);  // what was due before the write is not taken back by it
    initial_count_ = count;
    if (count == 0)
        deadline_ = no_deadline;
    else
        deadline_ = saturating_add(
            now, timer_mode() == ApicTimerMode::periodic ? period() : std::uint64_t{count} << count_shift());
    return {.kind = ApicEffect::Kind::deadline_changed};
}

ApicEffect LocalApic::change_divider(std::uint32_t value, std::uint64_t now)
{
    expire(now);
    const std::uint64_t left = current_count(now);
    divide_ = value & 0xb;
    if (timer_mode() != ApicTimerMode::tsc_deadline && deadline_ != no_deadline)
        deadline_ = saturating_add(now, left << count_shift());
    return {.kind = ApicEffect::Kind::deadline_changed};
}

std::uint64_t LocalApic::next_deadline() const
{
    const bool silent = is_masked(LvtEntry::timer) || timer_mode() == ApicTimerMode::reserved;
    return silent ? no_deadline : deadline_;
}

bool LocalApic::expire(std::uint64_t now)
{
    if (deadline_ == no_deadline || now < deadline_)
        return false;
    switch (timer_mode()) {
    case ApicTimerMode::one_shot:
    case ApicTimerMode::tsc_deadline: deadline_ = no_deadline; break;
    case ApicTimerMode::periodic: {
        const std::uint64_t every = period();
        const std::uint64_t late = (now - deadline_) % every;  // periods that were missed are one interrupt
        deadline_ = saturating_add(now, every - late);
        break;
    }
    case ApicTimerMode::reserved: return false;
    }
    const std::uint32_t entry = lvt(LvtEntry::timer);
    return !LvtRegister::Masked::get(entry) && accept(LvtRegister::Vector::get(entry), TriggerMode::edge);
}

void LocalApic::tsc_moved(std::uint64_t from, std::uint64_t to)
{
    if (timer_mode() == ApicTimerMode::tsc_deadline || deadline_ == no_deadline)
        return;
    deadline_ = saturating_add(to, deadline_ > from ? deadline_ - from : 0);
}

std::optional<std::uint64_t> LocalApic::read_tsc_deadline() const
{
    if (!config_.tsc_deadline_offered)
        return std::nullopt;
    const bool armed = timer_mode() == ApicTimerMode::tsc_deadline && deadline_ != no_deadline;
    return armed ? deadline_ : 0;
}

/// Outside TSC-deadline mode a write is ignored; in it, zero disarms [SDM3-083 §11.5.4.1].  The one value
/// that means "no deadline" here lies centuries ahead and never comes.
ApicEffect LocalApic::write_tsc_deadline(std::uint64_t value, std::uint64_t now)
{
    if (!config_.tsc_deadline_offered)
        return {.kind = ApicEffect::Kind::refused};
    if (timer_mode() != ApicTimerMode::tsc_deadline)
        return {};
    expire(now);
    deadline_ = value == 0 ? no_deadline : value;
    expire(now);
    return {.kind = ApicEffect::Kind::deadline_changed};
}

}  // namespace hv::core
