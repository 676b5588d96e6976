// SPDX-License-Identifier: MIT
//
// ACPI's fixed hardware and the reset ports.
#include "hv/core/device/acpi_pm.hpp"
#include "hv/core/device/reset_ports.hpp"

#include <gtest/gtest.h>
#include <vector>

#include "recorded_line.hpp"

using namespace hv::core;

namespace {

struct Requests final : PowerSink {
    void sleep_requested(std::uint8_t sleep_type) override { sleeps.push_back(sleep_type); }
    void reset_requested() override { ++resets; }
    std::vector<unsigned> sleeps;
    unsigned resets{};
};

struct Machine {
    RecordedLine line;
    Requests requests;
    AcpiPm pm{line, requests};

    void write(unsigned port, std::uint32_t value, unsigned bytes, std::uint64_t now = 0)
    {
        for (unsigned byte = 0; byte < bytes; ++byte)
            pm.write(static_cast<std::uint16_t>(port + byte), static_cast<std::uint8_t>(value >> (8 * byte)),
                     now);
    }
    std::uint32_t read(unsigned port, unsigned bytes, std::uint64_t now = 0)
    {
        std::uint32_t value = 0;
        for (unsigned byte = 0; byte < bytes; ++byte)
            value |= std::uint32_t{pm.read(static_cast<std::uint16_t>(port + byte), now)} << (8 * byte);
        return value;
    }
    bool sci() const { return line.levels[9]; }
};

constexpr std::uint64_t second{1'000'000'000};

}  // namespace

TEST(AcpiPm, IsInAcpiModeFromTheStart)
{
    Machine machine;
    EXPECT_EQ(machine.read(0x600, 2), 0u);
    EXPECT_EQ(machine.read(0x602, 2), 0u);
    EXPECT_EQ(machine.read(0x604, 2), 1u);
    machine.write(0x604, 0, 2);
    EXPECT_EQ(machine.read(0x604, 2), 1u);
}

TEST(AcpiPm, KeepsExactlyTheDefinedBits)
{
    Machine machine;
    for (unsigned bit = 0; bit < 16; ++bit) {
        machine.write(0x602, 1u << bit, 2);
        EXPECT_EQ(machine.read(0x602, 2), 1u << bit & 0x0521u) << bit;
        machine.write(0x602, 0, 2);
        machine.write(0x604, 1u << bit, 2);
        EXPECT_EQ(machine.read(0x604, 2), (1u << bit & 0x1c02u) | 1u) << bit;
        machine.write(0x600, 1u << bit, 2);  // only clears
        EXPECT_EQ(machine.read(0x600, 2), 0u);
    }
}

TEST(AcpiPm, AsksForTheSleepStateThatIsWritten)
{
    Machine machine;
    machine.write(0x604, 5u << 10, 2);
    EXPECT_TRUE(machine.requests.sleeps.empty());
    machine.write(0x604, 5u << 10 | 1u << 13, 2);
    EXPECT_EQ(machine.requests.sleeps, (std::vector<unsigned>{5}));
    EXPECT_EQ(machine.read(0x604, 2), (5u << 10) | 1u);  // SLP_EN reads as zero
    machine.write(0x605, (3u << 10 | 1u << 13) >> 8, 1);
    EXPECT_EQ(machine.requests.sleeps, (std::vector<unsigned>{5, 3}));
    machine.write(0x604, 0xff, 1);  // the other byte asks for nothing
    EXPECT_EQ(machine.requests.sleeps.size(), 2u);
}

TEST(AcpiPm, InterruptsForThePowerButtonUntilItIsCleared)
{
    Machine machine;
    machine.pm.press_power_button();
    EXPECT_FALSE(machine.sci());
    EXPECT_EQ(machine.read(0x600, 2), 0x100u);
    machine.write(0x602, 0x100, 2);
    EXPECT_TRUE(machine.sci());
    machine.write(0x600, 0xfeff, 2);
    EXPECT_TRUE(machine.sci());
    machine.write(0x601, 0x01, 1);
    EXPECT_FALSE(machine.sci());
    EXPECT_EQ(machine.read(0x600, 2), 0u);
}

TEST(AcpiPm, CountsAtItsFrequencyIn32Bits)
{
    Machine machine;
    EXPECT_EQ(machine.read(0x608, 4, 0), 0u);
    EXPECT_EQ(machine.read(0x608, 4, second), 3'579'545u);
    EXPECT_EQ(machine.read(0x608, 4, 1'000 * second), 3'579'545'000u);
    EXPECT_EQ(machine.read(0x608, 4, 2'000 * second), 7'159'090'000u - 4'294'967'296u);
    EXPECT_EQ(machine.read(0x60a, 2, second), 3'579'545u >> 16);
    machine.write(0x608, 0, 4, 2'000 * second);
    EXPECT_EQ(machine.read(0x608, 4, 2'000 * second), 7'159'090'000u - 4'294'967'296u);
    EXPECT_EQ(machine.read(0x608, 4, ~0ull),
              static_cast<std::uint32_t>((~0ull / second) * 3'579'545 + ~0ull % second * 3'579'545 / second));
}

TEST(AcpiPm, InterruptsWhenTheTopBitOfTheTimerChanges)
{
    Machine machine;
    EXPECT_EQ(machine.pm.next_deadline(), no_deadline);
    machine.write(0x602, 1, 2, second);
    const std::uint64_t half = machine.pm.next_deadline();
    EXPECT_EQ(machine.read(0x608, 4, half - 1), 0x7fff'ffffu);
    EXPECT_FALSE(machine.sci());
    machine.pm.expire(half);
    EXPECT_EQ(machine.read(0x608, 4, half), 0x8000'0000u);
    EXPECT_TRUE(machine.sci());
    EXPECT_EQ(machine.pm.next_deadline(), no_deadline);  // already told
    machine.write(0x600, 1, 2, half);
    EXPECT_FALSE(machine.sci());
    EXPECT_NEAR(static_cast<double>(machine.pm.next_deadline()), 2.0 * static_cast<double>(half), 2.0);
}

TEST(AcpiPm, AnswersNoOtherPort)
{
    Machine machine;
    const AcpiPmState before = machine.pm.save();
    for (const unsigned port : {0x5ffu, 0x606u, 0x607u, 0x60cu}) {
        EXPECT_EQ(machine.read(port, 1), 0xffu);
        machine.write(port, 0xff, 1);
    }
    EXPECT_EQ(machine.pm.save(), before);
}

TEST(AcpiPm, RestoresWhatItSavedAndNothingImpossible)
{
    Machine machine;
    machine.write(0x602, 0x100, 2);
    machine.pm.press_power_button();
    Machine other;
    EXPECT_TRUE(other.pm.restore(machine.pm.save()));
    EXPECT_TRUE(other.sci());
    for (const AcpiPmState& state :
         {AcpiPmState{.status = 2}, AcpiPmState{.enable = 0x200}, AcpiPmState{.control = 1}}) {
        EXPECT_FALSE(other.pm.restore(state));
        EXPECT_EQ(other.pm.save(), machine.pm.save());
    }
    other.pm.reset();
    EXPECT_FALSE(other.sci());
}

TEST(ResetPorts, ResetByTheTwoCommandsAlone)
{
    for (unsigned value = 0; value < 256; ++value) {
        Requests requests;
        ResetPorts ports{requests};
        ports.write(0xcf9, static_cast<std::uint8_t>(value));
        EXPECT_EQ(requests.resets, (value & 4) != 0 ? 1u : 0u);
        EXPECT_EQ(ports.read(0xcf9), value & 0x0a);
        ports.write(0x64, static_cast<std::uint8_t>(value));
        EXPECT_EQ(requests.resets, ((value & 4) != 0 ? 1u : 0u) + (value == 0xfe ? 1u : 0u));
        ports.write(0x60, static_cast<std::uint8_t>(value));
        ports.reset();
        EXPECT_EQ(ports.read(0xcf9), 0);
    }
}

TEST(ResetPorts, ShowNoKeyboardControllerThatAGuestCouldWaitFor)
{
    Requests requests;
    ResetPorts ports{requests};
    EXPECT_EQ(ports.read(0x64) & 2, 0);  // never busy: a guest that waits for that goes on
    EXPECT_EQ(ports.read(0x64) & 1, 1);  // never drained: a driver gives up at once
    EXPECT_EQ(ports.read(0x60), 0xff);
}

TEST(ResetPorts, RestoreNothingImpossible)
{
    Requests requests;
    ResetPorts ports{requests};
    EXPECT_FALSE(ports.restore({.control = 4}));
    EXPECT_TRUE(ports.restore({.control = 2}));
    EXPECT_EQ(ports.save().control, 2);
}
