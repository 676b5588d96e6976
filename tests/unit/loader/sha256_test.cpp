// SPDX-License-Identifier: MIT
//
// The hash against NIST's own examples (SHA256.pdf and the short-message vectors of SHA256ShortMsg.rsp), and
// at each length around a block's end against the property that padding is a function of the length.
#include "hv/loader/sha256.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

using namespace hv;

namespace {

std::string hash_of(const std::string& text)
{
    const auto digits = loader::hexadecimal(loader::sha256(std::as_bytes(std::span{text})));
    return {digits.begin(), digits.end()};
}

TEST(Sha256, AgreesWithTheExamplesOfTheStandard)
{
    EXPECT_EQ(hash_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(hash_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(hash_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    EXPECT_EQ(
        hash_of(
            "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqr"
            "smnopqrstnopqrstu"),
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
    EXPECT_EQ(hash_of(std::string(1'000'000, 'a')),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    EXPECT_EQ(hash_of("\xd3"), "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1");
}

TEST(Sha256, DiffersAtEveryLengthAroundABlocksEnd)
{
    std::set<std::string> seen;
    for (std::size_t length = 0; length <= 130; ++length)
        EXPECT_TRUE(seen.insert(hash_of(std::string(length, '\0'))).second) << length;
}

}  // namespace
