// SPDX-License-Identifier: MIT
//
// Copies to and from a guest: across pages, up to the last byte, and not at all where a byte is out of reach.
#include "guest_fixture.hpp"

#include <array>
#include <vector>

using namespace hv;
using namespace hv::test;

namespace {

class GuestMemoryTest : public GuestTest {
protected:
    GuestMemoryTest() { EXPECT_TRUE(create(4 * mib)); }

    static std::vector<std::byte> pattern(std::size_t bytes, unsigned seed)
    {
        std::vector<std::byte> result(bytes);
        for (std::size_t index = 0; index < bytes; ++index)
            result[index] = static_cast<std::byte>(index * 31 + seed);
        return result;
    }
    std::vector<std::byte> read(std::uint64_t address, std::size_t bytes)
    {
        std::vector<std::byte> result(bytes);
        EXPECT_TRUE(memory->guest().read(GuestPhysical{address}, result));
        return result;
    }
};

}  // namespace

TEST_F(GuestMemoryTest, CopiesAcrossPagesAndLargePages)
{
    for (const std::uint64_t address : {0ull, 0xfffull, 0x1ff8ull, 2 * mib - 5, 2 * mib - 3 * page_size}) {
        const auto bytes = pattern(4 * page_size + 7, static_cast<unsigned>(address));
        ASSERT_TRUE(memory->guest().write(GuestPhysical{address}, bytes));
        EXPECT_EQ(read(address, bytes.size()), bytes);
    }
    EXPECT_EQ(read(4 * mib - 1, 1).size(), 1u);
}

TEST_F(GuestMemoryTest, WritesNothingWhenAByteOfItIsNoRam)
{
    const auto before = pattern(2 * page_size, 1);
    ASSERT_TRUE(memory->guest().write(GuestPhysical{4 * mib - 2 * page_size}, before));
    const auto more = pattern(2 * page_size + 1, 99);
    EXPECT_EQ(memory->guest().write(GuestPhysical{4 * mib - 2 * page_size}, more).error(), Error::out_of_range);
    EXPECT_EQ(read(4 * mib - 2 * page_size, before.size()), before);
}

TEST_F(GuestMemoryTest, ClearsAllOrNothing)
{
    const auto before = pattern(2 * page_size, 1);
    ASSERT_TRUE(memory->guest().write(GuestPhysical{4 * mib - 2 * page_size}, before));
    EXPECT_EQ(memory->guest().clear(GuestPhysical{4 * mib - 2 * page_size}, 2 * page_size + 1).error(), Error::out_of_range);
    EXPECT_EQ(read(4 * mib - 2 * page_size, before.size()), before);
    ASSERT_TRUE(memory->guest().clear(GuestPhysical{4 * mib - 2 * page_size + 3}, page_size + 5));
    auto expected = before;
    std::fill_n(expected.begin() + 3, page_size + 5, std::byte{});
    EXPECT_EQ(read(4 * mib - 2 * page_size, before.size()), expected);
}

TEST_F(GuestMemoryTest, RefusesAddressesThatWrapAndTakesEmptyCopies)
{
    std::array<std::byte, 16> bytes{};
    for (const std::uint64_t address : {4 * mib, ~0ull, ~0ull - 14, 1ull << 48, 1ull << 63}) {
        EXPECT_EQ(memory->guest().read(GuestPhysical{address}, bytes).error(), Error::out_of_range);
        EXPECT_EQ(memory->guest().write(GuestPhysical{address}, bytes).error(), Error::out_of_range);
        EXPECT_EQ(memory->guest().clear(GuestPhysical{address}, 16).error(), Error::out_of_range);
    }
    EXPECT_EQ(memory->guest().clear(GuestPhysical{0x1000}, ~0ull).error(), Error::out_of_range);
    EXPECT_TRUE(memory->guest().read(GuestPhysical{~0ull}, {}));
    EXPECT_TRUE(memory->guest().write(GuestPhysical{~0ull}, {}));
}

TEST_F(GuestMemoryTest, ReadsButDoesNotWriteWhatTheGuestMayOnlyRead)
{
    put(0x5000, 0x1234);
    put(0x4ff8, 0x5678);
    ASSERT_TRUE(memory->map().protect(GuestPhysical{0x5000}, page_size, access_read_only));
    EXPECT_EQ(get(0x5000), 0x1234u);
    EXPECT_EQ(memory->guest().write(GuestPhysical{0x4ffc}, pattern(8, 0)).error(), Error::out_of_range);
    EXPECT_EQ(memory->guest().clear(GuestPhysical{0x4ffc}, 8).error(), Error::out_of_range);
    EXPECT_EQ(get(0x4ff8), 0x5678u);
    EXPECT_NE(memory->guest().page(GuestPhysical{0x5000}, false), nullptr);
    EXPECT_EQ(memory->guest().page(GuestPhysical{0x5000}, true), nullptr);
}
