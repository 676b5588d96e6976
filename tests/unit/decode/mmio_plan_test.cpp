// SPDX-License-Identifier: MIT
//
// Where memory operands are: offsets and segments against Zydis in all modes, limits and wraps by hand, and
// what the planner refuses.
#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <initializer_list>
#include <random>
#include <vector>

#include "hv/core/emulate/mmio.hpp"
#include "zydis_oracle.hpp"

using namespace hv;
using namespace hv::core;
using namespace hv::core::emulate;

namespace {

constexpr std::uint16_t data_segment{0xc93};  // present, writable, accessed, 32 bits, pages
constexpr std::uint16_t expand_down_segment{0xc97};
constexpr std::uint16_t read_only_segment{0xc91};
constexpr std::uint16_t code_segment{0xc9b};
constexpr std::uint16_t execute_only_segment{0xc99};

/// Flat segments, but each with its own base if asked.
Segments segments_with_bases(bool different_bases)
{
    Segments segments{};
    for (unsigned i = 0; i < 6; ++i)
        segments.segments[i] = {different_bases ? 0x1000'0000ull * (i + 1) : 0, 0xffff'ffff, data_segment};
    return segments;
}

Expected<MmioOperation> planned(std::initializer_list<unsigned> bytes, Mode mode, const Registers& registers,
                                const Segments& segments)
{
    std::vector<std::byte> buffer;
    for (const unsigned byte : bytes)
        buffer.push_back(static_cast<std::byte>(byte));
    const auto instruction = decode(buffer, mode);
    if (!instruction)
        return instruction.error();
    return plan(instruction.value(), registers, segments);
}

class PlanAgainstZydis : public testing::TestWithParam<Mode> {};

}  // namespace

TEST_P(PlanAgainstZydis, FindsTheSameOperand)
{
    const Mode mode{GetParam()};
    const Segments segments{segments_with_bases(true)};
    constexpr std::array<std::uint8_t, 12> opcodes{0x00, 0x03, 0x33, 0x81, 0x84, 0x87,
                                                   0x88, 0x8b, 0xa1, 0xc7, 0xf6, 0xfe};
    constexpr std::array<std::uint8_t, 8> prefixes{0x66, 0x67, 0x26, 0x2e, 0x36, 0x64, 0x65, 0x67};
    std::mt19937_64 generator{5};
    unsigned compared{};
    for (unsigned i = 0; i < 300'000; ++i) {
        std::array<std::uint64_t, 2> words{generator(), generator()};
        std::array<std::byte, 16> bytes;
        std::memcpy(bytes.data(), words.data(), bytes.size());
        std::size_t at{};
        const std::uint64_t choice{generator()};
        if ((choice & 3) != 0)
            bytes[at++] = static_cast<std::byte>(prefixes[choice >> 8 & 7]);
        if ((choice & 4) != 0)
            bytes[at++] = static_cast<std::byte>(prefixes[choice >> 16 & 7]);
        if (mode == Mode::bits64 && (choice & 8) != 0)
            bytes[at++] = static_cast<std::byte>(0x40 | (choice >> 24 & 15));
        bytes[at] = static_cast<std::byte>(opcodes[(choice >> 32) % opcodes.size()]);
        Registers registers{};
        for (std::uint64_t& value : registers.general)
            value = generator() & (mode == Mode::bits64 ? ~0ull : 0xffff'ffff);
        registers.rip = generator() & 0x7fff'ffff;
        const auto instruction = decode(std::span{bytes}.first(15), mode);
        if (!instruction)
            continue;
        const auto ours = plan(instruction.value(), registers, segments);
        if (!ours)
            continue;
        const Instruction& found{instruction.value()};
        if (found.has_sib && found.mod() == 0 && (found.sib & 7) == rbp && (found.rex & rex::b) != 0)
            continue;  // no base, but Zydis 4.0 takes R13; mmio_against_processor_test asks the processor
        const auto theirs = test::zydis_effective_address(bytes, mode, registers);
        ASSERT_TRUE(theirs.has_value());
        const bool flat{mode == Mode::bits64 && theirs->segment < SegmentRegister::fs};
        const std::uint64_t base{flat ? 0 : segments[theirs->segment].base};
        std::uint64_t expected{base + theirs->offset};
        if (mode != Mode::bits64)
            expected &= 0xffff'ffff;
        const GuestLinear address{ours.value().reads ? ours.value().read_address
                                                     : ours.value().write_address};
        ASSERT_EQ(address.raw(), expected) << testing::PrintToString(bytes);
        ASSERT_EQ(ours.value().size, theirs->size) << testing::PrintToString(bytes);
        ++compared;
    }
    EXPECT_GT(compared, 50'000u);
}

INSTANTIATE_TEST_SUITE_P(Modes, PlanAgainstZydis, testing::Values(Mode::bits16, Mode::bits32, Mode::bits64));

TEST(Plan, SaysWhichWayTheDataGoes)
{
    const Segments segments{segments_with_bases(false)};
    Registers registers{};
    registers.general[rax] = 0xfee0'0000;
    const auto load = planned({0x8b, 0x40, 0x20}, Mode::bits64, registers, segments).value();
    EXPECT_TRUE(load.reads && !load.writes);
    EXPECT_EQ(load.read_address, GuestLinear{0xfee0'0020});
    EXPECT_EQ(load.size, 4);
    const auto store =
        planned({0xc7, 0x80, 0xb0, 0, 0, 0, 0, 0, 0, 0}, Mode::bits64, registers, segments).value();
    EXPECT_TRUE(store.writes && !store.reads);
    EXPECT_EQ(store.write_address, GuestLinear{0xfee0'00b0});
    const auto update = planned({0xf0, 0x09, 0x08}, Mode::bits64, registers, segments).value();
    EXPECT_TRUE(update.writes && update.reads && update.locked);
    const auto test = planned({0x85, 0x08}, Mode::bits64, registers, segments).value();
    EXPECT_TRUE(test.reads && !test.writes);
}

TEST(Plan, GivesMovsTwoAddresses)
{
    const Segments segments{segments_with_bases(true)};
    Registers registers{};
    registers.general[rsi] = 0x123;
    registers.general[rdi] = 0x456;
    const auto move = planned({0x36, 0xa5}, Mode::bits32, registers, segments).value();
    EXPECT_EQ(move.read_address, GuestLinear{0x3000'0123});   // SS overrides DS
    EXPECT_EQ(move.write_address, GuestLinear{0x1000'0456});  // ES stays
}

TEST(Plan, AddressesWhatPopWritesByTheStackPointerAfterThePop)
{
    const Segments segments{segments_with_bases(false)};
    Registers registers{};
    registers.general[rsp] = 0x1000;
    const auto pop = planned({0x8f, 0x44, 0x24, 0x10}, Mode::bits64, registers, segments).value();
    EXPECT_EQ(pop.read_address, GuestLinear{0x1000});
    EXPECT_EQ(pop.write_address, GuestLinear{0x1018});
    const auto push = planned({0xff, 0x74, 0x24, 0x10}, Mode::bits64, registers, segments).value();
    EXPECT_EQ(push.read_address, GuestLinear{0x1010});  // before the push
    EXPECT_EQ(push.write_address, GuestLinear{0xff8});
}

TEST(Plan, DoesNothingWhenARepeatHasNoIterationsLeft)
{
    const Segments segments{segments_with_bases(false)};
    Registers registers{};
    registers.general[rcx] = 0x1'0000'0000;
    registers.rip = 0x1000;
    const auto nothing = planned({0x67, 0xf3, 0xab}, Mode::bits64, registers, segments).value();
    EXPECT_FALSE(nothing.reads || nothing.writes);
    const Effect effect{execute(nothing, registers, 0)};
    EXPECT_EQ(effect.rip, 0x1003u);
    EXPECT_EQ(effect.change_count, 0);
    EXPECT_TRUE(planned({0xf3, 0xab}, Mode::bits64, registers, segments).value().writes);
}

TEST(Plan, ChecksLimitsOutsideOf64BitMode)
{
    Segments segments{segments_with_bases(false)};
    Segment& data{segments.segments[static_cast<unsigned>(SegmentRegister::ds)]};
    Registers registers{};
    const auto at = [&](std::uint64_t offset, Mode mode = Mode::bits32) {
        registers.general[rax] = offset;
        return planned({0x8b, 0x00}, mode, registers, segments);
    };
    data.limit = 0xfff;
    EXPECT_TRUE(at(0xffc).has_value());
    EXPECT_EQ(at(0xffd).error(), Error::permission_denied);
    EXPECT_EQ(at(0xffff'ffff).error(), Error::permission_denied);
    EXPECT_TRUE(at(0xffff'ffff'ffff'0000, Mode::bits64).has_value());
    data.attributes = expand_down_segment;
    EXPECT_EQ(at(0xfff).error(), Error::permission_denied);
    EXPECT_TRUE(at(0x1000).has_value());
    EXPECT_EQ(at(0xffff'fffd).error(), Error::permission_denied);
    data.attributes = expand_down_segment & ~0x400;  // 16 bits: up to FFFF
    EXPECT_TRUE(at(0xfffc).has_value());
    EXPECT_EQ(at(0x1'0000).error(), Error::permission_denied);
    data.attributes = 0;  // not present
    EXPECT_EQ(at(0x1000).error(), Error::permission_denied);
}

TEST(Plan, ChecksWhatASegmentMayBeUsedFor)
{
    Segments segments{segments_with_bases(false)};
    Segment& data{segments.segments[static_cast<unsigned>(SegmentRegister::ds)]};
    const Registers registers{};
    const auto reads = [&] { return planned({0x8b, 0x00}, Mode::bits32, registers, segments).has_value(); };
    const auto writes = [&] { return planned({0x89, 0x00}, Mode::bits32, registers, segments).has_value(); };
    data.attributes = read_only_segment;
    EXPECT_TRUE(reads() && !writes());
    data.attributes = code_segment;
    EXPECT_TRUE(reads() && !writes());
    data.attributes = execute_only_segment;
    EXPECT_FALSE(reads() || writes());
}

TEST(Plan, WrapsAddressesAsTheModeSays)
{
    const Segments segments{segments_with_bases(true)};
    Registers registers{};
    registers.general[rbx] = 0xffff;
    registers.general[rsi] = 0x3;
    EXPECT_EQ(planned({0x8a, 0x00}, Mode::bits16, registers, segments).value().read_address,
              GuestLinear{0x4000'0002});
    registers.general[rax] = 0xd000'0000;
    EXPECT_EQ(planned({0x8a, 0x00}, Mode::bits32, registers, segments).value().read_address,
              GuestLinear{0x1000'0000});
    registers.general[rax] = ~0ull;
    EXPECT_EQ(planned({0x67, 0x8a, 0x40, 0x02}, Mode::bits64, registers, segments).value().read_address,
              GuestLinear{1});
}

TEST(Plan, RefusesWhatItCannotDo)
{
    const Segments segments{segments_with_bases(false)};
    const Registers registers{};
    const auto error = [&](std::initializer_list<unsigned> bytes) {
        return planned(bytes, Mode::bits64, registers, segments).error();
    };
    EXPECT_EQ(error({0x8b, 0xc0}), Error::conflict);                         // registers only
    EXPECT_EQ(error({0x90}), Error::conflict);                               // no operand at all
    EXPECT_EQ(error({0x0f, 0x10, 0x00}), Error::not_supported);              // MOVUPS
    EXPECT_EQ(error({0xd9, 0x00}), Error::not_supported);                    // FLD
    EXPECT_EQ(error({0xf7, 0x20}), Error::not_supported);                    // MUL
    EXPECT_EQ(error({0xff, 0x10}), Error::not_supported);                    // CALL
    EXPECT_EQ(error({0x48, 0x0f, 0xc7, 0x08}), Error::not_supported);        // CMPXCHG16B
    EXPECT_EQ(error({0xf2, 0x0f, 0x38, 0xf0, 0x00}), Error::not_supported);  // CRC32
}
