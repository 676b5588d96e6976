// SPDX-License-Identifier: MIT
//
// Reference time: units of 100 ns since the domain's creation, as an MSR (a declared answer) and as a scale
// and offset by which a guest computes it from its TSC.  Arithmetic alone; the page is reference_time.cpp's.
// Specification: [TLFS-6.0b §12.7].
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "hv/abi/host_table.hpp"

namespace hv::viridian {

__extension__ using Wide = unsigned __int128;

inline constexpr std::uint64_t reference_hz{10'000'000};

/// (guest nanoseconds * multiplier) >> shift is the reference count: 2^63 / 100, rounded up.  Exact for the
/// first three years of a domain's life, for the next 290 years at most one unit early, then two; it never
/// goes back.
inline constexpr std::uint64_t count_multiplier{92'233'720'368'547'759};
inline constexpr std::uint32_t count_shift{63};

constexpr std::uint64_t reference_count(std::uint64_t guest_ns)
{
    return static_cast<std::uint64_t>((static_cast<Wide>(guest_ns) * count_multiplier) >> count_shift);
}

/// ((tsc * scale) >> 64) + offset, as the guest computes it.
struct TscScale {
    std::uint64_t scale{};
    std::int64_t offset{};
    friend constexpr bool operator==(const TscScale&, const TscScale&) = default;

    [[nodiscard]] constexpr std::uint64_t count_at(std::uint64_t tsc) const
    {
        return static_cast<std::uint64_t>((static_cast<Wide>(tsc) * scale) >> 64) +
               static_cast<std::uint64_t>(offset);
    }
};

/// reference_hz * 2^64 / tsc_hz to the nearest, or nothing where that does not fit: a TSC slower than the
/// reference. Long division by bits: a module has no 128-bit division.
constexpr std::optional<std::uint64_t> scale_of(std::uint64_t tsc_hz)
{
    if (tsc_hz <= reference_hz)
        return std::nullopt;
    std::uint64_t quotient{};
    Wide remainder{reference_hz};
    for (int bit = 0; bit < 64; ++bit) {
        remainder <<= 1;
        quotient <<= 1;
        if (remainder >= tsc_hz) {
            remainder -= tsc_hz;
            quotient |= 1;
        }
    }
    const bool round_up{remainder * 2 >= tsc_hz};
    if (round_up && quotient == ~0ull)
        return quotient;
    return quotient + (round_up ? 1 : 0);
}

/// The scale and the offset by which the TSC of this instant gives the count of this instant.
constexpr std::optional<TscScale> scale_at(const abi::TimeSnapshot& now)
{
    const auto scale = scale_of(now.tsc_hz);
    if (!scale)
        return std::nullopt;
    const std::uint64_t without_offset{TscScale{*scale, 0}.count_at(now.guest_tsc)};
    return TscScale{*scale, static_cast<std::int64_t>(reference_count(now.guest_ns) - without_offset)};
}

/// True when the page may keep what it holds: the same rate, and less than two units apart, which is what
/// rounding makes.
constexpr bool still_holds(const TscScale& before, const TscScale& now)
{
    const std::uint64_t apart{static_cast<std::uint64_t>(now.offset) -
                              static_cast<std::uint64_t>(before.offset)};
    return before.scale == now.scale && apart + 1 <= 2;
}

/// The sequence after one: never 0, which means that the page is of no use, nor all-ones, which it meant in
/// older editions.
constexpr std::uint32_t next_sequence(std::uint32_t sequence)
{
    return sequence >= 0xffff'fffe ? 1 : sequence + 1;
}

/// The reference TSC page as the guest reads it.
struct ReferenceTscPage {
    std::uint32_t sequence;
    std::uint32_t reserved;
    std::uint64_t scale;
    std::int64_t offset;
};
static_assert(offsetof(ReferenceTscPage, sequence) == 0 && offsetof(ReferenceTscPage, scale) == 8 &&
              offsetof(ReferenceTscPage, offset) == 16 && sizeof(ReferenceTscPage) == 24);

}  // namespace hv::viridian
