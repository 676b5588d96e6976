// SPDX-License-Identifier: MIT
//
// Ed25519 and SHA-512 against the documents' own examples, and at the edges where implementations differ: keys that are
// no point, have a second encoding or a small or mixed order, and signatures with a second encoding.
#include "hv/loader/ed25519.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "ed25519/point.hpp"
#include "ed25519/scalar.hpp"
#include "hv/loader/sha512.hpp"
#include "rfc8032_vectors.hpp"

namespace hv::test {
namespace {

using namespace loader;
using namespace loader::ed25519;
using Bytes = std::vector<std::byte>;

std::string hash_of(const std::string& text)
{
    std::string digits;
    for (const std::uint8_t byte : Sha512{}.add(std::as_bytes(std::span{text})).finish())
        for (const unsigned nibble : {byte / 16u, byte % 16u})
            digits += "0123456789abcdef"[nibble];
    return digits;
}

// The two examples of NIST's SHA512.pdf, and the empty message of SHA512ShortMsg.rsp.
TEST(Sha512, AgreesWithTheExamplesOfTheStandard)
{
    EXPECT_EQ(hash_of("abc"), "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                              "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
    EXPECT_EQ(hash_of("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrs"
                      "mnopqrstnopqrstu"),
              "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
              "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909");
    EXPECT_EQ(hash_of(""), "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
                           "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e");
}

class Example : public testing::TestWithParam<Ed25519Example> {};

TEST_P(Example, IsAcceptedAndNothingNearItIs)
{
    const auto key = Ed25519Key::from(from_hex(GetParam().key));
    ASSERT_TRUE(key.has_value());
    const Bytes message{from_hex(GetParam().message)};
    const Bytes signature{from_hex(GetParam().signature)};
    ASSERT_TRUE(key.value().signed_by(message, signature));
    const std::size_t step{message.size() == 1 ? 1u : 29u};
    for (std::size_t bit = 0; bit < signature.size() * 8; bit += step) {
        Bytes other{signature};
        other[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
        ASSERT_FALSE(key.value().signed_by(message, other)) << "bit " << bit << " of the signature";
    }
    for (std::size_t byte = 0; byte < message.size(); byte += 1 + message.size() / 32) {
        Bytes other{message};
        other[byte] ^= std::byte{0x10};
        ASSERT_FALSE(key.value().signed_by(other, signature)) << "byte " << byte << " of the message";
    }
    Bytes longer{message};
    longer.push_back(std::byte{});
    EXPECT_FALSE(key.value().signed_by(longer, signature));
    for (const std::size_t size : {0u, 32u, 63u})
        EXPECT_FALSE(key.value().signed_by(message, std::span{signature}.first(size)));
}
constexpr auto name_of = [](const auto& info) { return std::string{info.param.name}; };
INSTANTIATE_TEST_SUITE_P(Rfc8032, Example, testing::ValuesIn(rfc8032_examples), name_of);

// S + L stands for the same scalar; whoever takes it lets anybody make a second signature of a first.
TEST(Ed25519, TakesNoScalarThatIsNotBelowTheOrder)
{
    const Ed25519Example& example = rfc8032_examples[2];
    const auto key = Ed25519Key::from(from_hex(example.key));
    Bytes signature{from_hex(example.signature)};
    std::array<std::uint8_t, 32> scalar{};
    std::memcpy(scalar.data(), signature.data() + 32, 32);
    Words words{words_of(scalar)};
    ASSERT_TRUE(less(words, group_order));
    ASSERT_EQ(add_in_place(words, group_order), 0u);
    scalar = bytes_of(words);
    std::memcpy(signature.data() + 32, scalar.data(), 32);
    EXPECT_FALSE(key.value().signed_by(from_hex(example.message), signature));
}

// With R = O, S = 0 and a message that hashes to 0 everything would be signed; no such message is known, and R is refused.
TEST(Ed25519, TakesNoNeutralCommitment)
{
    const Point nothing{combination(Words{}, base_point, Words{}, base_point)};
    EXPECT_TRUE(is_neutral(nothing));
    Bytes signature(64);
    signature[0] = std::byte{1};
    for (const Ed25519Example& example : rfc8032_examples)
        EXPECT_FALSE(Ed25519Key::from(from_hex(example.key)).value().signed_by({}, signature));
}

struct BadKey {
    const char* digits;
    Error error;
};

constexpr BadKey bad_keys[]{
    // The eight points of order 1, 2, 4 and 8.
    {"0100000000000000000000000000000000000000000000000000000000000000", Error::invalid_argument},
    {"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", Error::invalid_argument},
    {"0000000000000000000000000000000000000000000000000000000000000000", Error::invalid_argument},
    {"0000000000000000000000000000000000000000000000000000000000000080", Error::invalid_argument},
    {"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", Error::invalid_argument},
    {"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", Error::invalid_argument},
    {"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", Error::invalid_argument},
    {"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85", Error::invalid_argument},
    // x = 0 with a sign.
    {"0100000000000000000000000000000000000000000000000000000000000080", Error::malformed},
    {"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", Error::malformed},
    // y = p and more: second encodings of y = 0, 1, …, 18.
    {"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", Error::malformed},
    {"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", Error::malformed},
    {"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", Error::malformed},
    {"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", Error::malformed},
    {"f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", Error::malformed},
    {"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", Error::malformed},
    {"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", Error::malformed},
    // No x to this y: (y^2 - 1) / (d y^2 + 1) is no square.
    {"0200000000000000000000000000000000000000000000000000000000000000", Error::malformed},
    // Too short, too long.
    {"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f70751", Error::malformed},
    {"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a00", Error::malformed},
    {"", Error::malformed},
};

TEST(Ed25519, TakesNoKeyThatIsNotTheOneEncodingOfAPointOfTheGroup)
{
    for (const BadKey& bad : bad_keys) {
        const auto key = Ed25519Key::from(from_hex(bad.digits));
        ASSERT_FALSE(key.has_value()) << bad.digits;
        EXPECT_EQ(key.error(), bad.error) << bad.digits;
    }
}

std::optional<Point> point_of(const char* digits)
{
    std::array<std::uint8_t, 32> bytes{};
    std::ranges::transform(from_hex(digits), bytes.begin(), [](std::byte b) { return static_cast<std::uint8_t>(b); });
    return decoded(bytes);
}

// A good key plus a point of order 8: a signature may then hold with the cofactor and not without it.
TEST(Ed25519, TakesNoKeyOfMixedOrder)
{
    for (const Ed25519Example& example : rfc8032_examples) {
        for (std::size_t small = 1; small < 8; ++small) {
            const auto mixed = encoded(*point_of(example.key) + *point_of(bad_keys[small].digits));
            const auto key = Ed25519Key::from(std::as_bytes(std::span{mixed}));
            ASSERT_FALSE(key.has_value());
            EXPECT_EQ(key.error(), Error::invalid_argument);
        }
    }
}

TEST(Ed25519, HasTheOrderOfTheBasePoint)
{
    EXPECT_FALSE(is_neutral(base_point));
    EXPECT_TRUE(is_neutral(combination(group_order, base_point, Words{}, base_point)));
    EXPECT_EQ(encoded(base_point)[0], 0x58);  // 4/5 is 0x6666…6658
    EXPECT_EQ(encoded(base_point)[31], 0x66);
}

/// Numbers at which a carry, a fold or a last subtraction happens, or does not.
std::vector<Field> edge_numbers()
{
    std::vector<Field> numbers;
    for (const Words& base : {Words{}, field_prime, Words{~0ull, ~0ull, ~0ull, ~0ull}, Words{0, 0, 0, 1ull << 63},
                              Words{~0ull}, Words{0, ~0ull, ~0ull, 0}})
        for (const std::uint64_t off : {0ull, 1ull, 18ull, 19ull, 20ull, 37ull, 38ull, 39ull}) {
            Words above{base}, below{base};
            add_in_place(above, Words{off});
            subtract_in_place(below, Words{off});
            numbers.emplace_back(above);
            numbers.emplace_back(below);
        }
    return numbers;
}

TEST(Ed25519Field, KeepsTheLawsOfAFieldAtEveryEdge)
{
    const auto numbers = edge_numbers();
    for (const Field& a : numbers) {
        EXPECT_TRUE(less(a.canonical(), field_prime));
        EXPECT_EQ(a - a, Field{});
        EXPECT_EQ(a + -a, Field{});
        EXPECT_EQ(a * inverse(a), a == Field{} ? Field{} : Field{1});
        for (const Field& b : numbers) {
            EXPECT_EQ(a + b, b + a);
            EXPECT_EQ((a - b) + b, a);
            EXPECT_EQ(a * b, Field{a.canonical()} * Field{b.canonical()});
            EXPECT_EQ(square(a + b), square(a) + square(b) + a * b + b * a);
        }
    }
}

}  // namespace
}  // namespace hv::test
