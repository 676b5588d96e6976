// SPDX-License-Identifier: MIT
//
// Ed25519 held against libsodium, which is used nowhere but in tests and tools: random keys and messages, their
// mutations, and each building block.  What we accept libsodium accepts; what it accepts of honest keys, we do.
#include <gtest/gtest.h>
#include <sodium.h>

#include <cstring>
#include <random>

#include "ed25519/point.hpp"
#include "ed25519/scalar.hpp"
#include "hv/loader/ed25519.hpp"
#include "hv/loader/sha512.hpp"
#include "rfc8032_vectors.hpp"

namespace hv::test {
namespace {

using namespace loader;
using namespace loader::ed25519;
using Key = std::array<std::uint8_t, 32>;
using Signature = std::array<std::uint8_t, 64>;

class AgainstSodium : public testing::Test {
protected:
    void SetUp() override { ASSERT_GE(sodium_init(), 0); }

    std::vector<std::uint8_t> some_bytes(std::size_t count)
    {
        std::vector<std::uint8_t> bytes(count);
        for (auto& byte : bytes)
            byte = static_cast<std::uint8_t>(random());
        return bytes;
    }
    Key some_key()
    {
        Key bytes{};
        for (auto& byte : bytes)
            byte = static_cast<std::uint8_t>(random());
        return bytes;
    }

    std::mt19937 random{8032};
};

bool ours(const Key& key, std::span<const std::uint8_t> message, const Signature& signature)
{
    const auto good = Ed25519Key::from(std::as_bytes(std::span{key}));
    return good && good.value().signed_by(std::as_bytes(message), std::as_bytes(std::span{signature}));
}

bool theirs(const Key& key, std::span<const std::uint8_t> message, const Signature& signature)
{
    return crypto_sign_verify_detached(signature.data(), message.data(), message.size(), key.data()) == 0;
}

struct Signer {
    explicit Signer(const Key& seed) { crypto_sign_seed_keypair(key.data(), secret.data(), seed.data()); }
    [[nodiscard]] Signature sign(std::span<const std::uint8_t> message) const
    {
        Signature signature{};
        crypto_sign_detached(signature.data(), nullptr, message.data(), message.size(), secret.data());
        return signature;
    }
    Key key{};
    std::array<std::uint8_t, 64> secret{};
};

TEST_F(AgainstSodium, HonestSignaturesAreAcceptedAndMutationsJudgedAlike)
{
    unsigned refused{0};
    for (unsigned round = 0; round < 40; ++round) {
        const Signer signer{some_key()};
        auto message = some_bytes(random() % 400);
        auto signature = signer.sign(message);
        ASSERT_TRUE(ours(signer.key, message, signature));
        for (unsigned mutation = 0; mutation < 6; ++mutation) {
            Key key{signer.key};
            auto text = message;
            auto other = signature;
            const unsigned bit{static_cast<unsigned>(random())};
            if (mutation % 3 == 0)
                key[bit / 8 % key.size()] ^= static_cast<std::uint8_t>(1u << bit % 8);
            else if (mutation % 3 == 1 || text.empty())
                other[bit / 8 % other.size()] ^= static_cast<std::uint8_t>(1u << bit % 8);
            else
                text[bit / 8 % text.size()] ^= static_cast<std::uint8_t>(1u << bit % 8);
            ASSERT_EQ(ours(key, text, other), theirs(key, text, other));
            refused += ours(key, text, other) ? 0 : 1;
        }
    }
    EXPECT_EQ(refused, 40u * 6u);
}

TEST_F(AgainstSodium, TheExamplesOfTheRfcAreMadeAgain)
{
    for (const Ed25519Example& example : rfc8032_examples) {
        const auto seed = from_hex(example.secret);
        const auto message = from_hex(example.message);
        Key bytes{};
        std::memcpy(bytes.data(), seed.data(), bytes.size());
        const Signer signer{bytes};
        const auto signature =
            signer.sign({reinterpret_cast<const std::uint8_t*>(message.data()), message.size()});
        EXPECT_EQ(std::memcmp(signature.data(), from_hex(example.signature).data(), signature.size()), 0);
        EXPECT_EQ(std::memcmp(signer.key.data(), from_hex(example.key).data(), signer.key.size()), 0);
    }
}

TEST_F(AgainstSodium, HashesAreEqualAtEveryLengthAndInPieces)
{
    const auto text = some_bytes(600);
    for (std::size_t length = 0; length <= text.size(); ++length) {
        const auto bytes = std::as_bytes(std::span{text}).first(length);
        Signature expected{};
        crypto_hash_sha512(expected.data(), text.data(), length);
        ASSERT_EQ(Sha512{}.add(bytes).finish(), expected) << length;
        const std::size_t cut{length == 0 ? 0 : random() % length};
        ASSERT_EQ(Sha512{}.add(bytes.first(cut)).add(bytes.subspan(cut)).finish(), expected) << length << ", " << cut;
    }
}

TEST_F(AgainstSodium, ScalarsAreReducedAlike)
{
    for (unsigned round = 0; round < 500; ++round) {
        auto wide = some_bytes(64);
        if (round < 64)  // long runs of ones, from the top and from the bottom
            for (std::size_t index = 0; index < 64; ++index)
                wide[index] = (index < round) == (round % 2 == 0) ? 0xff : 0;
        Key expected{};
        crypto_core_ed25519_scalar_reduce(expected.data(), wide.data());
        ASSERT_EQ(bytes_of(reduced(std::span<const std::uint8_t, 64>{wide})), expected) << round;
    }
}

TEST_F(AgainstSodium, SumsAndMultiplesOfPointsAreEqual)
{
    for (unsigned round = 0; round < 40; ++round) {
        Key first{some_key()}, second{some_key()}, first_point{}, second_point{}, sum{}, multiple{};
        first[31] &= 0x0f;
        second[31] &= 0x0f;
        ASSERT_EQ(crypto_scalarmult_ed25519_base_noclamp(first_point.data(), first.data()), 0);
        ASSERT_EQ(crypto_scalarmult_ed25519_base_noclamp(second_point.data(), second.data()), 0);
        ASSERT_EQ(crypto_core_ed25519_add(sum.data(), first_point.data(), second_point.data()), 0);
        ASSERT_EQ(crypto_scalarmult_ed25519_noclamp(multiple.data(), second.data(), first_point.data()), 0);
        const auto a = decoded(first_point), b = decoded(second_point);
        ASSERT_TRUE(a && b);
        EXPECT_EQ(encoded(combination(words_of(first), base_point, Words{}, base_point)), first_point);
        EXPECT_EQ(encoded(*a + *b), sum);
        EXPECT_EQ(encoded(combination(words_of(first), base_point, words_of(second), base_point)), sum);
        EXPECT_EQ(encoded(combination(words_of(second), *a, Words{}, *a)), multiple);
        EXPECT_EQ(encoded(*a + *a), encoded(doubled(*a)));
        EXPECT_TRUE(is_neutral(*a + -*a));
    }
}

TEST_F(AgainstSodium, AnyBytesAreAKeyForBothOrForNeither)
{
    unsigned good{0}, points{0};
    for (unsigned round = 0; round < 300; ++round) {
        const Key bytes{some_key()};
        const bool here{Ed25519Key::from(std::as_bytes(std::span{bytes})).has_value()};
        ASSERT_EQ(here, crypto_core_ed25519_is_valid_point(bytes.data()) == 1);
        good += here;
        points += decoded(bytes).has_value();
    }
    // Half of all numbers are the y of a point, and one in eight of those points is in the group.
    EXPECT_GT(points, 110u);
    EXPECT_GT(good, 6u);
    EXPECT_LT(good, 45u);
}

}  // namespace
}  // namespace hv::test
