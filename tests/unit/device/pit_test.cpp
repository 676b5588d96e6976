// SPDX-License-Identifier: MIT
//
// The 8254: against a model that counts clock by clock, and the data sheet's promises about bytes and
// latches.
#include "hv/core/device/pit.hpp"

#include <gtest/gtest.h>
#include <random>

#include "recorded_line.hpp"

using namespace hv::core;

namespace {

constexpr std::uint64_t at_tick(std::uint64_t tick)
{
    return (tick * 1'000'000'000 + Pit::frequency - 1) / Pit::frequency;
}

struct Machine {
    RecordedLine line;
    Pit pit{line};

    void write(std::uint16_t port, unsigned value, std::uint64_t tick)
    {
        pit.write(port, static_cast<std::uint8_t>(value), at_tick(tick));
    }
    unsigned read(std::uint16_t port, std::uint64_t tick) { return pit.read(port, at_tick(tick)); }
    unsigned read16(std::uint16_t port, std::uint64_t tick)
    {
        const unsigned low = read(port, tick);
        return low | read(port, tick) << 8;
    }
    void start(unsigned channel, unsigned mode, unsigned count, std::uint64_t tick)
    {
        write(0x43, channel << 6 | 0x30 | mode << 1, tick);
        write(static_cast<std::uint16_t>(0x40 + channel), count & 0xff, tick);
        write(static_cast<std::uint16_t>(0x40 + channel), count >> 8, tick);
    }
    bool output2(std::uint64_t tick) { return (read(0x61, tick) & 0x20) != 0; }
    std::uint64_t deadline_tick() const
    {
        const std::uint64_t deadline = pit.next_deadline();
        return deadline == no_deadline ? no_deadline : (deadline * Pit::frequency) / 1'000'000'000;
    }
};

/// A counting element that is clocked once per tick, as the data sheet draws it.
struct Model {
    unsigned mode;
    unsigned reload;
    bool gate;
    unsigned count{reload};
    bool out{mode != 0};
    bool expired{};

    void clock()
    {
        if (mode != 1 && mode != 5 && !gate)
            return;
        if (mode == 2)
            return clock_rate();
        if (mode == 3)
            return clock_square();
        count = (count + 65'535) % 65'536;
        if (mode == 4 || mode == 5)
            out = expired || count != 0;
        else
            out = out || count == 0;
        expired = expired || count == 0;
    }
    void clock_rate()
    {
        count = count == 1 ? reload : count - 1;
        out = count != 1;
    }
    void clock_square()
    {
        const unsigned even = reload & ~1u;
        if (out && reload % 2 != 0 ? count == 0 : count == 2) {
            out = !out;
            count = even;
        } else {
            count -= 2;
        }
    }
};

}  // namespace

class PitModes : public testing::TestWithParam<unsigned> {};

TEST_P(PitModes, CountAsTheModelClocksThem)
{
    const unsigned mode = GetParam();
    for (const unsigned reload : {2u, 3u, 4u, 5u, 9u, 10u, 100u, 255u, 256u, 1'000u, 1'001u}) {
        Machine machine;
        const bool triggered = mode == 1 || mode == 5;
        machine.write(0x61, triggered ? 0 : 1, 10);
        machine.start(2, mode, reload, 10);
        if (triggered)
            machine.write(0x61, 1, 10);
        Model model{.mode = mode, .reload = reload, .gate = true};
        if (mode == 3)
            model.count = reload & ~1u;
        if (mode == 1)
            model.out = false;
        for (std::uint64_t tick = 10; tick < 10 + 3 * reload + 5; ++tick) {
            ASSERT_EQ(machine.read16(0x42, tick), model.count % 65'536)
                << "reload " << reload << " tick " << tick;
            ASSERT_EQ(machine.output2(tick), model.out) << "reload " << reload << " tick " << tick;
            model.clock();
        }
    }
}

INSTANTIATE_TEST_SUITE_P(, PitModes, testing::Range(0u, 6u));

TEST(Pit, CountsNothingUntilItIsProgrammed)
{
    Machine machine;
    EXPECT_EQ(machine.pit.next_deadline(), no_deadline);
    EXPECT_EQ(machine.read16(0x40, 1'000'000), 0u);
    EXPECT_EQ(machine.line.edges[0], 0u);
}

TEST(Pit, RaisesIrq0OncePerPeriod)
{
    for (const unsigned mode : {2u, 3u, 6u, 7u}) {
        Machine machine;
        machine.start(0, mode, 0x1000, 7);
        EXPECT_EQ(machine.deadline_tick(), 7u + 0x1000);
        machine.pit.expire(machine.pit.next_deadline() - 1);
        EXPECT_EQ(machine.line.edges[0], 0u);
        for (unsigned period = 1; period < 10; ++period) {
            machine.pit.expire(machine.pit.next_deadline());
            EXPECT_EQ(machine.line.edges[0], period);
            EXPECT_TRUE(machine.line.levels[0]);
            EXPECT_EQ(machine.deadline_tick(), 7u + 0x1000 * (period + 1));
        }
    }
}

TEST(Pit, MergesPeriodsThatWereMissedAndKeepsItsPhase)
{
    Machine machine;
    machine.start(0, 2, 1'000, 0);
    machine.pit.expire(at_tick(5'500));
    EXPECT_EQ(machine.line.edges[0], 1u);
    EXPECT_EQ(machine.deadline_tick(), 6'000u);
}

TEST(Pit, RaisesIrq0OnceInTheOneShotModes)
{
    for (const unsigned mode : {0u, 4u}) {
        Machine machine;
        machine.start(0, mode, 500, 0);
        EXPECT_EQ(machine.deadline_tick(), mode == 0 ? 500u : 501u);
        machine.pit.expire(machine.pit.next_deadline());
        EXPECT_EQ(machine.line.edges[0], 1u);
        EXPECT_EQ(machine.pit.next_deadline(), no_deadline);
        machine.pit.expire(at_tick(200'000));
        EXPECT_EQ(machine.line.edges[0], 1u);
        machine.start(0, mode, 500, 300'000);
        EXPECT_FALSE(machine.line.levels[0]);
        machine.pit.expire(machine.pit.next_deadline());
        EXPECT_EQ(machine.line.edges[0], 2u);
    }
}

TEST(Pit, DeliversAnEdgeThatWasDueBeforeTheGuestReprograms)
{
    Machine machine;
    machine.start(0, 0, 500, 0);
    machine.read16(0x40, 600);
    EXPECT_EQ(machine.line.edges[0], 1u);
}

TEST(Pit, TakesZeroForTheLargestCount)
{
    Machine machine;
    machine.start(0, 2, 0, 0);
    EXPECT_EQ(machine.deadline_tick(), 65'536u);
    machine.write(0x43, 0x35, 0);  // the same in BCD
    machine.write(0x40, 0, 0);
    machine.write(0x40, 0, 0);
    EXPECT_EQ(machine.deadline_tick(), 10'000u);
    EXPECT_EQ(machine.read16(0x40, 1), 0x9999u);
    EXPECT_EQ(machine.read16(0x40, 9'990), 0x0010u);
}

TEST(Pit, ReadsDecimalCounts)
{
    Machine machine;
    machine.write(0x43, 0x31, 0);
    machine.write(0x40, 0x34, 0);
    machine.write(0x40, 0x12, 0);
    EXPECT_EQ(machine.deadline_tick(), 1'234u);
    EXPECT_EQ(machine.read16(0x40, 234), 0x1000u);
    EXPECT_EQ(machine.read16(0x40, 235), 0x0999u);
}

TEST(Pit, WritesAndReadsSingleBytesInTheByteModes)
{
    Machine machine;
    machine.write(0x43, 0x14, 0);  // channel 0, low byte, mode 2
    machine.write(0x40, 0x80, 0);
    EXPECT_EQ(machine.deadline_tick(), 0x80u);
    EXPECT_EQ(machine.read(0x40, 1), 0x7fu);
    EXPECT_EQ(machine.read(0x40, 2), 0x7eu);
    machine.write(0x43, 0x24, 2);  // high byte
    machine.write(0x40, 0x02, 2);
    EXPECT_EQ(machine.deadline_tick(), 0x202u);
    EXPECT_EQ(machine.read(0x40, 3), 0x01u);
}

TEST(Pit, TakesOverANewCountAtTheEndOfThePeriod)
{
    Machine machine;
    machine.start(0, 2, 1'000, 0);
    machine.write(0x40, 0x64, 400);
    EXPECT_EQ(machine.deadline_tick(), 1'000u);
    machine.write(0x40, 0x00, 400);
    EXPECT_EQ(machine.read16(0x40, 500), 500u);
    EXPECT_EQ(machine.deadline_tick(), 1'000u);
    machine.pit.expire(at_tick(1'000));
    EXPECT_EQ(machine.line.edges[0], 1u);
    EXPECT_EQ(machine.deadline_tick(), 1'100u);
    EXPECT_EQ(machine.read16(0x40, 1'030), 70u);
}

TEST(Pit, StopsModeZeroAtTheFirstByteOfANewCount)
{
    Machine machine;
    machine.start(0, 0, 1'000, 0);
    machine.write(0x40, 0x10, 500);
    EXPECT_EQ(machine.pit.next_deadline(), no_deadline);
    machine.write(0x40, 0x00, 700);
    EXPECT_EQ(machine.deadline_tick(), 716u);
}

TEST(Pit, LatchesACountUntilItIsRead)
{
    Machine machine;
    machine.start(0, 2, 1'000, 0);
    machine.write(0x43, 0x00, 100);
    machine.write(0x43, 0x00, 200);  // a second latch is ignored
    EXPECT_EQ(machine.read(0x40, 300), 900u & 0xff);
    EXPECT_EQ(machine.read(0x40, 400), 900u >> 8);
    EXPECT_EQ(machine.read16(0x40, 500), 500u);
}

TEST(Pit, ReadsBackStatusAndCountOfSeveralChannels)
{
    Machine machine;
    machine.start(0, 2, 1'000, 0);
    machine.write(0x43, 0xb0, 0);    // channel 2, mode 0, no count yet
    machine.write(0x43, 0xca, 100);  // both, of channels 0 and 2
    EXPECT_EQ(machine.read(0x40, 300), 0xb4u);
    EXPECT_EQ(machine.read16(0x40, 300), 900u);
    EXPECT_EQ(machine.read(0x42, 300), 0x70u);  // output low, null count
    machine.write(0x43, 0xe2, 400);             // status alone
    EXPECT_EQ(machine.read(0x40, 500), 0xb4u);
    EXPECT_EQ(machine.read16(0x40, 500), 500u);
    machine.write(0x43, 0xd2, 600);  // count alone
    EXPECT_EQ(machine.read16(0x40, 700), 400u);
    machine.write(0x43, 0xf2, 700);  // nothing
    EXPECT_EQ(machine.read16(0x40, 750), 250u);
    machine.write(0x40, 1, 800);
    machine.write(0x40, 1, 800);
    machine.write(0x43, 0xe2, 800);
    EXPECT_EQ(machine.read(0x40, 800), 0xf4u);  // the new count is not in use yet
}

TEST(Pit, GatesChannelTwoFromThePortThatShowsItsOutput)
{
    Machine machine;
    machine.start(2, 0, 1'000, 0);
    EXPECT_EQ(machine.read16(0x42, 500), 1'000u);  // the gate is low after reset
    machine.write(0x61, 0x01, 500);
    EXPECT_EQ(machine.read16(0x42, 700), 800u);
    machine.write(0x61, 0x00, 700);
    EXPECT_EQ(machine.read16(0x42, 9'000), 800u);
    machine.write(0x61, 0x01, 9'000);
    EXPECT_FALSE(machine.output2(9'799));
    EXPECT_TRUE(machine.output2(9'800));
    EXPECT_EQ(machine.line.edges[0], 0u);
}

TEST(Pit, RestartsAPeriodWhenTheGateRises)
{
    Machine machine;
    machine.write(0x61, 1, 0);
    machine.start(2, 2, 1'000, 0);
    machine.write(0x61, 0, 999);
    EXPECT_TRUE(machine.output2(999));  // a low gate forces it high
    machine.write(0x61, 1, 5'000);
    EXPECT_EQ(machine.read16(0x42, 5'100), 900u);
}

TEST(Pit, RetriggersAOneShot)
{
    Machine machine;
    machine.start(2, 1, 1'000, 0);
    EXPECT_TRUE(machine.output2(10));
    machine.write(0x61, 1, 100);
    EXPECT_FALSE(machine.output2(1'099));
    machine.write(0x61, 0, 600);
    EXPECT_FALSE(machine.output2(700));
    machine.write(0x61, 1, 800);
    EXPECT_FALSE(machine.output2(1'799));
    EXPECT_TRUE(machine.output2(1'800));
}

TEST(Pit, KeepsFourBitsOfPort61AndTogglesTheRefreshBit)
{
    Machine machine;
    machine.pit.write(0x61, 0xff, 0);
    EXPECT_EQ(machine.pit.read(0x61, 0) & 0xcf, 0x0f);
    EXPECT_EQ(machine.pit.read(0x61, 15'084) & 0x10, 0x00);
    EXPECT_EQ(machine.pit.read(0x61, 15'085) & 0x10, 0x10);
    EXPECT_EQ(machine.pit.read(0x61, 30'170) & 0x10, 0x00);
    machine.pit.write(0x61, 0x00, 0);
    EXPECT_EQ(machine.pit.read(0x61, 0) & 0x0f, 0x00);
}

TEST(Pit, WakesNobodyMoreOftenThanTheLimit)
{
    Machine machine;
    machine.start(0, 2, 2, 1'000);
    EXPECT_EQ(machine.deadline_tick(), 1'000 + Pit::minimum_period);
    machine.pit.expire(machine.pit.next_deadline());
    EXPECT_EQ(machine.line.edges[0], 1u);
    EXPECT_EQ(machine.deadline_tick(), 1'000 + 2 * Pit::minimum_period);
}

TEST(Pit, AnswersNoOtherPort)
{
    Machine machine;
    const PitState before = machine.pit.save();
    for (const std::uint16_t port :
         {std::uint16_t{0x3f}, std::uint16_t{0x43}, std::uint16_t{0x44}, std::uint16_t{0x60}}) {
        EXPECT_EQ(machine.pit.read(port, 0), 0xff);
        if (port != 0x43)
            machine.pit.write(port, 0xff, 0);
    }
    EXPECT_EQ(machine.pit.save(), before);
}

TEST(Pit, SurvivesRandomWritesAndRestoresWhatItSaved)
{
    std::mt19937 random{8254};
    Machine machine;
    std::uint64_t now = 0;
    for (unsigned step = 0; step < 50'000; ++step) {
        now += random() % 3'000'000;
        const auto port = static_cast<std::uint16_t>(random() % 5 == 0 ? 0x61 : 0x40 + random() % 4);
        if (random() % 2 == 0)
            machine.pit.write(port, static_cast<std::uint8_t>(random()), now);
        else
            machine.pit.read(port, now);
        ASSERT_GT(machine.pit.next_deadline(), now);
        Machine other;
        ASSERT_TRUE(other.pit.restore(machine.pit.save()));
        ASSERT_EQ(other.pit.save(), machine.pit.save());
        ASSERT_EQ(other.pit.next_deadline(), machine.pit.next_deadline());
    }
}

TEST(Pit, RestoresNothingImpossible)
{
    const auto refuses = [](auto&& spoil) {
        Machine machine;
        const PitState before = machine.pit.save();
        PitState state = before;
        spoil(state);
        return !machine.pit.restore(state) && machine.pit.save() == before;
    };
    EXPECT_TRUE(refuses([](PitState& s) { s.control = 0x10; }));
    EXPECT_TRUE(refuses([](PitState& s) { s.channels[0].mode = 6; }));
    EXPECT_TRUE(refuses([](PitState& s) { s.channels[1].access = 0; }));
    EXPECT_TRUE(refuses([](PitState& s) { s.channels[2].access = 4; }));
    EXPECT_TRUE(refuses([](PitState& s) { s.channels[2].loaded = true; }));  // and would divide by zero
    EXPECT_TRUE(refuses([](PitState& s) { s.channels[2].running = true; }));
    EXPECT_TRUE(refuses([](PitState& s) { s.channels[0].reload = 65'537; }));
    EXPECT_TRUE(refuses([](PitState& s) { s.channels[0].written = 65'537; }));
}
