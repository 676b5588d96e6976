// SPDX-License-Identifier: MIT
//
// The local APIC's timer, in guest ticks.
#include "hv/core/interrupt/local_apic.hpp"

#include <gtest/gtest.h>

using namespace hv;
using namespace hv::core;

namespace {

constexpr std::uint64_t count_ticks{1u << LocalApic::timer_clock_shift};

struct Timer : LocalApic {
    explicit Timer(std::uint32_t entry, bool tsc_deadline = true)
        : LocalApic{{.id = 0, .tsc_deadline_offered = tsc_deadline}}
    {
        write(0xf0, 0x1ff, 0);
        write(0x3e0, 0xb, 0);
        write(0x320, entry, 0);
    }
    ApicEffect write(std::uint64_t offset, std::uint32_t value, std::uint64_t now)
    {
        return write_mmio(offset, 4, value, now);
    }
    std::uint64_t count(std::uint64_t now) { return read_mmio(0x390, 4, now); }
};

constexpr std::uint32_t one_shot{0x40};
constexpr std::uint32_t periodic{0x2'0040};
constexpr std::uint32_t tsc_deadline{0x4'0040};
constexpr std::uint32_t masked{0x1'0000};

}  // namespace

TEST(LocalApicTimer, CountsDownOnceAndStops)
{
    Timer timer{one_shot};
    EXPECT_EQ(timer.next_deadline(), no_deadline);
    EXPECT_EQ(timer.write(0x380, 1'000, 5'000).kind, ApicEffect::Kind::deadline_changed);
    const std::uint64_t end = 5'000 + 1'000 * count_ticks;
    EXPECT_EQ(timer.next_deadline(), end);
    EXPECT_EQ(timer.count(5'000), 1'000u);
    EXPECT_EQ(timer.count(5'001), 1'000u);  // partly run counts are not over
    EXPECT_EQ(timer.count(5'000 + count_ticks), 999u);
    EXPECT_EQ(timer.count(end - 1), 1u);
    EXPECT_FALSE(timer.expire(end - 1));
    EXPECT_TRUE(timer.expire(end));
    EXPECT_TRUE(timer.irr(0x40));
    EXPECT_EQ(timer.next_deadline(), no_deadline);
    EXPECT_EQ(timer.count(end), 0u);
    EXPECT_EQ(timer.count(end + 1'000'000), 0u);
    EXPECT_FALSE(timer.expire(end + 1'000'000));
}

TEST(LocalApicTimer, DividesByEveryPowerTheRegisterOffers)
{
    constexpr std::pair<std::uint32_t, unsigned> dividers[]{{0x0, 2},  {0x1, 4},  {0x2, 8},   {0x3, 16},
                                                            {0x8, 32}, {0x9, 64}, {0xa, 128}, {0xb, 1}};
    for (const auto& [code, divider] : dividers) {
        Timer timer{one_shot};
        timer.write(0x3e0, code, 0);
        timer.write(0x380, 10, 0);
        EXPECT_EQ(timer.next_deadline(), 10 * divider * count_ticks) << code;
    }
}

TEST(LocalApicTimer, KeepsTheCountWhenTheDividerChanges)
{
    Timer timer{one_shot};
    timer.write(0x380, 1'000, 0);
    timer.write(0x3e0, 0x3, 400 * count_ticks);
    EXPECT_EQ(timer.count(400 * count_ticks), 600u);
    EXPECT_EQ(timer.next_deadline(), 400 * count_ticks + 600 * 16 * count_ticks);
}

TEST(LocalApicTimer, RepeatsWithoutDriftAndMergesWhatWasMissed)
{
    Timer timer{periodic};
    timer.write(0x380, 10'000, 100);
    const std::uint64_t period = 10'000 * count_ticks;
    EXPECT_EQ(timer.next_deadline(), 100 + period);
    EXPECT_TRUE(timer.expire(100 + period + 77));
    EXPECT_EQ(timer.next_deadline(), 100 + 2 * period);
    EXPECT_FALSE(timer.expire(100 + 7 * period + 3));  // still requested: nothing new
    EXPECT_EQ(timer.next_deadline(), 100 + 8 * period);
    EXPECT_EQ(timer.count(100 + 7 * period), 10'000u);
    EXPECT_EQ(timer.count(100 + 8 * period - 1), 1u);
    EXPECT_EQ(timer.count(100 + 8 * period + count_ticks),
              9'999u);  // overdue, and already in the next period
    timer.write(0x380, 0, 100 + 8 * period);
    EXPECT_EQ(timer.next_deadline(), no_deadline);
}

TEST(LocalApicTimer, LimitsHowOftenItRepeats)
{
    Timer timer{periodic};
    timer.write(0x380, 1, 0);
    EXPECT_EQ(timer.next_deadline(), LocalApic::minimum_period);
    EXPECT_EQ(timer.count(0), 1u);
    timer.expire(LocalApic::minimum_period);
    EXPECT_EQ(timer.next_deadline(), 2 * LocalApic::minimum_period);
}

TEST(LocalApicTimer, NeedsNoWakeUpWhileMaskedButGoesOnCounting)
{
    Timer timer{one_shot | masked};
    timer.write(0x380, 1'000, 0);
    EXPECT_EQ(timer.next_deadline(), no_deadline);
    EXPECT_EQ(timer.count(500 * count_ticks), 500u);
    timer.write(0x320, one_shot, 2'000 * count_ticks);  // it ran out while masked: the interrupt is lost
    EXPECT_EQ(timer.next_deadline(), no_deadline);
    EXPECT_FALSE(timer.expire(3'000 * count_ticks));
    EXPECT_FALSE(timer.irr(0x40));
    Timer second{one_shot | masked};
    second.write(0x380, 1'000, 0);
    second.write(0x320, one_shot, 10);
    EXPECT_EQ(second.next_deadline(), 1'000 * count_ticks);
}

TEST(LocalApicTimer, IsSilentWhenSoftwareDisablesTheApic)
{
    Timer timer{periodic};
    timer.write(0x380, 10'000, 0);
    timer.write(0xf0, 0xff, 0);
    EXPECT_EQ(timer.next_deadline(), no_deadline);
    EXPECT_FALSE(timer.expire(1'000'000'000));
}

TEST(LocalApicTimer, DeliversWhatWasDueBeforeTheRegisterChanged)
{
    Timer timer{one_shot};
    timer.write(0x380, 1'000, 0);
    timer.write(0x320, 0x41, 1'000 * count_ticks);
    EXPECT_TRUE(timer.irr(0x40));
    EXPECT_FALSE(timer.irr(0x41));
    Timer second{one_shot};
    second.write(0x380, 1'000, 0);
    second.write(0x380, 1'000, 1'500 * count_ticks);
    EXPECT_TRUE(second.irr(0x40));
    EXPECT_EQ(second.next_deadline(), 2'500 * count_ticks);
}

TEST(LocalApicTimer, FiresAtATscDeadline)
{
    Timer timer{tsc_deadline};
    EXPECT_EQ(timer.read_tsc_deadline(), 0u);
    EXPECT_EQ(timer.write_tsc_deadline(9'000, 1'000).kind, ApicEffect::Kind::deadline_changed);
    EXPECT_EQ(timer.read_tsc_deadline(), 9'000u);
    EXPECT_EQ(timer.next_deadline(), 9'000u);
    EXPECT_EQ(timer.count(1'000), 0u);
    timer.write(0x380, 77, 1'000);
    EXPECT_EQ(timer.next_deadline(), 9'000u);  // counts are ignored in this mode
    EXPECT_TRUE(timer.expire(9'000));
    EXPECT_EQ(timer.read_tsc_deadline(), 0u);
    timer.acknowledge();
    timer.write_tsc_deadline(500, 10'000);  // in the past: at once
    EXPECT_TRUE(timer.irr(0x40));
    EXPECT_EQ(timer.next_deadline(), no_deadline);
    timer.write_tsc_deadline(20'000, 10'000);
    timer.write_tsc_deadline(0, 10'000);
    EXPECT_EQ(timer.next_deadline(), no_deadline);
}

TEST(LocalApicTimer, IsDisarmedBySwitchingToOrFromTscDeadlineMode)
{
    Timer timer{one_shot};
    timer.write(0x380, 1'000, 0);
    timer.write(0x320, tsc_deadline, 0);
    EXPECT_EQ(timer.next_deadline(), no_deadline);
    timer.write_tsc_deadline(9'000, 0);
    timer.write(0x320, tsc_deadline + 1, 0);
    EXPECT_EQ(timer.next_deadline(), 9'000u);
    timer.write(0x320, periodic, 0);
    EXPECT_EQ(timer.next_deadline(), no_deadline);
    timer.write_tsc_deadline(9'000, 0);  // ignored outside the mode
    EXPECT_EQ(timer.next_deadline(), no_deadline);
    EXPECT_EQ(timer.read_tsc_deadline(), 0u);
}

TEST(LocalApicTimer, HasNoTscDeadlineThatWasNotOffered)
{
    Timer timer{tsc_deadline, false};
    EXPECT_EQ(timer.read_mmio(0x320, 4, 0), one_shot);
    EXPECT_EQ(timer.read_tsc_deadline(), std::nullopt);
    EXPECT_EQ(timer.write_tsc_deadline(1, 0).kind, ApicEffect::Kind::refused);
}

TEST(LocalApicTimer, CountsNothingInTheReservedMode)
{
    Timer timer{0x6'0040};
    timer.write(0x380, 1'000, 0);
    EXPECT_EQ(timer.next_deadline(), no_deadline);
    EXPECT_FALSE(timer.expire(no_deadline - 1));
    EXPECT_EQ(timer.count(1), 0u);
}

TEST(LocalApicTimer, FollowsAGuestThatSetsItsTsc)
{
    Timer timer{one_shot};
    timer.write(0x380, 1'000, 50'000);
    timer.tsc_moved(50'000, 0);
    EXPECT_EQ(timer.next_deadline(), 1'000 * count_ticks);
    timer.tsc_moved(0, ~0ull - 5);
    EXPECT_EQ(timer.next_deadline(), no_deadline);  // beyond the end of time, not long ago
    Timer deadline{tsc_deadline};
    deadline.write_tsc_deadline(9'000, 0);
    deadline.tsc_moved(0, 100'000);
    EXPECT_EQ(deadline.next_deadline(), 9'000u);
}
