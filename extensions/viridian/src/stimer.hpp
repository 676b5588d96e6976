// SPDX-License-Identifier: MIT
//
// What a synthetic timer's two registers come to: whether it runs, when it expires next, how often after that.  Arithmetic
// alone; stimer.cpp arms and signals. Specification: [TLFS-6.0b §12.3].
#pragma once

#include "reference_time.hpp"
#include "tlfs_synic.hpp"

namespace hv::viridian {

/// One timer of a VCPU, as it is kept.
struct SyntheticTimer {
    std::uint64_t config;   ///< STIMERx_CONFIG as it was when the module last had to do with it
    std::uint64_t count;    ///< STIMERx_COUNT
    std::uint64_t handle;   ///< of the core's timer, or 0 while there was no need of one
    std::uint64_t due;      ///< of a periodic one that runs: reference count of the next expiration
};

/// Periods shorter than this are signalled at every so manieth expiration alone: the core's shortest.
inline constexpr std::uint64_t shortest_period_ns{100'000};
inline constexpr std::uint64_t unit_ns{100};

/// What lies further ahead than this never comes: 73 years.
inline constexpr std::uint64_t end_of_time_ns{1ull << 61};

/// Nanoseconds of so many units, up to the end of time.
constexpr std::uint64_t nanoseconds_of(std::uint64_t units)
{
    return units > end_of_time_ns / unit_ns ? end_of_time_ns : units * unit_ns;
}

/// The configuration as a guest that writes `config` gets it: an enabled timer that could signal nothing is disabled.
constexpr std::uint64_t accepted_config(std::uint64_t config)
{
    using C = tlfs::TimerConfig;
    const bool signals{C::DirectMode::get(config) ? C::ApicVector::get(config) >= tlfs::lowest_vector
                                                  : C::Sint::get(config) != 0};
    return C::Enable::set(config, C::Enable::get(config) && signals);
}

constexpr bool runs(const SyntheticTimer& timer)
{
    return tlfs::TimerConfig::Enable::get(timer.config) && timer.count != 0;
}

/// True while another count, but zero, does no more than move the one time at which the timer expires.
constexpr bool is_moved_by_its_count(const SyntheticTimer& timer)
{
    using C = tlfs::TimerConfig;
    return runs(timer) && C::AutoEnable::get(timer.config) && !C::Periodic::get(timer.config);
}

/// A one-shot timer in direct mode expires without the module: from then on it reads as disabled.
constexpr std::uint64_t config_at(const SyntheticTimer& timer, std::uint64_t now)
{
    using C = tlfs::TimerConfig;
    const bool expired{runs(timer) && C::DirectMode::get(timer.config) && !C::Periodic::get(timer.config) &&
                       now >= timer.count};
    return C::Enable::set(timer.config, C::Enable::get(timer.config) && !expired);
}

/// Units from one signal to the next: the period, or as many of it as the core can keep up with.
constexpr std::uint64_t signal_period(std::uint64_t period)
{
    const std::uint64_t shortest{shortest_period_ns / unit_ns};
    if (period == 0 || period >= shortest)
        return period;
    return (shortest + period - 1) / period * period;
}

/// A lazy signal that comes so late is not worth its next one's neighbourhood: the last eighth of the period.
constexpr bool too_late(const SyntheticTimer& timer, std::uint64_t due, std::uint64_t now)
{
    using C = tlfs::TimerConfig;
    const std::uint64_t period{signal_period(timer.count)};
    return C::Lazy::get(timer.config) && C::Periodic::get(timer.config) && now > due &&
           now - due >= period - period / 8;
}

}  // namespace hv::viridian
