// SPDX-License-Identifier: MIT
//
// The control protocol's codec: what one end builds the other reads, what has grown is read by those who have
// not, and lengths that do not fit are refused.
#include "hv/protocol/codec.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace {

using namespace hv::protocol;
using hv::Error;

std::vector<std::byte> create_frame()
{
    std::vector<std::byte> buffer(1024);
    FrameBuilder builder{buffer};
    builder.request(Command::domain_create, 7);
    DomainCreateRequest request{};
    EXPECT_TRUE(set_text(request.name, "web1"));
    request.memory = 4096;
    request.cpuid_count = 2;
    request.cpuid_entry_size = sizeof(CpuidMask);
    EXPECT_TRUE(builder.fixed(request));
    for (std::uint32_t leaf : {1u, 7u})
        EXPECT_TRUE(builder.tail(CpuidMask{leaf, 0, {leaf, 0, 0, 0}, {}}));
    const auto frame = builder.finish();
    EXPECT_TRUE(frame.has_value());
    return {frame.value().begin(), frame.value().end()};
}

FrameView view_of(const std::vector<std::byte>& frame)
{
    const auto header = decode_header(frame);
    EXPECT_TRUE(header.has_value());
    return {header.value(), std::span{frame}.subspan(sizeof(FrameHeader))};
}

TEST(Codec, FrameIsReadAsItWasBuilt)
{
    const auto bytes = create_frame();
    const FrameView frame{view_of(bytes)};
    EXPECT_EQ(frame.header.command, static_cast<std::uint16_t>(Command::domain_create));
    EXPECT_EQ(frame.header.request_id, 7u);
    EXPECT_EQ(frame.header.body_length, bytes.size() - sizeof(FrameHeader));
    const auto request = frame.fixed<DomainCreateRequest>();
    ASSERT_TRUE(request.has_value());
    EXPECT_EQ(text_of(request.value().name), "web1");
    const auto masks = EntryView<CpuidMask>::over(frame.tail(), 2, sizeof(CpuidMask));
    ASSERT_TRUE(masks.has_value());
    EXPECT_EQ(masks.value().at(1).leaf, 7u);
    EXPECT_EQ(masks.value().at(1).and_mask[0], 7u);
}

TEST(Codec, HeaderOnTheWireIsTheDocumentedBytes)
{
    std::array<std::byte, 64> buffer{};
    FrameBuilder builder{buffer};
    builder.begin(FrameKind::reply, 0x1234, 0x1122334455667788, 1, 9);
    ASSERT_TRUE(builder.fixed(DomainCreateReply{5, 3}));
    const auto frame = builder.finish(0x10);
    ASSERT_TRUE(frame.has_value());
    const std::array<unsigned, 40> expected{
        'G', 'R', 'F', 'T', 1, 0, 2, 0, 0x34, 0x12, 9, 0, 8, 0, 0, 0,
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 8, 0, 0, 0, 0x10, 0, 0, 0,
        5, 0, 0, 0, 3, 0, 0, 0};
    ASSERT_EQ(frame.value().size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
        EXPECT_EQ(std::to_integer<unsigned>(frame.value()[i]), expected[i]) << i;
}

TEST(Codec, HeaderWithWrongMagicKindOrFixedLengthIsRefused)
{
    const auto good = create_frame();
    for (const std::size_t offset :
         {std::size_t{0}, offsetof(FrameHeader, kind), offsetof(FrameHeader, fixed_length) + 1}) {
        auto bad = good;
        bad[offset] = std::byte{0x7f};
        EXPECT_FALSE(decode_header(bad).has_value()) << offset;
    }
    EXPECT_FALSE(decode_header(std::span{good}.first(sizeof(FrameHeader) - 1)).has_value());
}

TEST(Codec, LongerStructureIsCutAndShorterIsRefused)
{
    std::array<std::byte, sizeof(DomainCreateReply) + 4> bytes{};
    bytes[0] = std::byte{9};
    bytes.back() = std::byte{0xff};
    const auto longer = decode_structure<DomainCreateReply>(bytes);
    ASSERT_TRUE(longer.has_value());
    EXPECT_EQ(longer.value().domain, 9u);
    EXPECT_EQ(decode_structure<DomainCreateReply>(std::span{bytes}.first(7)).error(), Error::malformed);
    EXPECT_TRUE(decode_structure<Empty>({}).has_value());
}

TEST(Codec, EntriesThatDoNotFitAreRefusedAlsoWhereTheProductWraps)
{
    std::array<std::byte, 96> tail{};
    EXPECT_TRUE(EntryView<ExitCount>::over(tail, 2, 48).has_value());
    EXPECT_TRUE(EntryView<ExitCount>::over({}, 0, 0).has_value());
    EXPECT_TRUE(EntryView<ExitCount>::over(tail, 1, 96).has_value()) << "an entry that grew";
    EXPECT_FALSE(EntryView<ExitCount>::over(tail, 3, 48).has_value());
    EXPECT_FALSE(EntryView<ExitCount>::over(tail, 1, 47).has_value());
    EXPECT_FALSE(EntryView<ExitCount>::over(tail, 1, 0).has_value());
    EXPECT_FALSE(EntryView<ExitCount>::over(tail, 1, 97).has_value());
    EXPECT_FALSE(EntryView<ExitCount>::over(tail, 0x8000'0000'0000'0000, 0x40).has_value());
}

TEST(Codec, TextFieldsHoldTheirTextAndItsEnd)
{
    char field[4]{};
    EXPECT_TRUE(set_text(field, "abc"));
    EXPECT_EQ(set_text(field, "abcd").error(), Error::out_of_range);
    EXPECT_EQ(set_text(field, std::string_view{"a\0b", 3}).error(), Error::invalid_argument);
    EXPECT_EQ(text_of(field), "abc");
    EXPECT_TRUE(is_padded_text(field));
    set_text_truncated(field, "wxyz");
    EXPECT_EQ(text_of(field), "wxy");
    field[3] = 'z';
    EXPECT_FALSE(is_padded_text(field));
    EXPECT_TRUE(set_text(field, "a"));
    field[3] = 'q';
    EXPECT_FALSE(is_padded_text(field));
}

TEST(Codec, FrameThatDoesNotFitItsBufferIsRefused)
{
    std::array<std::byte, sizeof(FrameHeader) + 8> buffer{};
    FrameBuilder builder{buffer};
    builder.request(Command::ext_bind, 1);
    EXPECT_EQ(builder.fixed(ExtBindRequest{}).error(), Error::out_of_range);
    EXPECT_TRUE(builder.fixed(DomainRequest{}).has_value());
    EXPECT_EQ(builder.tail_bytes(as_bytes("x")).error(), Error::out_of_range);
    std::array<std::byte, 3> tiny{};
    FrameBuilder none{tiny};
    none.request(Command::info, 1);
    EXPECT_FALSE(none.finish().has_value());
}

TEST(Codec, BodyNeverGrowsBeyondTheLimit)
{
    std::vector<std::byte> buffer(sizeof(FrameHeader) + maximum_body + 100);
    FrameBuilder builder{buffer};
    builder.request(Command::ext_bind, 1);
    EXPECT_TRUE(builder.tail_bytes(std::vector<std::byte>(maximum_body)));
    EXPECT_FALSE(builder.tail_bytes(as_bytes("x")));
}

TEST(Codec, RefusalCarriesSentenceAndField)
{
    std::array<std::byte, 128> buffer{};
    FrameBuilder builder{buffer};
    builder.begin(FrameKind::reply, 16, 4, 1, static_cast<std::uint16_t>(Error::conflict));
    ASSERT_TRUE(builder.fixed(Refusal{5, 4}));
    ASSERT_TRUE(builder.tail_bytes(as_bytes("no: 7/name")));
    const auto bytes = builder.finish();
    ASSERT_TRUE(bytes.has_value());
    FrameView frame{decode_header(bytes.value()).value(), bytes.value().subspan(sizeof(FrameHeader))};
    const auto refusal = decode_refusal(frame);
    ASSERT_TRUE(refusal.has_value());
    EXPECT_EQ(refusal.value().text, "no: 7");
    EXPECT_EQ(refusal.value().field, "/nam");
    frame.body = frame.body.first(12);
    EXPECT_FALSE(decode_refusal(frame).has_value());
}

std::vector<std::byte> parameter_tail()
{
    std::vector<std::byte> buffer(4096);
    FrameBuilder builder{buffer};
    builder.request(Command::ext_bind, 1);
    EXPECT_TRUE(encode_parameter(builder, {"on", ParameterType::boolean, 1, {}}));
    EXPECT_TRUE(encode_parameter(builder, {"limit", ParameterType::integer, -2, {}}));
    EXPECT_TRUE(encode_parameter(builder, {"mode", ParameterType::text, 0, "fast"}));
    EXPECT_TRUE(encode_parameter(builder, {"words", ParameterType::empty_list, 0, {}}));
    const auto frame = builder.finish();
    return {frame.value().begin() + sizeof(FrameHeader), frame.value().end()};
}

TEST(Parameters, AreReadAsTheyWereWritten)
{
    const auto tail = parameter_tail();
    ParameterReader reader{tail};
    const auto on = reader.next();
    const auto limit = reader.next();
    const auto mode = reader.next();
    const auto words = reader.next();
    ASSERT_TRUE(on.has_value() && limit.has_value() && mode.has_value() && words.has_value());
    EXPECT_EQ(words.value().key, "words");
    EXPECT_EQ(words.value().type, ParameterType::empty_list);
    EXPECT_EQ(on.value().key, "on");
    EXPECT_EQ(on.value().integer, 1);
    EXPECT_EQ(limit.value().integer, -2);
    EXPECT_EQ(mode.value().text, "fast");
    EXPECT_TRUE(reader.at_end());
    EXPECT_FALSE(reader.next().has_value());
}

TEST(Parameters, TruncatedAnywhereAreRefused)
{
    const auto tail = parameter_tail();
    for (std::size_t length = 0; length < tail.size(); ++length) {
        ParameterReader reader{std::span{tail}.first(length)};
        unsigned read{0};
        while (reader.next().has_value())
            ++read;
        EXPECT_LT(read, 4u) << length;
    }
}

TEST(Parameters, WrongTypesAndValuesAreRefused)
{
    const auto good = parameter_tail();
    const auto refused = [&](std::size_t offset, unsigned value) {
        auto bad = good;
        bad[offset] = std::byte{static_cast<unsigned char>(value)};
        ParameterReader reader{bad};
        return !reader.next().has_value();
    };
    EXPECT_TRUE(refused(0, 0)) << "type";
    EXPECT_TRUE(refused(0, 5)) << "type";
    EXPECT_TRUE(refused(0, 4)) << "an empty list with a value";
    EXPECT_TRUE(refused(0, 2)) << "an integer of one byte";
    EXPECT_TRUE(refused(2, 0)) << "no key";
    EXPECT_TRUE(refused(2, 64)) << "a long key";
    EXPECT_TRUE(refused(7, 0x80)) << "a value beyond the end";
    EXPECT_TRUE(refused(8, 0)) << "a zero byte in the key";
    EXPECT_TRUE(refused(10, 2)) << "a boolean that is neither";
    EXPECT_FALSE(refused(10, 0));
}

}  // namespace
