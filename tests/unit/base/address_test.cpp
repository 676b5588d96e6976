// SPDX-License-Identifier: MIT
//
// Addresses and ranges at the ends of their space.
#include "hv/base/address.hpp"

#include <gtest/gtest.h>

using namespace hv;

TEST(Address, RefusesASumThatWraps)
{
    EXPECT_FALSE(GuestPhysical{~0ull}.checked_add(1));
    EXPECT_EQ(GuestPhysical{~0ull - 1}.checked_add(1), GuestPhysical{~0ull});
}

TEST(Range, ContainsItsBeginningAndNotItsEnd)
{
    constexpr GuestRange range{GuestPhysical{0x1000}, 0x1000};
    EXPECT_TRUE(range.contains(GuestPhysical{0x1000}));
    EXPECT_TRUE(range.contains(GuestPhysical{0x1fff}));
    EXPECT_FALSE(range.contains(GuestPhysical{0x2000}));
    EXPECT_FALSE(range.contains(GuestPhysical{0xfff}));
}

TEST(Range, MeasuresALengthWithoutWrapping)
{
    constexpr GuestRange top{GuestPhysical{~0ull - 0xfff}, 0x1000};
    EXPECT_TRUE(top.contains(GuestPhysical{~0ull}, 1));
    EXPECT_FALSE(top.contains(GuestPhysical{~0ull}, 2));
    EXPECT_FALSE(top.contains(GuestPhysical{~0ull - 0xfff}, ~0ull));
}

TEST(Range, OverlapsOnlyWhereBytesAreShared)
{
    constexpr GuestRange low{GuestPhysical{0}, 0x1000};
    constexpr GuestRange next{GuestPhysical{0x1000}, 0x1000};
    constexpr GuestRange across{GuestPhysical{0xfff}, 2};
    EXPECT_FALSE(low.overlaps(next));
    EXPECT_TRUE(low.overlaps(across));
    EXPECT_TRUE(across.overlaps(next));
    EXPECT_FALSE(low.overlaps(GuestRange{GuestPhysical{0}, 0}));
}
