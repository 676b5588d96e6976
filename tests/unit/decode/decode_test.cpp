// SPDX-License-Identifier: MIT
//
// What the decoder says beyond lengths: pieces of well-known encodings, and the three ways in which it
// refuses.
#include <array>
#include <gtest/gtest.h>
#include <initializer_list>
#include <random>
#include <vector>

#include "hv/core/emulate/decode.hpp"

using namespace hv;
using namespace hv::core::emulate;

namespace {

Expected<Instruction> decoded(std::initializer_list<unsigned> bytes, Mode mode)
{
    std::vector<std::byte> buffer;
    for (const unsigned byte : bytes)
        buffer.push_back(static_cast<std::byte>(byte));
    return decode(buffer, mode);
}

}  // namespace

TEST(Decode, TakesAnInstructionApart)
{
    // lock add qword ptr fs:[rax + r9*4 - 8], 0x12345678
    const auto result =
        decoded({0x64, 0xf0, 0x4a, 0x81, 0x44, 0x88, 0xf8, 0x78, 0x56, 0x34, 0x12}, Mode::bits64);
    ASSERT_TRUE(result.has_value());
    const Instruction& instruction{result.value()};
    EXPECT_EQ(instruction.length, 11);
    EXPECT_EQ(instruction.opcode, 0x81);
    EXPECT_EQ(instruction.map, OpcodeMap::primary);
    EXPECT_EQ(instruction.segment, SegmentRegister::fs);
    EXPECT_EQ(instruction.prefixes, prefix::lock);
    EXPECT_EQ(instruction.rex, rex::present | rex::w | rex::x);
    EXPECT_EQ(instruction.operand_size, 8);
    EXPECT_EQ(instruction.address_size, 8);
    EXPECT_TRUE(instruction.has_sib);
    EXPECT_EQ(instruction.displacement, ~7ull);
    EXPECT_EQ(instruction.immediate, 0x12345678u);
}

TEST(Decode, KnowsTheSizesOfEachMode)
{
    EXPECT_EQ(decoded({0xb8, 1, 2}, Mode::bits16).value().length, 3);
    EXPECT_EQ(decoded({0x66, 0xb8, 1, 2, 3, 4}, Mode::bits16).value().length, 6);
    EXPECT_EQ(decoded({0xb8, 1, 2, 3, 4}, Mode::bits32).value().length, 5);
    EXPECT_EQ(decoded({0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}, Mode::bits64).value().length, 10);
    EXPECT_EQ(decoded({0xa1, 1, 2}, Mode::bits16).value().displacement, 0x0201u);
    EXPECT_EQ(decoded({0xa1, 0, 0, 0, 0xfe}, Mode::bits32).value().displacement, 0xfe00'0000u);
    EXPECT_EQ(decoded({0xa1, 0, 0, 0, 0, 0, 0, 0, 0xfe}, Mode::bits64).value().displacement, 0xfeull << 56);
}

TEST(Decode, ReadsControlRegisterMovesAsRegisterFormsWhateverModSays)
{
    for (const unsigned mod : {0x00u, 0x40u, 0x80u, 0xc0u})
        EXPECT_EQ(
            decoded({0x0f, 0x20, mod | 0x04, 0x90, 0x90, 0x90, 0x90, 0x90}, Mode::bits64).value().length, 3);
    EXPECT_EQ(decoded({0x0f, 0x20, 0xc8}, Mode::bits64).error(), undefined_opcode);      // CR1
    EXPECT_EQ(decoded({0x44, 0x0f, 0x20, 0xc0}, Mode::bits64).value().reg_index(), 8u);  // CR8
}

TEST(Decode, IgnoresARexPrefixThatIsNotLast)
{
    EXPECT_EQ(decoded({0x48, 0x66, 0xb8, 1, 2}, Mode::bits64).value().length, 5);
    EXPECT_EQ(decoded({0x48, 0x66, 0xb8, 1, 2}, Mode::bits64).value().rex, 0);
}

TEST(Decode, KeepsFsAndGsWhenAFlatSegmentFollows)
{
    EXPECT_EQ(decoded({0x65, 0x2e, 0x8b, 0x00}, Mode::bits64).value().segment, SegmentRegister::gs);
    EXPECT_EQ(decoded({0x65, 0x2e, 0x8b, 0x00}, Mode::bits32).value().segment, SegmentRegister::cs);
    EXPECT_EQ(decoded({0x3e, 0x8b, 0x00}, Mode::bits64).value().segment, SegmentRegister::none);
}

TEST(Decode, RefusesWhatIsNoInstruction)
{
    EXPECT_EQ(decoded({0x06}, Mode::bits64).error(), undefined_opcode);
    EXPECT_TRUE(decoded({0x06}, Mode::bits32).has_value());
    EXPECT_EQ(decoded({0x0f, 0x04}, Mode::bits64).error(), undefined_opcode);
    EXPECT_EQ(decoded({0xf0, 0x8b, 0x00}, Mode::bits64).error(), undefined_opcode);  // LOCK MOV
    EXPECT_EQ(decoded({0xf0, 0x01, 0xc0}, Mode::bits64).error(),
              undefined_opcode);  // LOCK ADD without memory
    EXPECT_EQ(decoded({0x66, 0xc5, 0xf8, 0x77}, Mode::bits64).error(), undefined_opcode);
}

TEST(Decode, CallsEverythingShorterThanAnInstructionTruncated)
{
    std::mt19937_64 generator{3};
    for (const Mode mode : {Mode::bits16, Mode::bits32, Mode::bits64})
        for (unsigned i = 0; i < 100'000; ++i) {
            const std::array<std::uint64_t, 2> words{generator(), generator()};
            const std::span<const std::byte> bytes{std::as_bytes(std::span{words})};
            const auto whole = decode(bytes, mode);
            if (!whole)
                continue;
            for (std::size_t length = 0; length < whole.value().length; ++length)
                ASSERT_EQ(decode(bytes.first(length), mode).error(), truncated);
            ASSERT_EQ(decode(bytes.first(whole.value().length), mode).value().length, whole.value().length);
        }
}

TEST(Decode, RefusesMoreThanFifteenBytes)
{
    std::array<std::byte, 16> bytes;
    bytes.fill(std::byte{0x66});
    EXPECT_EQ(decode(bytes, Mode::bits64).error(), instruction_too_long);
    EXPECT_EQ(decode(std::span{bytes}.first(14), Mode::bits64).error(), truncated);
    bytes[14] = std::byte{0x90};
    EXPECT_EQ(decode(bytes, Mode::bits64).value().length, 15);
    bytes[14] = std::byte{0x04};  // ADD AL, imm8: the sixteenth byte
    EXPECT_EQ(decode(bytes, Mode::bits64).error(), instruction_too_long);
}
