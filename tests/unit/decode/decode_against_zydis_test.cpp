// SPDX-License-Identifier: MIT
//
// The decoder against Zydis: every opcode of every map with every ModRM and SIB byte under the prefixes that
// matter, and random bytes, in all three modes.  HV_DECODE_CASES is the number of random encodings per mode;
// the sanitized build of this test runs fewer, and does not try all SIB bytes.
#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <initializer_list>
#include <random>
#include <vector>

#include "zydis_oracle.hpp"

using namespace hv;
using namespace hv::core::emulate;

namespace {

constexpr bool tries_everything{HV_DECODE_CASES >= 10'000'000};

constexpr std::array modes{Mode::bits16, Mode::bits32, Mode::bits64};
using Prefixes = std::vector<std::uint8_t>;

/// Sixteen bytes that start with what was put there.
class Encoding {
public:
    Encoding() { bytes_.fill(std::byte{0x5a}); }
    Encoding& put(std::initializer_list<unsigned> values)
    {
        for (const unsigned value : values)
            bytes_[size_++] = static_cast<std::byte>(value);
        return *this;
    }
    Encoding& put(const Prefixes& values)
    {
        for (const std::uint8_t value : values)
            bytes_[size_++] = static_cast<std::byte>(value);
        return *this;
    }
    [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

private:
    std::array<std::byte, 16> bytes_{};
    std::size_t size_{};
};

/// Compares one encoding; false after a failure, so that a broken decoder does not fill the screen.
[[nodiscard]] bool agree(const Encoding& encoding, Mode mode)
{
    const std::string problem{test::disagreement(encoding.bytes(), mode)};
    EXPECT_EQ(problem, "");
    return problem.empty();
}

/// All ModRM bytes, and behind those that have one, the SIB bytes `sibs`.
[[nodiscard]] bool agree_on_operands(const Encoding& start, Mode mode, std::span<const std::uint8_t> sibs)
{
    for (unsigned modrm = 0; modrm < 256; ++modrm) {
        const bool may_have_sib{(modrm & 7) == 4 && modrm < 0xc0};
        for (const std::uint8_t sib : may_have_sib ? sibs : sibs.first(1))
            if (!agree(Encoding{start}.put({modrm, sib}), mode))
                return false;
    }
    return true;
}

const std::vector<std::uint8_t>& all_sibs()
{
    static const std::vector<std::uint8_t> sibs{[] {
        std::vector<std::uint8_t> all;
        for (unsigned sib = 0; sib < 256; ++sib)
            all.push_back(static_cast<std::uint8_t>(sib));
        return all;
    }()};
    return sibs;
}
constexpr std::array<std::uint8_t, 3> few_sibs{0x11, 0x25, 0x65};

const Prefixes escapes[]{{}, {0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}};

[[nodiscard]] bool agree_on_legacy_maps(const Prefixes& prefixes, Mode mode,
                                        std::span<const std::uint8_t> sibs)
{
    for (const Prefixes& escape : escapes)
        for (unsigned opcode = 0; opcode < 256; ++opcode)
            if (!agree_on_operands(Encoding{}.put(prefixes).put(escape).put({opcode}), mode, sibs))
                return false;
    return true;
}

std::string name_of(const testing::TestParamInfo<Mode>& test)
{
    return test.param == Mode::bits16 ? "In16Bits" : test.param == Mode::bits32 ? "In32Bits" : "In64Bits";
}

class DecodeAgainstZydis : public testing::TestWithParam<Mode> {
protected:
    void SetUp() override { test::oracle_counts = {}; }
};

}  // namespace

TEST_P(DecodeAgainstZydis, AgreesOnEveryOpcodeWithEveryOperandByte)
{
    const std::span<const std::uint8_t> sibs{tries_everything ? std::span{all_sibs()} : std::span{few_sibs}};
    EXPECT_TRUE(agree_on_legacy_maps({}, GetParam(), sibs));
    EXPECT_TRUE(agree_on_legacy_maps({0x67}, GetParam(), sibs));
    if (GetParam() == Mode::bits64) {
        EXPECT_TRUE(agree_on_legacy_maps({0x4f}, GetParam(), sibs));
    }
    EXPECT_GT(test::oracle_counts.both_legal, tries_everything ? 1'000'000u : 100'000u);
    EXPECT_GT(test::oracle_counts.both_undefined, 10'000u);
}

TEST_P(DecodeAgainstZydis, AgreesUnderEveryPrefixThatMatters)
{
    const Prefixes legacy[]{
        {0x66},       {0xf2},       {0xf3},       {0x66, 0xf2}, {0xf3, 0x66},       {0xf0},
        {0xf2, 0xf3}, {0xf3, 0xf2}, {0xf0, 0xf3}, {0x66, 0x67}, {0x2e, 0x65, 0x3e}, {0xf0, 0x66}};
    for (const Prefixes& prefixes : legacy)
        EXPECT_TRUE(agree_on_legacy_maps(prefixes, GetParam(), few_sibs));
    if (GetParam() != Mode::bits64)
        return;
    const Prefixes with_rex[]{{0x40},       {0x41},       {0x42},       {0x44},
                              {0x48},       {0x66, 0x48}, {0x66, 0x4f}, {0xf3, 0x4d},
                              {0xf2, 0x48}, {0x48, 0x66}, {0x4c, 0xf3}, {0xf0, 0x4c}};
    for (const Prefixes& prefixes : with_rex)
        EXPECT_TRUE(agree_on_legacy_maps(prefixes, GetParam(), few_sibs));
}

TEST_P(DecodeAgainstZydis, AgreesOnEveryVectorOpcode)
{
    // first bytes, the byte whose low two bits are the mandatory prefix, and up to the opcode
    const unsigned inverted{GetParam() == Mode::bits64 ? 0x60u : 0xe0u};
    for (unsigned opcode = 0; opcode < 256; ++opcode)
        for (const unsigned last : {0x78u, 0x79u, 0x7au, 0x7bu, 0x7cu, 0x7du, 0xfcu, 0xf9u}) {
            if (!tries_everything && last > 0x7b)
                break;
            ASSERT_TRUE(agree_on_operands(Encoding{}.put({0xc5, last | 0xc0, opcode}), GetParam(), few_sibs));
            for (const unsigned map : {1u, 2u, 3u, 5u, 8u, 9u, 10u, 11u})
                for (const unsigned lead : {0xc4u, 0x8fu})
                    ASSERT_TRUE(agree_on_operands(Encoding{}.put({lead, inverted | map, last, opcode}),
                                                  GetParam(), few_sibs));
            for (unsigned map = 0; map < 8; ++map)
                for (const unsigned third : {0x08u, 0x48u})  // 128 and 512 bits
                    ASSERT_TRUE(agree_on_operands(Encoding{}.put({0x62, 0xf0 | map, last | 4, third, opcode}),
                                                  GetParam(), few_sibs));
        }
    EXPECT_GT(test::oracle_counts.both_legal, 200'000u);
}

TEST_P(DecodeAgainstZydis, AgreesOnRandomBytes)
{
    std::mt19937_64 generator{20'000 + static_cast<unsigned>(GetParam())};
    for (std::uint64_t i = 0; i < HV_DECODE_CASES; ++i) {
        const std::array<std::uint64_t, 2> words{generator(), generator()};
        const std::span<const std::byte> bytes{std::as_bytes(std::span{words})};
        const std::string problem{test::disagreement(bytes, GetParam())};
        ASSERT_EQ(problem, "") << "case " << i;
    }
    EXPECT_GT(test::oracle_counts.both_legal, HV_DECODE_CASES / 2);
    EXPECT_LT(test::oracle_counts.excused, HV_DECODE_CASES / 100);
}

TEST_P(DecodeAgainstZydis, AgreesOnRandomBytesBehindPrefixes)
{
    constexpr std::array<std::uint8_t, 14> choices{0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e,
                                                   0x36, 0x3e, 0x64, 0x65, 0x48, 0x44, 0x0f};
    std::mt19937_64 generator{30'000 + static_cast<unsigned>(GetParam())};
    for (std::uint64_t i = 0; i < HV_DECODE_CASES / 4; ++i) {
        std::array<std::uint64_t, 2> words{generator(), generator()};
        std::array<std::byte, 16> bytes;
        std::memcpy(bytes.data(), words.data(), bytes.size());
        std::uint64_t choice{generator()};
        const std::size_t prefixes{generator() % (i % 8 == 0 ? 16 : 5)};
        for (std::size_t at = 0; at < prefixes; ++at, choice /= choices.size())
            bytes[at] = static_cast<std::byte>(choices[choice % choices.size()]);
        const std::string problem{test::disagreement(bytes, GetParam())};
        ASSERT_EQ(problem, "") << "case " << i;
    }
    EXPECT_GT(test::oracle_counts.both_too_long, 100u);
}

INSTANTIATE_TEST_SUITE_P(Modes, DecodeAgainstZydis, testing::ValuesIn(modes), name_of);

/// The vector maps may not name an opcode that has no instruction at all.
TEST(DecodeVectorMaps, NameNoOpcodeThatZydisNeverKnows)
{
    std::mt19937_64 generator{7};
    const auto some_form_is_known = [&generator](std::initializer_list<unsigned> lead, unsigned opcode) {
        for (unsigned attempt = 0; attempt < 20'000; ++attempt) {
            const std::uint64_t noise{generator()};
            Encoding encoding{};
            std::vector<std::uint8_t> bytes;
            for (const unsigned byte : lead)
                bytes.push_back(static_cast<std::uint8_t>(byte));
            bytes[1] = static_cast<std::uint8_t>(bytes[1] | (noise & 0xe0));
            const std::uint64_t vvvv{(noise & 0x100) != 0 ? 0x78u : noise >> 9 & 0x78};
            bytes[2] = static_cast<std::uint8_t>(bytes[2] | vvvv | (noise >> 16 & 0x80) |
                                                 (lead.size() == 3 ? noise >> 24 & 4 : 4));
            if (lead.size() == 4) {
                bytes[1] |= 0x10;
                bytes[3] = static_cast<std::uint8_t>((noise >> 32 & 0x77) | 8);
            }
            encoding.put(bytes).put({opcode, static_cast<unsigned>(noise >> 40 & 0xff), 0x21});
            if (test::zydis_knows(encoding.bytes(), Mode::bits64))
                return true;
        }
        return false;
    };
    std::vector<std::string> unknown;
    unsigned named{};
    const auto check = [&](std::initializer_list<unsigned> lead, unsigned opcode) {
        Encoding encoding{};
        std::vector<std::uint8_t> bytes(lead.begin(), lead.end());
        const bool is_evex{lead.size() == 4};
        bytes[1] = static_cast<std::uint8_t>(bytes[1] | (is_evex ? 0xf0 : 0xe0));
        bytes[2] = static_cast<std::uint8_t>(bytes[2] | (is_evex ? 0x7c : 0x78));
        bool ours{};
        for (const unsigned modrm : {0x08u, 0x10u, 0x30u, 0xc8u, 0xd0u, 0xf0u})
            ours = ours || decode(Encoding{}.put(bytes).put({opcode, modrm}).bytes().first(15), Mode::bits64);
        named += ours ? 1 : 0;
        if (ours && !some_form_is_known(lead, opcode)) {
            char name[40];
            std::snprintf(name, sizeof name, "%02x map %u prefix %u opcode %02x", bytes[0],
                          *(lead.begin() + 1), *(lead.begin() + 2), opcode);
            unknown.emplace_back(name);
        }
    };
    for (unsigned opcode = 0; opcode < 256; ++opcode)
        for (unsigned prefix = 0; prefix < 4; ++prefix)
            for (unsigned map = 1; map < 11; ++map) {
                if (map <= 3)
                    check({0xc4, map, prefix}, opcode);
                if (map <= 6)
                    check({0x62, map, prefix, 0}, opcode);
                if (map >= 8)
                    check({0x8f, map, prefix}, opcode);
            }
    EXPECT_EQ(unknown, std::vector<std::string>{});
    EXPECT_GT(named, 900u);
}
