// SPDX-License-Identifier: MIT
//
// The clock chip: time, formats, alarm, periodic and update interrupts, and the bytes firmware would have
// left.
#include "hv/core/device/rtc.hpp"

#include <ctime>
#include <gtest/gtest.h>
#include <random>

#include "recorded_line.hpp"

using namespace hv::core;

namespace {

constexpr std::uint64_t second{1'000'000'000};
constexpr std::uint64_t millisecond{1'000'000};
/// Tuesday, 2024-02-27 23:59:57.25 UTC.
constexpr std::int64_t base{1'709'078'397};
constexpr RtcConfig config{.unix_nanoseconds = base * 1'000'000'000 + 250'000'000,
                           .memory_below_hole = 512 << 20,
                           .memory_above_4gib = 1ull << 30};

struct Machine {
    RecordedLine line;
    Rtc rtc{line, config};

    unsigned read(unsigned index, std::uint64_t now)
    {
        rtc.write(0x70, static_cast<std::uint8_t>(index), now);
        return rtc.read(0x71, now);
    }
    void write(unsigned index, unsigned value, std::uint64_t now)
    {
        rtc.write(0x70, static_cast<std::uint8_t>(index), now);
        rtc.write(0x71, static_cast<std::uint8_t>(value), now);
    }
    bool irq() const { return line.levels[8]; }
};

constexpr std::uint64_t first_update{750 * millisecond};

}  // namespace

TEST(Rtc, ShowsTheTimeOfDayInBcdAnd24Hours)
{
    Machine machine;
    const unsigned expected[]{0x57, 0x59, 0x23, 0x03, 0x27, 0x02, 0x24, 0x20};
    const unsigned registers[]{0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32};
    for (unsigned each = 0; each < 8; ++each)
        EXPECT_EQ(machine.read(registers[each], 0), expected[each]) << registers[each];
    EXPECT_EQ(machine.read(0x00, first_update - 1), 0x57u);
    EXPECT_EQ(machine.read(0x00, first_update), 0x58u);
    EXPECT_EQ(machine.read(0x07, first_update + 2 * second), 0x28u);
    EXPECT_EQ(machine.read(0x07, 2 * 86'400 * second), 0x29u);  // a leap year
    EXPECT_EQ(machine.read(0x08, 3 * 86'400 * second), 0x03u);
}

TEST(Rtc, AgreesWithTheLibraryOnDates)
{
    std::mt19937_64 random{1};
    for (unsigned step = 0; step < 20'000; ++step) {
        const auto seconds = static_cast<std::int64_t>(random() % 253'402'300'800);  // to the year 9999
        const auto time = static_cast<std::time_t>(seconds);
        std::tm expected{};
        ASSERT_NE(gmtime_r(&time, &expected), nullptr);
        const CalendarTime actual = to_calendar(seconds);
        ASSERT_EQ(actual.year, expected.tm_year + 1900);
        ASSERT_EQ(actual.month, expected.tm_mon + 1);
        ASSERT_EQ(actual.day, expected.tm_mday);
        ASSERT_EQ(actual.weekday, expected.tm_wday);
        ASSERT_EQ(actual.hour, expected.tm_hour);
        ASSERT_EQ(actual.minute, expected.tm_min);
        ASSERT_EQ(actual.second, expected.tm_sec);
        ASSERT_EQ(to_seconds(actual), seconds);
    }
    EXPECT_EQ(to_calendar(-1), (CalendarTime{1969, 12, 31, 3, 23, 59, 59}));
}

TEST(Rtc, ShowsEveryHourInEveryFormat)
{
    for (unsigned hour = 0; hour < 24; ++hour) {
        Machine machine;
        machine.write(0x04, hour / 10 << 4 | hour % 10, 0);
        EXPECT_EQ(machine.read(0x04, 0), hour / 10 << 4 | hour % 10);
        const unsigned shown = hour % 12 == 0 ? 12 : hour % 12;
        const unsigned afternoon = hour >= 12 ? 0x80 : 0;
        machine.write(0x0b, 0x06, 0);
        EXPECT_EQ(machine.read(0x04, 0), hour);
        machine.write(0x0b, 0x04, 0);
        EXPECT_EQ(machine.read(0x04, 0), shown | afternoon);
        machine.write(0x04, shown | afternoon, 0);
        machine.write(0x0b, 0x00, 0);
        EXPECT_EQ(machine.read(0x04, 0), (shown / 10 << 4 | shown % 10) | afternoon);
        machine.write(0x0b, 0x06, 0);
        EXPECT_EQ(machine.read(0x04, 0), hour);
    }
}

TEST(Rtc, IsSetWhileUpdatesAreStopped)
{
    Machine machine;
    machine.write(0x0b, 0x82, second);
    EXPECT_EQ(machine.read(0x00, 5 * second), machine.read(0x00, 9 * second));
    for (const auto& [index, value] : {std::pair{0x07u, 0x31u},
                                       {0x08u, 0x12u},
                                       {0x09u, 0x99u},
                                       {0x32u, 0x19u},
                                       {0x04u, 0x23u},
                                       {0x02u, 0x59u},
                                       {0x00u, 0x58u}})
        machine.write(index, value, 9 * second);
    EXPECT_EQ(machine.read(0x07, 9 * second), 0x31u);  // February 31 for a moment, as written
    machine.write(0x0b, 0x02, 10 * second);
    EXPECT_EQ(machine.read(0x00, 10 * second), 0x58u);
    EXPECT_EQ(machine.read(0x32, 13 * second), 0x20u);
    EXPECT_EQ(machine.read(0x09, 13 * second), 0x00u);
    EXPECT_EQ(machine.read(0x06, 13 * second), 0x07u);  // 2000-01-01 was a Saturday
}

TEST(Rtc, StartsHalfASecondBeforeAnUpdateWhenTheDividerIsReleased)
{
    Machine machine;
    machine.write(0x0a, 0x76, second);
    const unsigned stopped = machine.read(0x00, second);
    EXPECT_EQ(machine.read(0x00, 30 * second), stopped);
    const std::uint64_t release = 30 * second + 123 * millisecond;
    machine.write(0x0a, 0x26, release);
    EXPECT_EQ(machine.read(0x00, release + 500 * millisecond - 1), stopped);
    EXPECT_EQ(machine.read(0x00, release + 500 * millisecond), stopped + 1);
    EXPECT_EQ(machine.read(0x00, release + 1'500 * millisecond), 0x00u);  // a minute is over
}

TEST(Rtc, BringsImpossibleTimesIntoRange)
{
    Machine machine;
    machine.write(0x0b, 0x86, 0);
    for (unsigned value = 0; value < 256; ++value)
        for (const unsigned index : {0x00u, 0x02u, 0x04u, 0x06u, 0x07u, 0x08u, 0x09u, 0x32u}) {
            machine.write(index, value, 0);
            const unsigned limits[]{59, 0, 59, 0, 23, 0, 7, 31, 12, 99};
            EXPECT_LE(machine.read(index, 0), index == 0x32 ? 99 : limits[index]);
        }
}

TEST(Rtc, AnnouncesAnUpdateShortlyBefore)
{
    Machine machine;
    EXPECT_EQ(machine.read(0x0a, 0), 0x26u);
    EXPECT_EQ(machine.read(0x0a, first_update - 244'001), 0x26u);
    EXPECT_EQ(machine.read(0x0a, first_update - 244'000), 0xa6u);
    EXPECT_EQ(machine.read(0x0a, first_update - 1), 0xa6u);
    EXPECT_EQ(machine.read(0x0a, first_update), 0x26u);
    machine.write(0x0b, 0x82, first_update);
    EXPECT_EQ(machine.read(0x0a, first_update + second - 1), 0x26u);
}

TEST(Rtc, InterruptsAtUpdates)
{
    Machine machine;
    EXPECT_EQ(machine.rtc.next_deadline(), no_deadline);
    machine.write(0x0b, 0x12, 0);
    EXPECT_EQ(machine.rtc.next_deadline(), first_update);
    machine.rtc.expire(first_update - 1);
    EXPECT_FALSE(machine.irq());
    machine.rtc.expire(first_update);
    EXPECT_TRUE(machine.irq());
    EXPECT_EQ(machine.rtc.next_deadline(), no_deadline);  // no more until it is read
    EXPECT_EQ(machine.read(0x0c, first_update) & 0x90, 0x90u);
    EXPECT_FALSE(machine.irq());
    EXPECT_EQ(machine.read(0x0c, first_update), 0x00u);
    EXPECT_EQ(machine.rtc.next_deadline(), first_update + second);
    machine.write(0x0b, 0x92, first_update);  // SET clears UIE
    EXPECT_EQ(machine.read(0x0b, first_update), 0x82u);
}

TEST(Rtc, KeepsFlagsOfInterruptsThatAreNotEnabled)
{
    Machine machine;
    EXPECT_EQ(machine.read(0x0c, 2 * second) & 0xd0, 0x50u);  // update and periodic, no request
    EXPECT_EQ(machine.line.edges[8], 0u);
}

TEST(Rtc, InterruptsAtEveryPeriodicRate)
{
    for (unsigned rate = 1; rate < 16; ++rate) {
        Machine machine;
        machine.write(0x0a, 0x20 | rate, 0);
        machine.write(0x0b, 0x42, 0);
        const unsigned frequency = rate == 1 ? 256 : rate == 2 ? 128 : 32'768u >> (rate - 1);
        std::uint64_t now = 0;
        unsigned interrupts = 0;
        while (machine.rtc.next_deadline() <= 2 * second) {
            ASSERT_GT(machine.rtc.next_deadline(), now);
            now = machine.rtc.next_deadline();
            machine.rtc.expire(now - 1);
            ASSERT_FALSE(machine.irq());
            machine.rtc.expire(now);
            ASSERT_TRUE(machine.irq());
            EXPECT_EQ(machine.read(0x0c, now) & 0xc0, 0xc0u);
            ++interrupts;
        }
        EXPECT_EQ(interrupts, 2 * frequency) << rate;
    }
    Machine machine;
    machine.write(0x0a, 0x20, 0);
    machine.write(0x0b, 0x42, 0);
    EXPECT_EQ(machine.rtc.next_deadline(), no_deadline);
}

struct AlarmCase {
    const char* name;
    unsigned hour, minute, second_of_minute, mode;
    std::uint64_t delay;  ///< seconds after 23:59:57; 0: never
};

class RtcAlarm : public testing::TestWithParam<AlarmCase> {};

TEST_P(RtcAlarm, ComesWhenTheTimeMatches)
{
    Machine machine;
    const AlarmCase& test = GetParam();
    machine.write(0x05, test.hour, 0);
    machine.write(0x03, test.minute, 0);
    machine.write(0x01, test.second_of_minute, 0);
    machine.write(0x0b, 0x20 | test.mode, 0);
    if (test.delay == 0) {
        EXPECT_EQ(machine.rtc.next_deadline(), no_deadline);
        return;
    }
    const std::uint64_t when = first_update + (test.delay - 1) * second;
    EXPECT_EQ(machine.rtc.next_deadline(), when);
    machine.rtc.expire(when - 1);
    EXPECT_FALSE(machine.irq());
    machine.rtc.expire(when);
    EXPECT_TRUE(machine.irq());
    EXPECT_EQ(machine.read(0x0c, when) & 0xa0, 0xa0u);
}

INSTANTIATE_TEST_SUITE_P(, RtcAlarm,
                         testing::Values(AlarmCase{"NextSecond", 0x23, 0x59, 0x58, 0x02, 1},
                                         AlarmCase{"SameSecondIsTomorrow", 0x23, 0x59, 0x57, 0x02, 86'400},
                                         AlarmCase{"Midnight", 0x00, 0x00, 0x00, 0x02, 3},
                                         AlarmCase{"InTheAfternoon", 0x15, 0x30, 0x10, 0x02, 55'813},
                                         AlarmCase{"EverySecond", 0xff, 0xc0, 0xff, 0x02, 1},
                                         AlarmCase{"EveryMinute", 0xff, 0xff, 0x30, 0x02, 33},
                                         AlarmCase{"EveryHour", 0xff, 0x10, 0x05, 0x02, 608},
                                         AlarmCase{"EverySecondOfAMinute", 0xff, 0x00, 0xff, 0x02, 3},
                                         AlarmCase{"EveryMinuteOfAnHour", 0x05, 0xff, 0x09, 0x02, 18'012},
                                         AlarmCase{"Binary", 15, 30, 10, 0x06, 55'813},
                                         AlarmCase{"TwelveHours", 0x83, 0x30, 0x10, 0x00, 55'813},
                                         AlarmCase{"TwelveAtNight", 0x12, 0x00, 0x00, 0x00, 3},
                                         AlarmCase{"Noon", 0x92, 0x00, 0x00, 0x00, 43'203},
                                         AlarmCase{"NoSuchSecond", 0xff, 0xff, 0x60, 0x02, 0},
                                         AlarmCase{"NoSuchMinute", 0xff, 0x75, 0x00, 0x02, 0},
                                         AlarmCase{"NoSuchHour", 0x24, 0x00, 0x00, 0x02, 0},
                                         AlarmCase{"NoSuchHourOfTwelve", 0x13, 0x00, 0x00, 0x00, 0}),
                         [](const auto& test) { return std::string{test.param.name}; });

TEST(Rtc, FindsAnAlarmInALaterMinuteOfTheSameHour)
{
    Machine machine;
    const std::uint64_t now = first_update + (2 + 30 * 60 + 40) * second;  // 00:30:40
    EXPECT_EQ(machine.read(0x00, now), 0x40u);
    machine.read(0x0c, now);  // midnight was an alarm, too
    machine.write(0x05, 0xff, now);
    machine.write(0x03, 0xff, now);
    machine.write(0x01, 0x10, now);
    machine.write(0x0b, 0x22, now);
    EXPECT_EQ(machine.rtc.next_deadline(), now + 30 * second);
}

TEST(Rtc, KeepsExactlyTheDefinedBits)
{
    Machine machine;
    for (unsigned value = 0; value < 256; ++value) {
        machine.write(0x0a, value, 0);
        EXPECT_EQ(machine.read(0x0a, 0), value & 0x7f);
    }
    machine.write(0x0a, 0x26, 0);
    for (unsigned value = 0; value < 128; ++value) {
        machine.write(0x0b, value, 0);
        EXPECT_EQ(machine.read(0x0b, 0), value);
    }
    machine.write(0x0c, 0xff, 0);
    EXPECT_EQ(machine.read(0x0c, 0), 0x00u);
    machine.write(0x0d, 0x00, 0);
    EXPECT_EQ(machine.read(0x0d, 0), 0x80u);
    for (unsigned index = 0x0e; index < 0x80; ++index) {
        if (index == 0x32)
            continue;
        machine.write(index, 0x5a, 0);
        EXPECT_EQ(machine.read(index | 0x80, 0), 0x5au) << index;  // bit 7 is not part of the index
    }
}

TEST(Rtc, DescribesTheMachinesMemory)
{
    Machine machine;
    const auto word = [&](unsigned index) {
        return machine.read(index, 0) | machine.read(index + 1, 0) << 8;
    };
    EXPECT_EQ(word(0x15), 640u);
    EXPECT_EQ(word(0x17), 0xffffu);
    EXPECT_EQ(word(0x30), 0xffffu);
    EXPECT_EQ(word(0x34), (512u - 16) * 16);
    EXPECT_EQ(word(0x5b), 1u << 14);
    unsigned sum = 0;
    for (unsigned index = 0x10; index <= 0x2d; ++index)
        sum += machine.read(index, 0);
    EXPECT_EQ(machine.read(0x2e, 0) << 8 | machine.read(0x2f, 0), sum);
    RecordedLine line;
    Rtc small{line, {.memory_below_hole = 8 << 20}};
    small.write(0x70, 0x34, 0);
    EXPECT_EQ(small.read(0x71, 0), 0);
}

TEST(Rtc, KeepsTimeAndMemoryThroughAReset)
{
    Machine machine;
    machine.write(0x0b, 0x52, 0);
    machine.write(0x40, 0x77, 0);
    machine.rtc.expire(second);
    EXPECT_TRUE(machine.irq());
    machine.rtc.reset();
    EXPECT_FALSE(machine.irq());
    EXPECT_EQ(machine.read(0x0b, second), 0x02u);
    EXPECT_EQ(machine.read(0x40, second), 0x77u);
    EXPECT_EQ(machine.read(0x00, second), 0x58u);
}

TEST(Rtc, AnswersNoOtherPort)
{
    Machine machine;
    const RtcState before = machine.rtc.save();
    for (const std::uint16_t port : {std::uint16_t{0x6f}, std::uint16_t{0x72}, std::uint16_t{0x73}}) {
        EXPECT_EQ(machine.rtc.read(port, 0), 0xff);
        machine.rtc.write(port, 0xff, 0);
    }
    EXPECT_EQ(machine.rtc.read(0x70, 0), 0xff);
    EXPECT_EQ(machine.rtc.save(), before);
}

TEST(Rtc, SurvivesRandomUseAndRestoresWhatItSaved)
{
    std::mt19937_64 random{146'818};
    Machine machine;
    std::uint64_t now = 0;
    for (unsigned step = 0; step < 50'000; ++step) {
        now += random() % (step % 100 == 0 ? 100'000 * second : second);
        const auto index = static_cast<unsigned>(random() % 8 == 0 ? 0x32 : random() % 0x0e);
        if (random() % 2 == 0)
            machine.write(index, static_cast<unsigned>(random() & 0xff), now);
        else
            machine.read(index, now);
        ASSERT_GT(machine.rtc.next_deadline(), now);
        Machine other;
        ASSERT_TRUE(other.rtc.restore(machine.rtc.save())) << step;
        ASSERT_EQ(other.rtc.next_deadline(), machine.rtc.next_deadline());
        ASSERT_EQ(other.irq(), machine.irq());
    }
}

TEST(Rtc, RestoresNothingImpossible)
{
    const auto refuses = [](auto&& spoil) {
        Machine machine;
        const RtcState before = machine.rtc.save();
        RtcState state = before;
        spoil(state);
        return !machine.rtc.restore(state) && machine.rtc.save() == before;
    };
    EXPECT_TRUE(refuses([](RtcState& s) { s.index = 128; }));
    EXPECT_TRUE(refuses([](RtcState& s) { s.phase = second; }));
    EXPECT_TRUE(refuses([](RtcState& s) { s.seconds_offset = std::int64_t{1} << 60; }));
    EXPECT_TRUE(refuses([](RtcState& s) { s.seconds_offset = -(std::int64_t{1} << 60); }));
    EXPECT_TRUE(refuses([](RtcState& s) { s.frozen.month = 13; }));
    EXPECT_TRUE(refuses([](RtcState& s) { s.frozen.day = 0; }));
    EXPECT_TRUE(refuses([](RtcState& s) { s.frozen.hour = 24; }));
    EXPECT_TRUE(refuses([](RtcState& s) { s.frozen.year = -1; }));
    EXPECT_TRUE(refuses([](RtcState& s) { s.ram[0x0a] = 0x80; }));
    EXPECT_TRUE(refuses([](RtcState& s) { s.ram[0x0c] = 0x01; }));
}
