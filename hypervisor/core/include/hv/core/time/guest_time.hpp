// SPDX-License-Identifier: MIT
//
// The time of one domain: a count of host ticks since its start that stands still while the domain is paused, and what
// follows from it: the guest's time-stamp counter, and guest nanoseconds for its devices.
#pragma once

#include <cstdint>
#include <type_traits>

namespace hv::core {

/// a * b / c for a < c, so that the quotient has 64 bits if b has: one MUL and one DIV, where the compiler would call its
/// 128-bit division.
constexpr std::uint64_t multiply_and_divide(std::uint64_t a, std::uint64_t b, std::uint64_t c)
{
    if (std::is_constant_evaluated())
        return static_cast<std::uint64_t>(static_cast<unsigned __int128>(a) * b / c);
    std::uint64_t low{a};
    std::uint64_t high{};
    asm("mulq %2" : "+a"(low), "=d"(high) : "rm"(b) : "cc");
    asm("divq %2" : "+a"(low), "+d"(high) : "rm"(c) : "cc");
    return low;
}

/// Multiplies by a ratio of two 64-bit numbers without losing bits: value * numerator / denominator, rounded down.
constexpr std::uint64_t scale(std::uint64_t value, std::uint64_t numerator, std::uint64_t denominator)
{
    return (value / denominator) * numerator + multiply_and_divide(value % denominator, numerator, denominator);
}

/// Not synchronized: start and stop are called by whoever holds the domain stopped; reading is free while it runs.
class GuestTime {
public:
    static constexpr std::uint64_t nanoseconds_per_second{1'000'000'000};

    explicit GuestTime(std::uint64_t ticks_per_second) : frequency_{ticks_per_second} {}

    /// From host tick `now` on the guest's time runs.
    void start(std::uint64_t now)
    {
        if (!running_) {
            origin_ = now - elapsed_;
            running_ = true;
        }
    }
    /// The guest's time stands still from host tick `now` on.
    void stop(std::uint64_t now)
    {
        if (running_) {
            elapsed_ = now - origin_;
            running_ = false;
        }
    }

    [[nodiscard]] bool running() const { return running_; }
    /// Hz, of guest and host ticks alike (no scaling yet).
    [[nodiscard]] std::uint64_t frequency() const { return frequency_; }
    /// Guest ticks at host tick `now`.
    [[nodiscard]] std::uint64_t ticks(std::uint64_t now) const { return running_ ? now - origin_ : elapsed_; }
    /// What is added to the host's time-stamp counter to make the guest's (modulo 2^64); only while running.
    [[nodiscard]] std::uint64_t tsc_offset() const { return 0 - origin_; }
    [[nodiscard]] std::uint64_t nanoseconds(std::uint64_t now) const
    {
        return scale(ticks(now), nanoseconds_per_second, frequency_);
    }
    /// The host tick at which guest time reaches `guest_ns`, rounded up, or the last one where that is too far ahead to be counted;
    /// only while running.
    [[nodiscard]] std::uint64_t host_tick_of(std::uint64_t guest_ns) const
    {
        constexpr std::uint64_t last{~0ull}, farthest{last / 4};
        std::uint64_t whole{};
        if (__builtin_mul_overflow(guest_ns / nanoseconds_per_second, frequency_, &whole) || whole > farthest) [[unlikely]]
            return last;
        return origin_ + whole + multiply_and_divide(guest_ns % nanoseconds_per_second, frequency_, nanoseconds_per_second) + 1;
    }
    /// The host tick at which the guest's time-stamp counter reaches `guest_tick`; only while running.
    [[nodiscard]] std::uint64_t host_tick_of_guest_tick(std::uint64_t guest_tick) const { return origin_ + guest_tick; }

private:
    std::uint64_t frequency_;
    std::uint64_t origin_{};   ///< host tick at which guest time was zero, while running
    std::uint64_t elapsed_{};  ///< guest ticks, while stopped
    bool running_{};
};

}  // namespace hv::core
