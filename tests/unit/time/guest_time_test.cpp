// SPDX-License-Identifier: MIT
//
// Guest time across pauses, and its conversions at frequencies that divide badly.
#include "hv/core/time/guest_time.hpp"

#include <gtest/gtest.h>

using namespace hv::core;

static_assert(scale(~0ull, 1, 1) == ~0ull);
static_assert(scale(3'000'000'000, 1'000'000'000, 3'000'000'000) == 1'000'000'000);

TEST(GuestTime, StandsStillWhileStopped)
{
    GuestTime time{1'000'000'000};
    time.start(500);
    EXPECT_EQ(time.ticks(600), 100u);
    time.stop(600);
    EXPECT_EQ(time.ticks(10'000), 100u);
    time.start(20'000);
    EXPECT_EQ(time.ticks(20'001), 101u);
}

TEST(GuestTime, IgnoresASecondStartAndASecondStop)
{
    GuestTime time{1'000'000'000};
    time.start(0);
    time.start(50);
    EXPECT_EQ(time.ticks(100), 100u);
    time.stop(100);
    time.stop(200);
    EXPECT_EQ(time.ticks(300), 100u);
}

TEST(GuestTime, OffsetMakesTheGuestsTicksOfTheHosts)
{
    GuestTime time{1'000'000'000};
    time.start(12'345);
    EXPECT_EQ(77'777 + time.tsc_offset(), time.ticks(77'777));
}

TEST(GuestTime, NeverWakesBeforeTheMomentThatWasAskedFor)
{
    for (const std::uint64_t frequency : {999'999'937ull, 2'596'136'001ull, 3'000'000ull}) {
        GuestTime time{frequency};
        time.start(1000);
        for (std::uint64_t ns = 1; ns < 1'000'000'000'000; ns = ns * 3 + 1)
            EXPECT_GE(time.nanoseconds(time.host_tick_of(ns)), ns) << frequency;
    }
}

TEST(GuestTime, NeverComesToAMomentTooFarToCount)
{
    for (const std::uint64_t frequency : {999'999'937ull, 2'596'136'001ull, 5'000'000'000ull}) {
        GuestTime time{frequency};
        time.start(1000);
        std::uint64_t before{};
        for (std::uint64_t ns = 1; ns != 0; ns <<= 1) {
            EXPECT_GT(time.host_tick_of(ns), before) << frequency << " " << ns;
            before = time.host_tick_of(ns) == ~0ull ? ~0ull - 1 : time.host_tick_of(ns);
        }
        EXPECT_EQ(time.host_tick_of(~0ull), ~0ull);
    }
}
