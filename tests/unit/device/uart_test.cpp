// SPDX-License-Identifier: MIT
//
// The 16550A: its registers, what drivers probe for, interrupts, and a host that has no room.
#include "hv/core/device/uart.hpp"

#include <gtest/gtest.h>
#include <random>
#include <string>

#include "recorded_line.hpp"

using namespace hv::core;

namespace {

struct Terminal final : UartHost {
    bool transmit(std::uint8_t byte) override
    {
        if (text.size() >= room)
            return false;
        text += static_cast<char>(byte);
        return true;
    }
    void receiver_has_room() override { ++asked; }
    std::string text;
    std::size_t room{~std::size_t{0}};
    unsigned asked{};
};

struct Port {
    RecordedLine line;
    Terminal terminal;
    Uart uart{line, terminal};

    void write(unsigned offset, unsigned value)
    {
        uart.write(static_cast<std::uint16_t>(0x3f8 + offset), static_cast<std::uint8_t>(value));
    }
    unsigned read(unsigned offset) { return uart.read(static_cast<std::uint16_t>(0x3f8 + offset)); }
    bool irq() const { return line.levels[4]; }
    void open(unsigned interrupts, unsigned fifo = 0x01)
    {
        write(2, fifo);
        write(4, 0x0b);
        write(1, interrupts);
    }
};

}  // namespace

TEST(Uart, StartsAsTheDataSheetSays)
{
    Port port;
    const unsigned expected[]{0x00, 0x00, 0x01, 0x00, 0x00, 0x60, 0xb0, 0x00};
    for (unsigned offset = 0; offset < 8; ++offset)
        EXPECT_EQ(port.read(offset), expected[offset]) << offset;
    port.write(3, 0x80);
    EXPECT_EQ(port.read(0), 0x0cu);
    EXPECT_EQ(port.read(1), 0x00u);
    EXPECT_FALSE(port.irq());
}

TEST(Uart, KeepsExactlyTheDefinedBits)
{
    Port port;
    const unsigned kept[]{0, 0x0f, 0, 0xff, 0x1f, 0, 0, 0xff};
    for (const unsigned offset : {1u, 4u, 7u, 3u})
        for (unsigned value = 0; value < 256; ++value) {
            port.write(3, 0);
            port.write(offset, value);
            EXPECT_EQ(port.read(offset), value & kept[offset]) << offset;
        }
    port.write(3, 0x83);
    port.write(0, 0x34);
    port.write(1, 0x12);
    EXPECT_EQ(port.read(0), 0x34u);
    EXPECT_EQ(port.read(1), 0x12u);
    port.write(5, 0xff);  // read-only
    port.write(6, 0xff);
    EXPECT_EQ(port.read(5), 0x60u);
}

TEST(Uart, IsFoundToBeA16550A)
{
    Port port;
    port.write(4, 0x1a);  // loopback with OUT2 and RTS
    EXPECT_EQ(port.read(6) & 0xf0, 0x90u);
    port.write(4, 0x15);  // with DTR and OUT1
    EXPECT_EQ(port.read(6) & 0xf0, 0x60u);
    port.write(4, 0x00);
    EXPECT_EQ(port.read(6) & 0xf0, 0xb0u);
    EXPECT_EQ(port.read(2), 0x01u);
    port.write(2, 0x01);
    EXPECT_EQ(port.read(2), 0xc1u);  // both bits: working FIFOs
    port.write(2, 0xe1);
    EXPECT_EQ(port.read(2), 0xc1u);  // bit 5 would be a 64-byte FIFO
    port.write(2, 0x00);
    EXPECT_EQ(port.read(2), 0x01u);
}

TEST(Uart, SendsWhatAPollingGuestWrites)
{
    Port port;
    for (const char byte : std::string{"earlyprintk"}) {
        ASSERT_EQ(port.read(5) & 0x60, 0x60u);
        port.write(0, static_cast<unsigned>(byte));
    }
    EXPECT_EQ(port.terminal.text, "earlyprintk");
    EXPECT_EQ(port.line.edges[4], 0u);
}

TEST(Uart, LosesNoByteWhenTheHostHasNoRoom)
{
    Port port;
    port.open(0);
    port.terminal.room = 3;
    std::string sent;
    for (unsigned burst = 0; burst < 4; ++burst) {
        while ((port.read(5) & 0x20) == 0) {
            ++port.terminal.room;
            port.uart.transmit_room();
        }
        for (unsigned byte = 0; byte < 16; ++byte) {  // a FIFO's worth after each look
            sent += static_cast<char>('a' + byte);
            port.write(0, 'a' + byte);
        }
    }
    EXPECT_EQ(port.read(5) & 0x60, 0x00u);
    port.write(2, 0x07);  // clearing the FIFOs takes nothing back
    port.terminal.room = 1'000;
    port.uart.transmit_room();
    EXPECT_EQ(port.terminal.text, sent);
    EXPECT_EQ(port.read(5) & 0x60, 0x60u);
}

TEST(Uart, NeverSendsALaterByteFirst)
{
    Port port;
    port.open(0);
    port.terminal.room = 0;
    port.write(0, 'a');
    port.terminal.room = 10;  // there is room, but nobody has said so yet
    port.write(0, 'b');
    EXPECT_EQ(port.terminal.text, "");
    port.uart.transmit_room();
    EXPECT_EQ(port.terminal.text, "ab");
}

TEST(Uart, HoldsOneByteWithoutFifos)
{
    Port port;
    port.terminal.room = 0;
    port.write(0, 'x');
    EXPECT_EQ(port.read(5) & 0x60, 0x00u);
    port.write(0, 'y');  // nobody looked at the status: lost, as on the chip
    port.terminal.room = 10;
    port.uart.transmit_room();
    EXPECT_EQ(port.terminal.text, "x");
}

TEST(Uart, InterruptsWhenTheTransmitterIsEmpty)
{
    Port port;
    port.open(0x02);
    EXPECT_TRUE(port.irq());  // enabling it while empty is how a driver starts
    EXPECT_EQ(port.read(2), 0xc2u);
    EXPECT_FALSE(port.irq());
    EXPECT_EQ(port.read(2), 0xc1u);  // told once
    port.write(0, 'x');
    EXPECT_TRUE(port.irq());
    EXPECT_EQ(port.read(2), 0xc2u);
    port.write(1, 0x02);  // already enabled: nothing new
    EXPECT_EQ(port.read(2), 0xc1u);
    port.write(1, 0x00);
    port.write(1, 0x02);
    EXPECT_EQ(port.read(2), 0xc2u);
}

TEST(Uart, RaisesNoEdgePerByteOfABurst)
{
    Port port;
    port.open(0x02);
    port.read(2);
    const unsigned before = port.line.edges[4];
    for (unsigned byte = 0; byte < 16; ++byte)
        port.write(0, 'a');
    EXPECT_EQ(port.line.edges[4], before + 1);
}

TEST(Uart, InterruptsOnlyOnceTheHostHasTakenEverything)
{
    Port port;
    port.open(0x02);
    port.read(2);
    port.terminal.room = 0;
    port.write(0, 'a');
    port.write(0, 'b');
    EXPECT_FALSE(port.irq());
    port.write(1, 0x00);
    port.write(1, 0x02);
    EXPECT_FALSE(port.irq());  // not empty
    port.terminal.room = 1;
    port.uart.transmit_room();
    EXPECT_FALSE(port.irq());
    port.terminal.room = 2;
    port.uart.transmit_room();
    EXPECT_TRUE(port.irq());
    port.uart.transmit_room();  // nothing waits: nothing changes
    EXPECT_EQ(port.read(2), 0xc2u);
    port.uart.transmit_room();
    EXPECT_FALSE(port.irq());
}

TEST(Uart, ReceivesUpToItsCapacityAndAsksForMore)
{
    for (const bool fifo : {false, true}) {
        Port port;
        port.open(0x01, fifo ? 0x01 : 0x00);
        const unsigned capacity = fifo ? 16 : 1;
        for (unsigned byte = 0; byte < capacity; ++byte)
            EXPECT_TRUE(port.uart.receive(static_cast<std::uint8_t>(byte + 1)));
        EXPECT_FALSE(port.uart.can_receive());
        const UartState before = port.uart.save();
        EXPECT_FALSE(port.uart.receive(0x99));
        EXPECT_EQ(port.uart.save(), before);
        EXPECT_TRUE(port.irq());
        for (unsigned byte = 0; byte < capacity; ++byte) {
            EXPECT_EQ(port.read(5) & 0x03, 0x01u);  // ready, no overrun
            EXPECT_EQ(port.read(0), byte + 1);
            EXPECT_EQ(port.terminal.asked, 1u);
        }
        EXPECT_FALSE(port.irq());
        EXPECT_EQ(port.read(5) & 0x01, 0x00u);
        EXPECT_EQ(port.read(0), 0x00u);
    }
}

TEST(Uart, TellsTriggerLevelFromTimeout)
{
    const unsigned levels[]{1, 4, 8, 14};
    for (unsigned code = 0; code < 4; ++code) {
        Port port;
        port.open(0x01, 0x01 | code << 6);
        for (unsigned byte = 1; byte <= 16; ++byte) {
            ASSERT_TRUE(port.uart.receive(0x55));
            EXPECT_EQ(port.read(2), byte >= levels[code] ? 0xc4u : 0xccu);
            EXPECT_TRUE(port.irq());
        }
        port.write(2, 0x03);
        EXPECT_FALSE(port.irq());
        EXPECT_EQ(port.terminal.asked, 1u);
    }
}

TEST(Uart, ReportsInterruptsInTheOrderOfTheirPriority)
{
    Port port;
    port.write(2, 0x00);
    port.write(4, 0x10);
    port.write(0, 'a');
    port.write(0, 'b');   // overrun in loopback
    port.write(4, 0x08);  // and the modem lines change
    port.write(1, 0x0f);
    EXPECT_EQ(port.read(2), 0x06u);
    EXPECT_EQ(port.read(5), 0x63u);
    EXPECT_EQ(port.read(5), 0x61u);
    EXPECT_EQ(port.read(2), 0x04u);
    EXPECT_EQ(port.read(0), unsigned{'a'});
    EXPECT_EQ(port.read(2), 0x02u);
    EXPECT_EQ(port.read(2), 0x00u);
    EXPECT_TRUE(port.irq());
    EXPECT_NE(port.read(6) & 0x0f, 0x00u);
    EXPECT_EQ(port.read(6), 0xb0u);
    EXPECT_EQ(port.read(2), 0x01u);
    EXPECT_FALSE(port.irq());
}

TEST(Uart, NotesChangesOfTheModemLines)
{
    Port port;
    port.write(4, 0x14);  // loopback: RI alone
    EXPECT_EQ(port.read(6), 0x4bu);
    port.write(4, 0x10);
    EXPECT_EQ(port.read(6), 0x04u);  // the ring ended
    port.write(4, 0x00);
    EXPECT_EQ(port.read(6), 0xbbu);
}

TEST(Uart, LoopsBackInsteadOfSending)
{
    Port port;
    port.open(0x01);
    port.write(4, 0x1b);
    port.write(0, 'x');
    EXPECT_EQ(port.terminal.text, "");
    EXPECT_FALSE(port.uart.receive('y'));  // the line is disconnected
    EXPECT_FALSE(port.irq());              // and so is the interrupt
    EXPECT_EQ(port.read(0), unsigned{'x'});
    port.write(4, 0x0b);
    EXPECT_EQ(port.terminal.asked, 1u);
    EXPECT_TRUE(port.uart.receive('y'));
}

TEST(Uart, ReachesItsLineOnlyThroughOut2)
{
    Port port;
    port.write(1, 0x02);
    EXPECT_FALSE(port.irq());
    port.write(4, 0x08);
    EXPECT_TRUE(port.irq());
    port.write(4, 0x00);
    EXPECT_FALSE(port.irq());
}

TEST(Uart, ClearsTheReceiverWhenFifosAreSwitched)
{
    Port port;
    ASSERT_TRUE(port.uart.receive('x'));
    port.write(2, 0x01);
    EXPECT_EQ(port.read(5) & 1, 0u);
    ASSERT_TRUE(port.uart.receive('y'));
    port.write(2, 0xc1);  // not a switch
    EXPECT_EQ(port.read(5) & 1, 1u);
    port.write(2, 0x02);  // without the enable bit all others are ignored, but it is a switch
    EXPECT_EQ(port.read(5) & 1, 0u);
}

TEST(Uart, AnswersNoOtherPort)
{
    Port port;
    const UartState before = port.uart.save();
    for (const std::uint16_t other : {std::uint16_t{0x3f7}, std::uint16_t{0x400}, std::uint16_t{0x2f8}}) {
        EXPECT_EQ(port.uart.read(other), 0xff);
        port.uart.write(other, 0xff);
    }
    EXPECT_EQ(port.uart.save(), before);
}

TEST(Uart, SurvivesRandomUseAndRestoresWhatItSaved)
{
    std::mt19937 random{16550};
    Port port;
    for (unsigned step = 0; step < 100'000; ++step) {
        port.terminal.room = random() % 4;
        port.terminal.text.clear();
        switch (random() % 4) {
        case 0:
            port.write(static_cast<unsigned>(random() % 8), static_cast<unsigned>(random() & 0xff));
            break;
        case 1: port.read(static_cast<unsigned>(random() % 8)); break;
        case 2: {
            const bool room = port.uart.can_receive();
            ASSERT_EQ(port.uart.receive(static_cast<std::uint8_t>(random())), room);
            break;
        }
        case 3: port.uart.transmit_room(); break;
        }
        Port other;
        ASSERT_TRUE(other.uart.restore(port.uart.save()));
        ASSERT_EQ(other.irq(), port.irq());
    }
}

TEST(Uart, RestoresNothingImpossible)
{
    const auto refuses = [](auto&& spoil) {
        Port port;
        const UartState before = port.uart.save();
        UartState state = before;
        spoil(state);
        return !port.uart.restore(state) && port.uart.save() == before;
    };
    EXPECT_TRUE(refuses([](UartState& s) { s.received.first = 16; }));
    EXPECT_TRUE(refuses([](UartState& s) { s.unsent.count = 17; }));
    EXPECT_TRUE(refuses([](UartState& s) { s.interrupt_enable = 0x10; }));
    EXPECT_TRUE(refuses([](UartState& s) { s.fifo_control = 0x08; }));
    EXPECT_TRUE(refuses([](UartState& s) { s.modem_control = 0x20; }));
    EXPECT_TRUE(refuses([](UartState& s) { s.line_errors = 0x01; }));
    EXPECT_TRUE(refuses([](UartState& s) {
        s.unsent.count = 1;
        s.transmitter_interrupt = true;
    }));
}
