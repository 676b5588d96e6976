// SPDX-License-Identifier: MIT
#include "reference_time.hpp"

#include <gtest/gtest.h>

#include <random>

namespace hv::viridian::test {
namespace {

// Odd frequencies and round ones, from just above the reference to beyond any processor.
constexpr std::array<std::uint64_t, 10> frequencies{
    10'000'001,    33'333'333,    999'999'937,   1'000'000'000, 1'193'181'666,
    2'000'000'000, 2'596'136'459, 3'000'000'019, 4'294'967'296, 9'999'999'967};

/// floor(a * b / c) in 128 bits, by the compiler's own division.
Wide exact(Wide a, Wide b, Wide c)
{
    return a * b / c;
}

std::uint64_t distance(std::uint64_t a, std::uint64_t b)
{
    return a > b ? a - b : b - a;
}

TEST(ReferenceTime, CountsWholeUnitsOfHundredNanoseconds)
{
    EXPECT_EQ(reference_count(0), 0u);
    EXPECT_EQ(reference_count(99), 0u);
    EXPECT_EQ(reference_count(100), 1u);
    std::mt19937_64 random{1};
    for (int round = 0; round < 100'000; ++round) {
        const std::uint64_t nanoseconds{random() >>
                                        (8 + round % 48)};  // below 2^56: three years, with 1 % to spare
        ASSERT_EQ(reference_count(nanoseconds), nanoseconds / 100) << nanoseconds;
    }
}

TEST(ReferenceTime, IsAtMostOneUnitEarlyForThreeCenturies)
{
    std::mt19937_64 random{2};
    for (int round = 0; round < 100'000; ++round) {
        const std::uint64_t nanoseconds{random() >> 1};
        ASSERT_LE(reference_count(nanoseconds) - nanoseconds / 100, 1u) << nanoseconds;
    }
}

TEST(ReferenceTime, ScalesToTheNearest)
{
    for (const std::uint64_t hz : frequencies) {
        const auto scale = scale_of(hz);
        ASSERT_TRUE(scale);
        const Wide whole{exact(static_cast<Wide>(reference_hz) << 64, 1, hz)};
        const Wide rest{(static_cast<Wide>(reference_hz) << 64) - whole * hz};
        EXPECT_EQ(*scale, static_cast<std::uint64_t>(whole + (rest * 2 >= hz ? 1 : 0))) << hz;
    }
}

TEST(ReferenceTime, CannotScaleATscThatIsNotFasterThanItself)
{
    EXPECT_EQ(scale_of(0), std::nullopt);
    EXPECT_EQ(scale_of(1), std::nullopt);
    EXPECT_EQ(scale_of(reference_hz), std::nullopt);
    EXPECT_EQ(scale_of(reference_hz + 1).has_value(), true);
    EXPECT_EQ(scale_at({.guest_ns = 5, .guest_tsc = 5, .tsc_hz = reference_hz, .wall_clock_ns = 0}),
              std::nullopt);
}

TEST(ReferenceTime, OfThePageIsTheExactOneAfterADecadeAtAnyFrequency)
{
    std::mt19937_64 random{3};
    for (const std::uint64_t hz : frequencies) {
        const TscScale page{*scale_of(hz), 0};
        for (int round = 0; round < 10'000; ++round) {
            const std::uint64_t tsc{random() % (hz * 315'360'000)};
            const auto real = static_cast<std::uint64_t>(exact(tsc, reference_hz, hz));
            ASSERT_LE(distance(page.count_at(tsc), real), 1u) << hz << " " << tsc;
        }
    }
}

TEST(ReferenceTime, OfThePageContinuesTheCounterWhereverTheTscStands)
{
    for (const std::uint64_t hz : frequencies) {
        // A TSC that runs ahead of the domain's time, one behind it, and one that began with it.
        for (const std::uint64_t tsc : {std::uint64_t{0}, hz, hz * 1'000'003, std::uint64_t{1} << 62}) {
            const std::uint64_t nanoseconds{86'400'000'000'123};
            const auto page =
                scale_at({.guest_ns = nanoseconds, .guest_tsc = tsc, .tsc_hz = hz, .wall_clock_ns = 0});
            ASSERT_TRUE(page);
            EXPECT_EQ(page->count_at(tsc), reference_count(nanoseconds));
            EXPECT_LE(distance(page->count_at(tsc + hz), reference_count(nanoseconds) + reference_hz), 1u)
                << hz;
        }
    }
}

TEST(ReferenceTime, KeepsAPageThatRoundingAloneChanges)
{
    static_assert(still_holds({7, 5}, {7, 5}));
    static_assert(still_holds({7, 5}, {7, 6}) && still_holds({7, 0}, {7, -1}));
    static_assert(!still_holds({7, 5}, {7, 7}) && !still_holds({7, 5}, {7, 3}) &&
                  !still_holds({7, 5}, {8, 5}));
}

TEST(ReferenceTime, SequenceIsNeverZeroNorAllOnes)
{
    static_assert(next_sequence(0) == 1 && next_sequence(1) == 2);
    static_assert(next_sequence(0xffff'fffd) == 0xffff'fffe);
    static_assert(next_sequence(0xffff'fffe) == 1 && next_sequence(0xffff'ffff) == 1);
}

}  // namespace
}  // namespace hv::viridian::test
