// SPDX-License-Identifier: MIT
//
// The walker, case by case: formats, page sizes, every combination of permission bits, and the accessed and dirty bits.
#include "guest_fixture.hpp"
#include "hv/core/memory/guest_walk.hpp"

using namespace hv;
using namespace hv::test;

namespace {

constexpr std::uint64_t present{1}, writable{2}, user{4}, accessed{0x20}, dirty{0x40}, large{0x80}, no_execute{1ull << 63};
constexpr std::uint64_t all{present | writable | user};
constexpr std::uint32_t paging{0x8000'0001};
constexpr std::uint32_t write_protect{1 << 16};
constexpr std::uint32_t size_extension{1 << 4}, physical_extension{1 << 5}, smep{1 << 20};
constexpr std::uint32_t long_mode{0x500}, execute_disable{0x800};

class GuestWalk : public GuestTest {
protected:
    GuestWalk() { EXPECT_TRUE(create(4 * mib)); }

    static ExecutionContext context(std::uint64_t cr4, std::uint64_t efer)
    {
        ExecutionContext result{};
        result.cr0 = paging | write_protect;
        result.cr3 = 0x1000;
        result.cr4 = cr4;
        result.efer = efer;
        return result;
    }
    static ExecutionContext in_long_mode() { return context(physical_extension, long_mode | execute_disable); }
    static ExecutionContext in_pae() { return context(physical_extension, execute_disable); }
    static ExecutionContext in_legacy() { return context(size_extension, 0); }

    WalkResult walk(const ExecutionContext& with, std::uint64_t linear, LinearAccess access = {})
    {
        return walk_guest_tables(memory->guest(), with, GuestLinear{linear}, access);
    }
    /// PML4 1000, PDPT 2000, PD 3000, PT 4000: the page of `linear` is at 5000.
    void map_long(std::uint64_t linear, std::uint64_t leaf = all)
    {
        put(0x1000 + 8 * (linear >> 39 & 511), 0x2000 | all);
        put(0x2000 + 8 * (linear >> 30 & 511), 0x3000 | all);
        put(0x3000 + 8 * (linear >> 21 & 511), 0x4000 | all);
        put(0x4000 + 8 * (linear >> 12 & 511), 0x5000 | leaf);
    }
};

}  // namespace

TEST_F(GuestWalk, WithoutPagingIsTheAddressItselfIn32Bits)
{
    ExecutionContext off = in_long_mode();
    off.cr0 = 1;
    EXPECT_EQ(walk(off, 0x1'2345'6789)->address.raw(), 0x2345'6789u);
    EXPECT_EQ(walk(off, 0x1234)->levels, 0);
}

TEST_F(GuestWalk, TranslatesFourLevelsInBothHalves)
{
    for (const std::uint64_t linear : {0x0000'7abc'def1'2345ull, 0xffff'8abc'def1'2345ull, 0x0000'7fff'ffff'ffffull}) {
        map_long(linear);
        const auto found = walk(in_long_mode(), linear);
        ASSERT_TRUE(found) << std::hex << linear;
        EXPECT_EQ(found->address.raw(), 0x5000 | (linear & 0xfff));
        EXPECT_EQ(found->levels, 4);
    }
}

TEST_F(GuestWalk, RefusesAddressesThatAreNotCanonical)
{
    map_long(0x0000'7fff'ffff'f000);
    EXPECT_EQ(walk(in_long_mode(), 0x0000'8000'0000'0000).error_code(), 0u);
    EXPECT_EQ(walk(in_long_mode(), 0x8000'7fff'ffff'f000, {.write = true, .user = true}).error_code(), 6u);
    EXPECT_EQ(walk(in_long_mode(), 0x0001'7fff'ffff'f000).error_code(), 0u);
}

TEST_F(GuestWalk, FindsPagesOfAllSizes)
{
    put(0x1000, 0x2000 | all);
    put(0x2000 + 8 * 3, (5ull << 30) | large | all);
    EXPECT_EQ(walk(in_long_mode(), 3 * gib + 0x1234'5678)->address.raw(), 5 * gib + 0x1234'5678);
    put(0x2000, 0x3000 | all);
    put(0x3000 + 8 * 2, (7ull << 21) | large | all);
    EXPECT_EQ(walk(in_long_mode(), 4 * mib + 0x1'2345)->address.raw(), 14 * mib + 0x1'2345);
    EXPECT_EQ(walk(in_long_mode(), 4 * mib)->levels, 3);

    put32(0x1000 + 4 * 5, 0x0040'0000 | large | all | 3u << 13);
    EXPECT_EQ(walk(in_legacy(), 5 * 4 * mib + 0x1234)->address.raw(), 0x3'0040'1234u) << "bits 39:32 are in 20:13";
    EXPECT_FALSE(walk(context(0, 0), 5 * 4 * mib)) << "without CR4.PSE the bit means nothing";
}

TEST_F(GuestWalk, TakesTheLargeBitOfATopEntryAsReserved)
{
    put(0x1000, 0x2000 | large | all);
    EXPECT_EQ(walk(in_long_mode(), 0x1000).error_code(), 1u | 8u);
}

TEST_F(GuestWalk, FaultsOnReservedBits)
{
    constexpr std::uint32_t reserved{1 | 8};
    put(0x1000, 0x2000 | all);
    put(0x2000, 0x3000 | all);
    put(0x3000, 0x4000 | all);
    put(0x4000, 0x5000 | all);
    ASSERT_TRUE(walk(in_long_mode(), 0));
    for (const std::uint64_t table : {0x1000, 0x2000, 0x3000, 0x4000}) {
        const std::uint64_t good = get(table);
        put(table, good | 1ull << 48);  // the processor has 48 bits of address
        EXPECT_EQ(walk(in_long_mode(), 0).error_code(), reserved) << std::hex << table;
        put(table, good | 1ull << 63);
        ExecutionContext without_xd = in_long_mode();
        without_xd.efer &= ~0x800ull;
        EXPECT_EQ(walk(without_xd, 0).error_code(), reserved) << std::hex << table;
        put(table, good | 0x7ffull << 52);  // for software
        EXPECT_TRUE(walk(in_long_mode(), 0)) << std::hex << table;
        put(table, good);
    }
    put(0x3000, 1ull << 20 | large | all);
    EXPECT_EQ(walk(in_long_mode(), 0).error_code(), reserved) << "half of a large page";
    put(0x3000, 2ull << 20 | 1ull << 12 | large | all);
    EXPECT_TRUE(walk(in_long_mode(), 0)) << "the bit of the page attribute table";
    put(0x2000, 1ull << 29 | large | all);
    EXPECT_EQ(walk(in_long_mode(), 0).error_code(), reserved);
    put32(0x1000, 1u << 21 | large | all);
    EXPECT_EQ(walk(in_legacy(), 0).error_code(), reserved);
}

TEST_F(GuestWalk, WalksPaeFromA32ByteTableWhoseEntriesGrantAndMarkNothing)
{
    ExecutionContext pae = in_pae();
    pae.cr3 = 0x1fe0 | 0x18;  // the low bits are no part of the address
    put(0x1fe0 + 8 * 2, 0x3000 | present);
    put(0x3000 + 8 * 7, 0x4000 | all);
    put(0x4000 + 8 * 9, 0x5000 | all);
    const std::uint64_t linear = 0x8000'0000 + 7 * 2 * mib + 9 * page_size + 0x123;
    const auto found = walk(pae, linear, {.write = true, .user = true});
    ASSERT_TRUE(found) << found.error_code();
    EXPECT_EQ(found->address.raw(), 0x5123u);
    mark_accessed(*found, true);
    EXPECT_EQ(get(0x1fe0 + 8 * 2), 0x3000 | present) << "PAE's topmost entries have no accessed bit";
    EXPECT_EQ(get(0x3000 + 8 * 7), 0x4000 | all | accessed);
    EXPECT_EQ(get(0x4000 + 8 * 9), 0x5000 | all | accessed | dirty);
}

TEST_F(GuestWalk, TreatsEntriesOutsideRamAsNotPresent)
{
    for (const std::uint64_t outside : {4 * mib, 3 * gib, 1ull << 47, 0x0000'ffff'ffff'f000ull}) {
        put(0x1000, outside | all);
        EXPECT_EQ(walk(in_long_mode(), 0x1000, {.write = true}).error_code(), 2u) << std::hex << outside;
    }
    ExecutionContext lost = in_long_mode();
    lost.cr3 = 0x000f'ffff'ffff'f000;
    EXPECT_EQ(walk(lost, 0x1000).error_code(), 0u);
}

TEST_F(GuestWalk, FollowsALeafOutOfRamAsDevicesAreThere)
{
    map_long(0x1000);
    put(0x4000 + 8, 0xfee0'0000 | all);
    EXPECT_EQ(walk(in_long_mode(), 0x1020)->address.raw(), 0xfee0'0020u);
}

TEST_F(GuestWalk, StopsWhereverAnEntryIsNotPresent)
{
    for (const std::uint64_t entry : {0x1000ull, 0x2000ull, 0x3000ull, 0x4000ull}) {
        map_long(0);
        put(entry, get(entry) & ~present);
        EXPECT_EQ(walk(in_long_mode(), 0, {.user = true, .execute = true}).error_code(), 0x14u) << std::hex << entry;
    }
}

TEST_F(GuestWalk, GrantsByEveryCombinationOfPermissionBitsOfAllLevels)
{
    for (unsigned bits = 0; bits < 1u << 12; ++bits) {  // three per level
        bool may_write{true}, may_user{true}, may_execute{true};
        for (unsigned level = 0; level < 4; ++level) {
            const unsigned here = bits >> (3 * level) & 7;
            may_write &= (here & 1) != 0;
            may_user &= (here & 2) != 0;
            may_execute &= (here & 4) == 0;
            put(0x1000 * (level + 1), (0x1000 * (level + 2)) | present | ((here & 1) != 0 ? writable : 0) |
                                          ((here & 2) != 0 ? user : 0) | ((here & 4) != 0 ? no_execute : 0));
        }
        for (unsigned what = 0; what < 64; ++what) {
            const LinearAccess access{.write = (what & 3) == 1, .user = (what & 4) != 0, .execute = (what & 3) == 2};
            ExecutionContext with = in_long_mode();
            with.cr0 = paging | ((what & 8) != 0 ? write_protect : 0);
            with.cr4 |= (what & 16) != 0 ? smep : 0;
            with.efer = long_mode | ((what & 32) != 0 ? execute_disable : 0);
            bool expected{true};
            if (access.user)
                expected = may_user && (!access.write || may_write);
            else
                expected = !access.write || may_write || (what & 8) == 0;
            const bool reserved = !may_execute && (what & 32) == 0;
            if ((access.execute && !may_execute) || reserved)
                expected = false;
            if (access.execute && !access.user && may_user && (what & 16) != 0)
                expected = false;
            const auto found = walk(with, 0x123, access);
            ASSERT_EQ(static_cast<bool>(found), expected) << std::hex << bits << ' ' << what;
            if (!found) {
                ASSERT_EQ(found.error_code() & 9, reserved ? 9u : 1u);
            }
        }
    }
}

TEST_F(GuestWalk, SaysFetchOnlyWhereTheProcessorDoes)
{
    const LinearAccess fetch{.execute = true};
    EXPECT_EQ(walk(in_legacy(), 0, fetch).error_code(), 0u);
    EXPECT_EQ(walk(context(0, execute_disable), 0, fetch).error_code(), 0u) << "no XD bit in 32-bit entries";
    EXPECT_EQ(walk(context(smep, 0), 0, fetch).error_code(), 0x10u);
    EXPECT_EQ(walk(in_pae(), 0, fetch).error_code(), 0x10u);
    EXPECT_EQ(walk(context(physical_extension, long_mode), 0, fetch).error_code(), 0u);
}

TEST_F(GuestWalk, MarksAccessedEverywhereAndDirtyOnlyTheLeafOfAWrite)
{
    map_long(0);
    const auto found = walk(in_long_mode(), 0);
    EXPECT_EQ(get(0x1000), 0x2000 | all) << "a walk alone marks nothing";
    mark_accessed(*found, false);
    for (const std::uint64_t table : {0x1000ull, 0x2000ull, 0x3000ull, 0x4000ull})
        EXPECT_EQ(get(table), (table + 0x1000) | all | accessed);
    mark_accessed(*found, true);
    EXPECT_EQ(get(0x3000), 0x4000 | all | accessed);
    EXPECT_EQ(get(0x4000), 0x5000 | all | accessed | dirty);
}
