// SPDX-License-Identifier: MIT
//
// Text in a fixed buffer: numbers at their limits, and what happens when it is full.
#include "hv/base/bounded_text.hpp"

#include <cstdint>
#include <gtest/gtest.h>
#include <limits>

using namespace hv;

TEST(BoundedText, WritesNumbersAtTheirLimits)
{
    BoundedText<80> text;
    say(text, std::numeric_limits<std::int64_t>::min(), ' ', std::numeric_limits<std::uint64_t>::max(), ' ', 0);
    EXPECT_EQ(text.view(), "-9223372036854775808 18446744073709551615 0");
}

TEST(BoundedText, WritesHexadecimalWithTheDigitsAskedFor)
{
    BoundedText<80> text;
    say(text, Hex{0}, ' ', Hex{0xabc}, ' ', Hex{0xabc, 8}, ' ', Hex{~0ull});
    EXPECT_EQ(text.view(), "0x0 0xabc 0x00000abc 0xffffffffffffffff");
}

TEST(BoundedText, CutsWhatDoesNotFitAndRemembersIt)
{
    BoundedText<4> text;
    say(text, "abc");
    EXPECT_FALSE(text.truncated());
    say(text, 12345);
    EXPECT_EQ(text.view(), "abc1");
    EXPECT_TRUE(text.truncated());
}
