// SPDX-License-Identifier: MIT
//
// Fields, checked arithmetic, byte readers and writers, Expected.
#include "hv/base/bytes.hpp"
#include "hv/base/checked.hpp"
#include "hv/base/expected.hpp"
#include "hv/base/field.hpp"

#include <array>
#include <gtest/gtest.h>

using namespace hv;

static_assert(Field<63, 0>::mask == ~0ull && Field<0, 0>::mask == 1 && Field<63, 12>::mask == ~0xfffull);
static_assert(Field<7, 4>::set(0xff, 0) == 0x0f && Field<7, 4>::get(0xa5) == 0xa);
static_assert(checked_align_up<std::uint64_t>(1, 4096) == 4096 && !checked_align_up<std::uint64_t>(~0ull, 4096));
static_assert(!checked_add<std::uint32_t>(0xffff'ffff, 1) && !checked_multiply<std::uint64_t>(1ull << 32, 1ull << 32));

TEST(ByteReader, RefusesEveryReadThatDoesNotFit)
{
    const std::array<std::byte, 8> bytes{};
    const ByteReader reader{bytes};
    EXPECT_TRUE(reader.read<std::uint64_t>(0).has_value());
    for (const std::uint64_t offset : {1ull, 8ull, 9ull, ~0ull, ~0ull - 7})
        EXPECT_EQ(reader.read<std::uint64_t>(offset).error(), Error::out_of_range) << offset;
    EXPECT_TRUE(reader.slice(8, 0).has_value());
    EXPECT_FALSE(reader.slice(8, 1).has_value());
    EXPECT_FALSE(reader.slice(1, ~0ull).has_value());
}

TEST(ByteWriter, LeavesTheBufferAloneWhenSomethingDoesNotFit)
{
    std::array<std::byte, 5> bytes{};
    ByteWriter writer{bytes};
    EXPECT_TRUE(writer.write(std::uint32_t{0x01020304}).has_value());
    EXPECT_FALSE(writer.write(std::uint16_t{0xffff}).has_value());
    EXPECT_EQ(writer.size(), 4u);
    EXPECT_EQ(bytes[4], std::byte{0});
}

namespace {
Status fails() { return Error::busy; }
Expected<int> passes_on()
{
    HV_TRY(fails());
    return 1;
}
}  // namespace

TEST(Expected, CarriesTheFirstErrorOut)
{
    const auto result = passes_on();
    EXPECT_FALSE(result.has_value());
    EXPECT_EQ(result.error(), Error::busy);
}
