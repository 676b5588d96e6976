// SPDX-License-Identifier: MIT
//
// The I/O APIC: its window, edges, levels and EOIs.
#include "hv/core/interrupt/io_apic.hpp"

#include <gtest/gtest.h>
#include <random>
#include <vector>

using namespace hv::core;

namespace {

struct Messages final : InterruptMessageSink {
    bool deliver(const InterruptMessage& message) override
    {
        sent.push_back(message);
        return taken;
    }
    std::vector<InterruptMessage> sent;
    bool taken{true};
};

struct Machine {
    Messages messages;
    IoApic apic{messages};

    void write(std::uint32_t index, std::uint32_t value)
    {
        apic.write_mmio(0x00, 4, index);
        apic.write_mmio(0x10, 4, value);
    }
    std::uint32_t read(std::uint32_t index)
    {
        apic.write_mmio(0x00, 4, index);
        return static_cast<std::uint32_t>(apic.read_mmio(0x10, 4));
    }
    void program(unsigned pin, std::uint32_t low, std::uint8_t destination = 0)
    {
        write(0x11 + 2 * pin, std::uint32_t{destination} << 24);
        write(0x10 + 2 * pin, low);
    }
    bool remote_irr(unsigned pin) { return (read(0x10 + 2 * pin) & 1u << 14) != 0; }
    std::size_t sent() const { return messages.sent.size(); }
};

constexpr std::uint32_t level{1u << 15};
constexpr std::uint32_t masked{1u << 16};

}  // namespace

TEST(IoApic, StartsWithEveryPinMasked)
{
    Machine machine;
    EXPECT_EQ(machine.read(0), 0u);
    EXPECT_EQ(machine.read(1), 0x0017'0020u);
    EXPECT_EQ(machine.read(2), 0u);
    for (unsigned pin = 0; pin < 24; ++pin) {
        EXPECT_EQ(machine.read(0x10 + 2 * pin), masked);
        EXPECT_EQ(machine.read(0x11 + 2 * pin), 0u);
        machine.apic.set_line(pin, true);
    }
    EXPECT_EQ(machine.sent(), 0u);
}

TEST(IoApic, KeepsExactlyTheDefinedBitsAndHasNoOtherRegisters)
{
    Machine machine;
    for (std::uint32_t index = 0; index < 0x100; ++index) {
        const bool entry = index >= 0x10 && index < 0x40;
        const std::uint32_t kept = index == 0       ? 0x0f00'0000
                                   : !entry         ? 0
                                   : index % 2 == 0 ? 0x1'afff
                                                    : 0xff00'0000;
        for (unsigned bit = 0; bit < 32; ++bit) {
            machine.write(index, 1u << bit);
            if (index != 1 && index != 2) {
                EXPECT_EQ(machine.read(index), (1u << bit) & kept)
                    << std::hex << index << " bit " << std::dec << bit;
            }
        }
        if (entry)
            machine.write(index, index % 2 == 0 ? masked : 0);
    }
    EXPECT_EQ(machine.read(1), 0x0017'0020u);
}

TEST(IoApic, ShowsItsIdInTheArbitrationRegister)
{
    Machine machine;
    machine.write(0, 0x0500'0000);
    EXPECT_EQ(machine.read(2), 0x0500'0000u);
}

TEST(IoApic, ReadsInEveryWidthAndWritesDataOnlyWhole)
{
    Machine machine;
    machine.apic.write_mmio(0x00, 1, 0x01);
    EXPECT_EQ(machine.apic.read_mmio(0x10, 1), 0x20u);
    EXPECT_EQ(machine.apic.read_mmio(0x12, 2), 0x17u);
    EXPECT_EQ(machine.apic.read_mmio(0x12, 4), 0x17u);
    EXPECT_EQ(machine.apic.read_mmio(0x10, 8), 0x0017'0020u);
    EXPECT_EQ(machine.apic.read_mmio(0x00, 4), 1u);
    EXPECT_EQ(machine.apic.read_mmio(0x20, 4), 0u);
    machine.apic.write_mmio(0x00, 4, 0xffff'ff10);
    EXPECT_EQ(machine.apic.read_mmio(0x00, 4), 0x10u);
    const auto before = machine.apic.save();
    machine.apic.write_mmio(0x10, 1, 0x55);
    machine.apic.write_mmio(0x10, 2, 0x55);
    machine.apic.write_mmio(0x11, 4, 0x55);
    machine.apic.write_mmio(0x20, 4, 0x55);
    EXPECT_EQ(machine.apic.save(), before);
}

TEST(IoApic, SendsOneMessagePerRisingEdge)
{
    Machine machine;
    machine.program(4, 0x0941, 0x03);
    machine.apic.set_line(4, true);
    machine.apic.set_line(4, true);
    ASSERT_EQ(machine.sent(), 1u);
    EXPECT_EQ(machine.messages.sent[0], (InterruptMessage{.destination = 3,
                                                          .vector = 0x41,
                                                          .delivery = DeliveryMode::lowest_priority,
                                                          .destination_mode = DestinationMode::logical}));
    machine.apic.set_line(4, false);
    machine.apic.set_line(4, true);
    EXPECT_EQ(machine.sent(), 2u);
    EXPECT_FALSE(machine.remote_irr(4));
}

TEST(IoApic, ForgetsAnEdgeThatCameWhileMasked)
{
    Machine machine;
    machine.program(4, masked | 0x41);
    machine.apic.set_line(4, true);
    machine.program(4, 0x41);
    EXPECT_EQ(machine.sent(), 0u);
}

TEST(IoApic, HoldsALevelUntilItsEndAndSendsAgainWhileAsserted)
{
    Machine machine;
    machine.program(9, level | 0x51);
    machine.apic.set_line(9, true);
    ASSERT_EQ(machine.sent(), 1u);
    EXPECT_EQ(machine.messages.sent[0].trigger, TriggerMode::level);
    EXPECT_TRUE(machine.remote_irr(9));
    machine.apic.set_line(9, false);
    machine.apic.set_line(9, true);
    EXPECT_EQ(machine.sent(), 1u);
    machine.apic.end_of_interrupt(0x52);
    EXPECT_EQ(machine.sent(), 1u);
    machine.apic.end_of_interrupt(0x51);
    EXPECT_EQ(machine.sent(), 2u);
    machine.apic.set_line(9, false);
    machine.apic.write_mmio(0x40, 4, 0x51);
    EXPECT_EQ(machine.sent(), 2u);
    EXPECT_FALSE(machine.remote_irr(9));
}

TEST(IoApic, EndsEveryPinThatSharesTheVector)
{
    Machine machine;
    for (const unsigned pin : {5u, 10u}) {
        machine.program(pin, level | 0x51);
        machine.apic.set_line(pin, true);
    }
    machine.apic.set_line(5, false);
    machine.apic.end_of_interrupt(0x51);
    EXPECT_FALSE(machine.remote_irr(5));
    EXPECT_TRUE(machine.remote_irr(10));
    EXPECT_EQ(machine.sent(), 3u);
}

TEST(IoApic, SendsAWaitingLevelWhenItsPinIsUnmasked)
{
    Machine machine;
    machine.program(9, masked | level | 0x51);
    machine.apic.set_line(9, true);
    EXPECT_EQ(machine.sent(), 0u);
    machine.program(9, level | 0x51);
    EXPECT_EQ(machine.sent(), 1u);
    machine.program(9, level | 0x51);
    EXPECT_EQ(machine.sent(), 1u);  // the write keeps the remote IRR
    machine.program(9, masked | level | 0x51);
    machine.apic.end_of_interrupt(0x51);
    EXPECT_EQ(machine.sent(), 1u);
    EXPECT_FALSE(machine.remote_irr(9));
}

TEST(IoApic, FreesAPinThatIsMadeEdgeTriggeredForAMoment)
{
    Machine machine;
    machine.program(9, level | 0x51);
    machine.apic.set_line(9, true);
    machine.apic.set_line(9, false);
    machine.write(0x10 + 18, masked | 0x51);
    EXPECT_FALSE(machine.remote_irr(9));
    machine.write(0x10 + 18, level | 0x51);
    machine.apic.set_line(9, true);
    EXPECT_EQ(machine.sent(), 2u);
}

TEST(IoApic, IsNotStuckByAMessageThatNobodyTook)
{
    Machine machine;
    machine.messages.taken = false;
    machine.program(9, level | 0x51, 0x77);
    machine.apic.set_line(9, true);
    EXPECT_FALSE(machine.remote_irr(9));
    machine.messages.taken = true;
    machine.apic.set_line(9, true);
    EXPECT_TRUE(machine.remote_irr(9));
}

TEST(IoApic, TreatsModesWithoutAVectorAsEdges)
{
    Machine machine;
    machine.program(2, level | 0x0400);
    machine.apic.set_line(2, true);
    ASSERT_EQ(machine.sent(), 1u);
    EXPECT_EQ(machine.messages.sent[0].delivery, DeliveryMode::nmi);
    EXPECT_EQ(machine.messages.sent[0].trigger, TriggerMode::edge);
    EXPECT_FALSE(machine.remote_irr(2));
}

TEST(IoApic, IgnoresLinesThatItDoesNotHave)
{
    Machine machine;
    const auto before = machine.apic.save();
    machine.apic.set_line(24, true);
    machine.apic.set_line(~0u, true);
    EXPECT_EQ(machine.apic.save(), before);
}

TEST(IoApic, RestoresWhatItSavedAndNothingImpossible)
{
    std::mt19937 random{3};
    Machine machine;
    for (unsigned step = 0; step < 3'000; ++step) {
        machine.write(static_cast<std::uint32_t>(random() % 0x44), static_cast<std::uint32_t>(random()));
        machine.apic.set_line(static_cast<unsigned>(random() % 24), (random() & 1) != 0);
        Machine other;
        ASSERT_TRUE(other.apic.restore(machine.apic.save()));
        ASSERT_EQ(other.apic.save(), machine.apic.save());
    }
    const auto refuses = [](auto&& spoil) {
        Machine fresh;
        const IoApicState before = fresh.apic.save();
        IoApicState state = before;
        spoil(state);
        return !fresh.apic.restore(state) && fresh.apic.save() == before;
    };
    EXPECT_TRUE(refuses([](IoApicState& s) { s.index = 0x100; }));
    EXPECT_TRUE(refuses([](IoApicState& s) { s.id = 16; }));
    EXPECT_TRUE(refuses([](IoApicState& s) { s.lines = 1u << 24; }));
    EXPECT_TRUE(refuses([](IoApicState& s) { s.entries[3] |= 1u << 12; }));
    EXPECT_TRUE(refuses([](IoApicState& s) { s.entries[3] |= 1u << 14; }));  // remote IRR of an edge
}

TEST(IoApic, KeepsItsLinesThroughAReset)
{
    Machine machine;
    machine.apic.set_line(9, true);
    machine.apic.reset();
    machine.program(9, level | 0x51);
    EXPECT_EQ(machine.sent(), 1u);
}
