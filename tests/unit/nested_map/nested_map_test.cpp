// SPDX-License-Identifier: MIT
//
// The nested page table, case by case: page sizes, splitting, refusals that change nothing, the generation.
#include "hv/core/memory/nested_map.hpp"

#include <gtest/gtest.h>

#include "identity_memory.hpp"

using namespace hv;
using namespace hv::core;
using namespace hv::test;

namespace {

constexpr std::uint64_t kib4{page_size};
constexpr std::uint64_t mib2{2ull << 20};
constexpr std::uint64_t gib1{1ull << 30};

class NestedMapTest : public testing::TestWithParam<NestedEntryFormat> {
protected:
    NestedMapTest() { EXPECT_TRUE(map.create().has_value()); }

    NestedTranslation at(std::uint64_t guest) const
    {
        const auto found = map.lookup(GuestPhysical{guest});
        EXPECT_TRUE(found.has_value()) << std::hex << guest;
        return found.value_or(NestedTranslation{});
    }
    bool mapped(std::uint64_t guest) const { return map.lookup(GuestPhysical{guest}).has_value(); }
    std::uint64_t generation() const { return map.generation().load(); }

    IdentityMemory memory{256};
    NestedMap map{memory.frames, memory.ledger, GetParam(), true};
};
INSTANTIATE_TEST_SUITE_P(Formats, NestedMapTest, testing::Values(amd_format, intel_format));

}  // namespace

TEST_P(NestedMapTest, UsesTheLargestPagesThatBothAddressesAllow)
{
    ASSERT_TRUE(map.map(GuestPhysical{gib1 - mib2 - kib4}, HostPhysical{8 * gib1 - mib2 - kib4},
                        gib1 + 2 * mib2 + 2 * kib4, access_all)
                    .has_value());
    EXPECT_EQ(at(gib1 - mib2 - kib4).page_bytes, kib4);
    EXPECT_EQ(at(gib1 - mib2).page_bytes, mib2);
    EXPECT_EQ(at(gib1).page_bytes, gib1);
    EXPECT_EQ(at(2 * gib1).page_bytes, mib2);
    EXPECT_EQ(at(2 * gib1 + mib2).page_bytes, kib4);
    EXPECT_EQ(at(gib1 + 0x12345).host.raw(), 8 * gib1 + 0x12345);
    EXPECT_FALSE(mapped(2 * gib1 + mib2 + kib4));
    EXPECT_FALSE(mapped(gib1 - mib2 - 2 * kib4));
}

TEST_P(NestedMapTest, MapsWithoutGigabytePagesWhereTheProcessorHasNone)
{
    NestedMap plain{memory.frames, memory.ledger, GetParam(), false};
    ASSERT_TRUE(plain.create().has_value());
    ASSERT_TRUE(plain.map(GuestPhysical{0}, HostPhysical{0}, gib1, access_all).has_value());
    EXPECT_EQ(plain.lookup(GuestPhysical{0x1000})->page_bytes, mib2);
}

TEST_P(NestedMapTest, WritesEntriesInTheProcessorsFormat)
{
    ASSERT_TRUE(map.map(GuestPhysical{0}, HostPhysical{0x5000}, kib4, access_read_only).has_value());
    const auto* entry = reinterpret_cast<const std::uint64_t*>(map.root().raw());
    for (unsigned level = 4; level > 1; --level) {
        EXPECT_EQ(*entry & ~GetParam().address_mask, GetParam().table);
        entry = reinterpret_cast<const std::uint64_t*>(*entry & GetParam().address_mask);
    }
    EXPECT_EQ(*entry, 0x5000 | GetParam().leaf | GetParam().read | GetParam().deny_execute);
}

TEST_P(NestedMapTest, SplitsAGigabytePageDownToTheOnePageThatChanges)
{
    ASSERT_TRUE(map.map(GuestPhysical{0}, HostPhysical{4 * gib1}, gib1, access_read_execute).has_value());
    const std::uint64_t before = generation();
    ASSERT_TRUE(map.unmap(GuestPhysical{5 * mib2 + 3 * kib4}, kib4).has_value());
    EXPECT_GT(generation(), before);
    EXPECT_FALSE(mapped(5 * mib2 + 3 * kib4));
    for (const std::uint64_t guest :
         {std::uint64_t{0}, 5 * mib2, 5 * mib2 + 2 * kib4, 5 * mib2 + 4 * kib4, gib1 - 1}) {
        EXPECT_EQ(at(guest).host.raw(), 4 * gib1 + guest);
        EXPECT_EQ(at(guest).access, access_read_execute);
    }
    EXPECT_EQ(at(0).page_bytes, mib2);
    EXPECT_EQ(at(5 * mib2).page_bytes, kib4);
}

TEST_P(NestedMapTest, RaisesTheGenerationWheneverATranslationThatExistedHasChangedAndNotElse)
{
    std::uint64_t before = generation();
    ASSERT_TRUE(map.map(GuestPhysical{0}, HostPhysical{0}, mib2, access_all).has_value());
    ASSERT_TRUE(map.unmap(GuestPhysical{gib1}, gib1).has_value());
    ASSERT_TRUE(map.protect(GuestPhysical{kib4}, kib4, access_all).has_value());
    EXPECT_EQ(generation(), before);

    ASSERT_TRUE(map.protect(GuestPhysical{kib4}, kib4, access_read_only).has_value());
    EXPECT_GT(generation(), before);
    before = generation();
    ASSERT_TRUE(map.replace(GuestPhysical{0}, HostPhysical{gib1}, kib4, access_all).has_value());
    EXPECT_GT(generation(), before);
    before = generation();
    ASSERT_TRUE(map.unmap(GuestPhysical{0}, mib2).has_value());
    EXPECT_GT(generation(), before);
}

TEST_P(NestedMapTest, RefusesToMapOverAPageAndChangesNothing)
{
    ASSERT_TRUE(map.map(GuestPhysical{3 * kib4}, HostPhysical{0x9000}, kib4, access_all).has_value());
    const std::uint64_t before = generation();
    EXPECT_EQ(map.map(GuestPhysical{0}, HostPhysical{0}, mib2, access_all).error(), Error::already_exists);
    EXPECT_FALSE(mapped(0));
    EXPECT_EQ(at(3 * kib4).host.raw(), 0x9000u);
    EXPECT_EQ(generation(), before);
}

TEST_P(NestedMapTest, RefusesToProtectAHoleAndChangesNothing)
{
    ASSERT_TRUE(map.map(GuestPhysical{0}, HostPhysical{0}, kib4, access_all).has_value());
    EXPECT_EQ(map.protect(GuestPhysical{0}, 2 * kib4, access_read_only).error(), Error::not_found);
    EXPECT_EQ(at(0).access, access_all);
}

TEST_P(NestedMapTest, RefusesAddressesThatAreNotPagesOrLieOutside)
{
    EXPECT_EQ(map.map(GuestPhysical{1}, HostPhysical{0}, kib4, access_all).error(), Error::invalid_argument);
    EXPECT_EQ(map.map(GuestPhysical{0}, HostPhysical{0x800}, kib4, access_all).error(),
              Error::invalid_argument);
    EXPECT_EQ(map.unmap(GuestPhysical{0}, 0).error(), Error::invalid_argument);
    EXPECT_EQ(map.unmap(GuestPhysical{0}, 100).error(), Error::invalid_argument);
    const std::uint64_t end = NestedMap::address_space_bytes;
    EXPECT_EQ(map.unmap(GuestPhysical{end}, kib4).error(), Error::out_of_range);
    EXPECT_EQ(map.unmap(GuestPhysical{end - kib4}, 2 * kib4).error(), Error::out_of_range);
    EXPECT_EQ(map.unmap(GuestPhysical{kib4}, ~std::uint64_t{0} & ~page_mask).error(), Error::out_of_range);
    EXPECT_EQ(map.map(GuestPhysical{0}, HostPhysical{GetParam().address_mask}, 2 * kib4, access_all).error(),
              Error::out_of_range);
    EXPECT_FALSE(map.lookup(GuestPhysical{end}).has_value());
    EXPECT_FALSE(mapped(0));
    EXPECT_EQ(map.table_frames(), 1u);
}

TEST_P(NestedMapTest, ChangesNothingWhenTheLedgersLimitDoesNotSuffice)
{
    ASSERT_TRUE(map.map(GuestPhysical{0}, HostPhysical{0}, gib1, access_all).has_value());
    const std::uint64_t before = memory.ledger.frames();
    memory.ledger.set_limit(before + 1);  // two are needed: one per level that is split
    EXPECT_EQ(map.unmap(GuestPhysical{kib4}, kib4).error(), Error::limit_reached);
    EXPECT_EQ(map.replace(GuestPhysical{0}, HostPhysical{mib2 + kib4}, gib1, access_all).error(),
              Error::limit_reached);
    EXPECT_EQ(map.map(GuestPhysical{512 * gib1}, HostPhysical{0}, kib4, access_all).error(),
              Error::limit_reached);
    EXPECT_EQ(memory.ledger.frames(), before);
    EXPECT_EQ(at(kib4).page_bytes, gib1);
    EXPECT_FALSE(mapped(512 * gib1));
    memory.ledger.set_limit(before + 2);
    EXPECT_TRUE(map.unmap(GuestPhysical{kib4}, kib4).has_value());
    memory.ledger.set_limit(Ledger::unlimited);
}

TEST_P(NestedMapTest, GivesEveryTableBackAtTheEnd)
{
    const std::uint64_t before = memory.ledger.frames();
    const std::uint64_t free_before = memory.frames.free_frames();
    {
        NestedMap other{memory.frames, memory.ledger, GetParam(), true};
        ASSERT_TRUE(other.create().has_value());
        ASSERT_TRUE(other.map(GuestPhysical{0}, HostPhysical{0}, 3 * mib2 + kib4, access_all).has_value());
        ASSERT_TRUE(other.unmap(GuestPhysical{mib2}, kib4).has_value());
        ASSERT_TRUE(other.map(GuestPhysical{700 * gib1}, HostPhysical{kib4}, mib2, access_all).has_value());
        EXPECT_EQ(other.table_frames(), memory.ledger.frames() - before);
        EXPECT_EQ(other.table_frames(), 1u + 3 + 1 + 3);
    }
    EXPECT_EQ(memory.ledger.frames(), before);
    EXPECT_EQ(memory.frames.free_frames(), free_before);
}
