// SPDX-License-Identifier: MIT
//
// The runtime's copies and fills beside the C library's: every length up to some words, at every offset to a word, with
// what lies around them untouched.  The file is compiled under other names, for this program has the C library too.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>

#define memcpy graft_memcpy
#define memset graft_memset
#define memmove graft_memmove
#define memcmp graft_memcmp
#define memchr graft_memchr
#define strlen graft_strlen
#include "../../../extension-api/src/freestanding.cpp"
#undef memcpy
#undef memset
#undef memmove
#undef memcmp
#undef memchr
#undef strlen

namespace {

constexpr std::size_t longest{70};
using Bytes = std::array<unsigned char, 3 * longest>;

Bytes numbered()
{
    Bytes bytes;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = static_cast<unsigned char>(i + 1);
    return bytes;
}

TEST(Freestanding, CopiesWhatItIsGivenAndNothingBesides)
{
    const Bytes from = numbered();
    for (std::size_t length = 0; length <= longest; ++length) {
        for (std::size_t offset = 0; offset < 64; ++offset) {
            Bytes to{}, expected{};
            unsigned char* const begin = to.data() + offset % 8 + 8;
            std::memcpy(expected.data() + offset % 8 + 8, from.data() + offset / 8, length);
            ASSERT_EQ(graft_memcpy(begin, from.data() + offset / 8, length), begin);
            ASSERT_EQ(to, expected) << length << " bytes, offset " << offset;
        }
    }
}

TEST(Freestanding, FillsWithTheLowestByteOfTheValue)
{
    for (const int value : {0, 1, 0x80, 0xff, 0x1a5, -1}) {
        for (std::size_t length = 0; length <= longest; ++length) {
            for (std::size_t offset = 0; offset < 8; ++offset) {
                Bytes to = numbered(), expected = numbered();
                std::memset(expected.data() + offset, value, length);
                ASSERT_EQ(graft_memset(to.data() + offset, value, length), to.data() + offset);
                ASSERT_EQ(to, expected) << length << " bytes of " << value << ", offset " << offset;
            }
        }
    }
}

TEST(Freestanding, MovesOverWhatItReadsInBothDirections)
{
    for (std::size_t length = 0; length <= longest; ++length) {
        for (std::size_t from = 0; from <= longest; from += 3) {
            for (std::size_t to = 0; to <= longest; ++to) {
                Bytes bytes = numbered(), expected = numbered();
                std::memmove(expected.data() + to, expected.data() + from, length);
                ASSERT_EQ(graft_memmove(bytes.data() + to, bytes.data() + from, length), bytes.data() + to);
                ASSERT_EQ(bytes, expected) << length << " bytes from " << from << " to " << to;
            }
        }
    }
}

TEST(Freestanding, ComparesAndSearchesByUnsignedBytes)
{
    const Bytes bytes = numbered();
    for (std::size_t length = 0; length <= longest; ++length) {
        Bytes other = bytes;
        EXPECT_EQ(graft_memcmp(bytes.data(), other.data(), length), 0);
        for (std::size_t at = 0; at < length; ++at) {
            other[at] = 0xff;
            EXPECT_LT(graft_memcmp(bytes.data(), other.data(), length), 0);
            EXPECT_GT(graft_memcmp(other.data(), bytes.data(), length), 0);
            EXPECT_EQ(graft_memchr(other.data(), 0xff, length), other.data() + at);
            other[at] = bytes[at];
        }
        EXPECT_EQ(graft_memchr(bytes.data(), 0xff, length), nullptr);
    }
    EXPECT_EQ(graft_strlen(""), 0u);
    EXPECT_EQ(graft_strlen("a word of some length"), std::strlen("a word of some length"));
}

}  // namespace
