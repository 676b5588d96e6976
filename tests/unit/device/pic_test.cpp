// SPDX-License-Identifier: MIT
//
// The 8259A pair: what the data sheet promises, and a model that keeps priorities as a list.
#include "hv/core/interrupt/pic.hpp"

#include <algorithm>
#include <deque>
#include <gtest/gtest.h>
#include <random>

using namespace hv::core;

namespace {

struct Pair {
    Pic pic{};

    /// Initialised as a PC does: vectors 0x20 and 0x28, nothing masked.
    explicit Pair(std::uint8_t icw4 = 0x01)
    {
        pic.reset();
        for (const std::uint16_t base : {std::uint16_t{0x20}, std::uint16_t{0xa0}}) {
            const auto data = static_cast<std::uint16_t>(base + 1);
            write(base, 0x11);
            write(data, base == 0x20 ? 0x20 : 0x28);
            write(data, base == 0x20 ? 0x04 : 0x02);
            write(data, icw4);
        }
    }
    void write(std::uint16_t port, std::uint8_t value) { pic.write(port, value); }
    std::uint8_t read(std::uint16_t port) { return pic.read(port); }
    void set_line(unsigned irq, bool level) { pic.set_line(irq, level); }
    bool output() const { return pic.output(); }
    std::uint8_t acknowledge() { return pic.acknowledge(); }
    PicState save() const { return pic.save(); }
    bool restore(const PicState& state) { return pic.restore(state); }

    void pulse(unsigned irq)
    {
        set_line(irq, false);
        set_line(irq, true);
    }
    std::uint8_t in_service(std::uint16_t base = 0x20) { return ocw3(base, 0x0b); }
    std::uint8_t requested(std::uint16_t base = 0x20) { return ocw3(base, 0x0a); }
    std::uint8_t ocw3(std::uint16_t base, std::uint8_t value)
    {
        write(base, value);
        return read(base);
    }
};

}  // namespace

TEST(Pic, IsSilentBeforeItIsInitialised)
{
    Pic pic;
    pic.reset();
    for (unsigned irq = 0; irq < 16; ++irq)
        pic.set_line(irq, true);
    EXPECT_FALSE(pic.output());
    EXPECT_EQ(pic.read(0x21), 0xff);
}

TEST(Pic, GivesTheVectorOfEachLine)
{
    for (unsigned irq = 0; irq < 16; ++irq) {
        Pair pic;
        pic.pulse(irq);
        EXPECT_EQ(pic.output(), irq != 2);
        if (irq == 2)
            continue;
        EXPECT_EQ(pic.acknowledge(), 0x20 + irq);
        EXPECT_FALSE(pic.output());
        EXPECT_EQ(pic.in_service(), irq < 8 ? 1u << irq : 4u);
        EXPECT_EQ(pic.in_service(0xa0), irq < 8 ? 0u : 1u << (irq - 8));
    }
}

TEST(Pic, ServesTheHigherPriorityFirstAndNests)
{
    Pair pic;
    pic.pulse(5);
    pic.pulse(3);
    EXPECT_EQ(pic.acknowledge(), 0x23);
    EXPECT_FALSE(pic.output());
    pic.pulse(1);
    EXPECT_EQ(pic.acknowledge(), 0x21);
    pic.write(0x20, 0x20);
    EXPECT_EQ(pic.in_service(), 0x08);
    pic.write(0x20, 0x20);
    EXPECT_EQ(pic.acknowledge(), 0x25);
}

TEST(Pic, NeedsANewEdgeForANewInterrupt)
{
    Pair pic;
    pic.pulse(4);
    pic.acknowledge();
    pic.write(0x20, 0x20);
    pic.set_line(4, true);
    EXPECT_FALSE(pic.output());
    pic.pulse(4);
    EXPECT_TRUE(pic.output());
}

TEST(Pic, RepeatsALevelUntilItFalls)
{
    Pair pic;
    pic.write(0x4d0, 0xff);
    pic.write(0x4d1, 0xff);
    EXPECT_EQ(pic.read(0x4d0), 0xf8);
    EXPECT_EQ(pic.read(0x4d1), 0xde);
    pic.set_line(11, true);
    EXPECT_EQ(pic.acknowledge(), 0x2b);
    EXPECT_FALSE(pic.output());
    pic.write(0xa0, 0x20);
    pic.write(0x20, 0x20);
    EXPECT_EQ(pic.acknowledge(), 0x2b);
    pic.set_line(11, false);
    pic.write(0xa0, 0x20);
    pic.write(0x20, 0x20);
    EXPECT_FALSE(pic.output());
}

TEST(Pic, AnswersASpuriousVectorWhenTheRequestWentAway)
{
    Pair pic;
    pic.set_line(4, true);
    pic.set_line(4, false);
    EXPECT_FALSE(pic.output());
    EXPECT_EQ(pic.acknowledge(), 0x27);
    EXPECT_EQ(pic.in_service(), 0);
    PicState state = pic.save();
    state.master.lines |= 4;
    state.master.requested |= 4;  // the slave's request was seen, and gone before the second cycle
    ASSERT_TRUE(pic.restore(state));
    EXPECT_EQ(pic.acknowledge(), 0x2f);
    EXPECT_EQ(pic.in_service(0xa0), 0);
    EXPECT_EQ(pic.in_service(), 4);  // the master does not know
}

TEST(Pic, MasksAndUnmasks)
{
    Pair pic;
    for (unsigned value = 0; value < 256; ++value) {
        pic.write(0x21, static_cast<std::uint8_t>(value));
        pic.write(0xa1, static_cast<std::uint8_t>(~value));
        EXPECT_EQ(pic.read(0x21), value);
        EXPECT_EQ(pic.read(0xa1), 0xff - value);
    }
    pic.write(0x21, 0xff);
    pic.pulse(1);
    EXPECT_FALSE(pic.output());
    pic.write(0x21, 0xfd);
    EXPECT_EQ(pic.acknowledge(), 0x21);
    pic.write(0x21, 0xff);
    pic.pulse(8);
    EXPECT_FALSE(pic.output());
    EXPECT_EQ(pic.requested(0xa0), 0x01);
}

TEST(Pic, EndsTheNamedOrTheHighestInterrupt)
{
    Pair pic;
    for (const unsigned irq : {6u, 4u, 1u}) {
        pic.pulse(irq);
        pic.acknowledge();
    }
    EXPECT_EQ(pic.in_service(), 0x52);
    pic.write(0x20, 0x64);  // specific, 4
    EXPECT_EQ(pic.in_service(), 0x42);
    pic.write(0x20, 0x20);
    EXPECT_EQ(pic.in_service(), 0x40);
    pic.write(0x20, 0x40);  // no operation
    EXPECT_EQ(pic.in_service(), 0x40);
    pic.write(0x20, 0x20);
    pic.write(0x20, 0x20);
    EXPECT_EQ(pic.in_service(), 0x00);
}

TEST(Pic, RotatesPriorities)
{
    Pair pic;
    pic.write(0x20, 0xc4);  // set priority: 4 lowest, so 5 highest
    pic.pulse(0);
    pic.pulse(5);
    EXPECT_EQ(pic.acknowledge(), 0x25);
    pic.write(0x20, 0xa0);  // rotate on non-specific EOI: 5 lowest
    pic.pulse(5);
    EXPECT_EQ(pic.acknowledge(), 0x20);
    pic.write(0x20, 0xe0);  // rotate on specific EOI of 0
    EXPECT_EQ(pic.in_service(), 0x00);
    pic.pulse(0);
    EXPECT_EQ(pic.acknowledge(), 0x25);
}

TEST(Pic, EndsByItselfInAutomaticMode)
{
    Pair pic{0x03};
    pic.pulse(3);
    EXPECT_EQ(pic.acknowledge(), 0x23);
    EXPECT_EQ(pic.in_service(), 0);
    pic.write(0x20, 0x80);  // rotate in automatic mode
    pic.pulse(3);
    pic.acknowledge();
    pic.pulse(3);
    pic.pulse(4);
    EXPECT_EQ(pic.acknowledge(), 0x24);
    pic.write(0x20, 0x00);  // and no longer
    pic.acknowledge();
    pic.pulse(4);
    pic.pulse(5);
    EXPECT_EQ(pic.acknowledge(), 0x25);
}

TEST(Pic, LetsOthersThroughInSpecialMaskMode)
{
    Pair pic;
    pic.pulse(3);
    pic.acknowledge();
    pic.pulse(6);
    EXPECT_FALSE(pic.output());
    pic.write(0x21, 0x08);
    EXPECT_FALSE(pic.output());
    pic.write(0x20, 0x68);
    EXPECT_EQ(pic.acknowledge(), 0x26);
    pic.write(0x20, 0x20);  // ends 6: 3 is masked and passed over
    EXPECT_EQ(pic.in_service(), 0x08);
    pic.write(0x20, 0x48);
    pic.write(0x20, 0x20);
    EXPECT_EQ(pic.in_service(), 0x00);
}

TEST(Pic, LetsASlaveNestInSpecialFullyNestedMode)
{
    for (const bool special : {false, true}) {
        Pair pic{static_cast<std::uint8_t>(special ? 0x11 : 0x01)};
        pic.pulse(12);
        EXPECT_EQ(pic.acknowledge(), 0x2c);
        pic.pulse(9);
        EXPECT_EQ(pic.output(), special);
        pic.pulse(5);
        if (special) {
            EXPECT_EQ(pic.acknowledge(), 0x29);
        }
        EXPECT_FALSE(pic.output());  // lines below the cascade wait all the same
    }
}

TEST(Pic, SignalsTheSlavesNextRequestAsANewEdge)
{
    Pair pic;
    pic.pulse(12);
    pic.pulse(14);
    EXPECT_EQ(pic.acknowledge(), 0x2c);
    pic.write(0x20, 0x62);
    EXPECT_FALSE(pic.output());
    pic.write(0xa0, 0x20);
    EXPECT_EQ(pic.acknowledge(), 0x2e);
}

TEST(Pic, SignalsTheSlavesNextRequestAlsoWhenTheSlaveNeverStopsAsking)
{
    Pair pic{0x03};  // in automatic mode nothing blocks the second while the first is served
    pic.pulse(12);
    pic.pulse(14);
    EXPECT_EQ(pic.acknowledge(), 0x2c);
    EXPECT_EQ(pic.acknowledge(), 0x2e);
    EXPECT_FALSE(pic.output());
}

TEST(Pic, NestsNothingInASlaveThatIsSetSpecialFullyNested)
{
    Pair pic{0x11};
    pic.pulse(10);  // input 2 of the slave, which is no cascade
    EXPECT_EQ(pic.acknowledge(), 0x2a);
    pic.pulse(10);
    EXPECT_FALSE(pic.output());
}

TEST(Pic, IsAcknowledgedByAPoll)
{
    Pair pic;
    pic.pulse(6);
    pic.write(0x20, 0x0c);
    EXPECT_EQ(pic.read(0x20), 0x86);
    EXPECT_EQ(pic.in_service(), 0x40);
    EXPECT_EQ(pic.read(0x20), 0x40);  // one poll, one read
    pic.write(0x20, 0x0c);
    EXPECT_EQ(pic.read(0x21), 0x00);
    pic.pulse(10);
    pic.write(0xa0, 0x0c);
    EXPECT_EQ(pic.read(0xa1), 0x82);
    EXPECT_FALSE(pic.output());
}

TEST(Pic, ForgetsItsModesAtTheFirstInitialisationWord)
{
    Pair pic{0x13};
    pic.write(0x20, 0x68);
    pic.write(0x20, 0xc2);
    pic.write(0x20, 0x0b);
    pic.write(0x21, 0xaa);
    pic.pulse(1);
    pic.write(0x20, 0x10);  // without ICW4
    EXPECT_FALSE(pic.output());
    pic.write(0x21, 0x47);
    pic.write(0x21, 0x04);
    const PicChipState state = pic.save().master;
    PicChipState expected{};
    expected.lines = 0x02;
    expected.vector_base = 0x40;
    EXPECT_EQ(state, expected);
    pic.write(0x20, 0x13);  // single, with ICW4: no ICW3
    pic.write(0x21, 0x50);
    pic.write(0x21, 0x03);
    EXPECT_TRUE(pic.save().master.automatic_end);
    EXPECT_EQ(pic.save().master.vector_base, 0x50);
}

TEST(Pic, AnswersNoOtherPortOrLine)
{
    Pair pic;
    const PicState before = pic.save();
    EXPECT_EQ(pic.read(0x22), 0xff);
    pic.write(0x22, 0x11);
    pic.set_line(16, true);
    pic.set_line(2, true);
    EXPECT_EQ(pic.save().master, before.master);
    EXPECT_EQ(pic.save().slave, before.slave);
}

TEST(Pic, RestoresNothingImpossible)
{
    const auto refuses = [](auto&& spoil) {
        Pair pic;
        const PicState before = pic.save();
        PicState state = before;
        spoil(state);
        return !pic.restore(state) && pic.save().master == before.master && pic.save().slave == before.slave;
    };
    EXPECT_TRUE(refuses([](PicState& s) { s.master.requested = 1; }));
    EXPECT_TRUE(refuses([](PicState& s) { s.slave.level = 1; }));
    EXPECT_TRUE(refuses([](PicState& s) { s.slave.vector_base = 1; }));
    EXPECT_TRUE(refuses([](PicState& s) { s.slave.lowest = 8; }));
    EXPECT_TRUE(refuses([](PicState& s) { s.master.next_word = 1; }));
    EXPECT_TRUE(refuses([](PicState& s) { s.slave.next_word = 5; }));
}

namespace {

/// One chip as the data sheet tells it: a list of inputs from highest to lowest priority, and flags per
/// input.
struct Model {
    std::deque<unsigned> order{0, 1, 2, 3, 4, 5, 6, 7};
    bool line[8]{}, request[8]{}, service[8]{}, mask[8]{};
    bool special{};

    void make_lowest(unsigned input)
    {
        while (order.back() != input) {
            order.push_back(order.front());
            order.pop_front();
        }
    }
    int due() const
    {
        for (const unsigned input : order) {
            if (service[input] && !(special && mask[input]))
                return -1;
            if (request[input] && !mask[input])
                return static_cast<int>(input);
        }
        return -1;
    }
    int served() const
    {
        for (const unsigned input : order)
            if (service[input] && !(special && mask[input]))
                return static_cast<int>(input);
        return -1;
    }
};

}  // namespace

TEST(Pic, AgreesWithTheModelOverRandomSequences)
{
    std::mt19937 random{8259};
    const auto draw = [&](unsigned limit) { return static_cast<unsigned>(random() % limit); };
    PicChip chip{0xf8, false};
    chip.write_command(0x13);
    chip.write_data(0x20);
    chip.write_data(0x01);
    Model model;
    for (unsigned step = 0; step < 200'000; ++step) {
        const unsigned input = draw(8);
        switch (draw(8)) {
        case 0:
        case 1:
            model.request[input] = model.line[input] ? model.request[input] : true;
            model.line[input] = true;
            chip.set_input(input, true);
            break;
        case 2:
            model.request[input] = model.line[input] = false;
            chip.set_input(input, false);
            break;
        case 3: {
            const int due = model.due();
            ASSERT_EQ(chip.acknowledge(), due < 0 ? 7 : due);
            if (due >= 0) {
                model.request[due] = false;
                model.service[due] = true;
            }
            break;
        }
        case 4: {
            const bool rotates = draw(4) == 0;
            const int served = model.served();
            chip.write_command(rotates ? 0xa0 : 0x20);
            if (served >= 0)
                model.service[served] = false;
            if (served >= 0 && rotates)
                model.make_lowest(static_cast<unsigned>(served));
            break;
        }
        case 5:
            chip.write_command(static_cast<std::uint8_t>(0x60 | input));
            model.service[input] = false;
            break;
        case 6: {
            const unsigned value = draw(256) & draw(256);
            chip.write_data(static_cast<std::uint8_t>(value));
            for (unsigned each = 0; each < 8; ++each)
                model.mask[each] = (value >> each & 1) != 0;
            break;
        }
        case 7:
            if (draw(2) == 0) {
                chip.write_command(static_cast<std::uint8_t>(0xc0 | input));
                model.make_lowest(input);
            } else {
                model.special = draw(2) == 0;
                chip.write_command(model.special ? 0x68 : 0x48);
            }
            break;
        }
        ASSERT_EQ(chip.output(), model.due() >= 0) << step;
        for (unsigned each = 0; each < 8; ++each) {
            ASSERT_EQ((chip.save().requested >> each & 1) != 0, model.request[each]);
            ASSERT_EQ((chip.save().in_service >> each & 1) != 0, model.service[each]);
        }
    }
}
