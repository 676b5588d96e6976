// SPDX-License-Identifier: MIT
//
// One VCPU's view of a domain's nested table: the same as the table, whatever becomes of it, but for one
// hole.
#include "hv/core/memory/nested_view.hpp"

#include <gtest/gtest.h>

#include <random>

#include "identity_memory.hpp"

using namespace hv;
using namespace hv::core;
using namespace hv::test;

namespace {

constexpr std::uint64_t kib4{page_size};
constexpr std::uint64_t mib2{2ull << 20};
constexpr std::uint64_t gib1{1ull << 30};
constexpr std::uint64_t tables_of_a_view{4};

/// What a processor finds that walks from this root: the entry of the page, its address in place of a large
/// page's.
std::uint64_t walk(HostPhysical root, std::uint64_t guest, const NestedEntryFormat& format)
{
    std::uint64_t table{root.raw()};
    for (unsigned level = 4; level > 0; --level) {
        const std::uint64_t span = page_size << (9 * (level - 1));
        const auto* const entries = reinterpret_cast<const std::uint64_t*>(table & format.address_mask);
        const std::uint64_t entry = entries[guest / span % 512];
        if (entry == 0)
            return 0;
        if (level == 1 || (entry & format.large) != 0)
            return (entry & ~format.large & ~(format.address_mask & (span - 1))) +
                   guest % span / page_size * page_size;
        table = entry;
    }
    return 0;
}

class NestedViewTest : public testing::TestWithParam<NestedEntryFormat> {
protected:
    NestedViewTest() { EXPECT_TRUE(map.create()); }

    void map_at(std::uint64_t guest, std::uint64_t host, std::uint64_t bytes)
    {
        ASSERT_TRUE(map.map(GuestPhysical{guest}, HostPhysical{host}, bytes, access_all));
    }
    void expect_same_but(const NestedView& of, std::uint64_t hole,
                         std::initializer_list<std::uint64_t> pages) const
    {
        EXPECT_EQ(walk(of.root(), hole, GetParam()), 0u);
        for (const std::uint64_t page : pages)
            EXPECT_EQ(walk(of.root(), page, GetParam()), walk(map.root(), page, GetParam()))
                << std::hex << page;
    }

    IdentityMemory memory{256};
    NestedMap map{memory.frames, memory.ledger, GetParam(), true};
    NestedView view{map};
};
INSTANTIATE_TEST_SUITE_P(Formats, NestedViewTest, testing::Values(amd_format, intel_format));

}  // namespace

TEST_P(NestedViewTest, IsTheMapWhileItIsClosed)
{
    EXPECT_EQ(view.root(), map.root());
    ASSERT_TRUE(view.open(GuestPhysical{0x5000}));
    EXPECT_NE(view.root(), map.root());
    EXPECT_EQ(map.table_frames(), 1 + tables_of_a_view);
    view.close();
    view.close();
    EXPECT_EQ(view.root(), map.root());
    EXPECT_EQ(map.table_frames(), 1u);
    EXPECT_EQ(memory.ledger.frames(), 1u);
}

TEST_P(NestedViewTest, HasOneHoleInPagesOfEverySizeWhichTheMapKeeps)
{
    map_at(0, 8 * gib1, gib1);
    map_at(gib1, 16 * gib1 + mib2, mib2);
    map_at(2 * gib1, 24 * gib1 + kib4, kib4);
    const std::uint64_t before = map.generation().load();
    const auto everything = {
        std::uint64_t{0}, 3 * kib4, 5 * kib4,        mib2,      gib1 - kib4, gib1, gib1 + kib4,
        gib1 + mib2,      2 * gib1, 2 * gib1 + kib4, 512 * gib1};
    for (const std::uint64_t hole : {4 * kib4, gib1 + 2 * kib4, 3 * gib1, 1024 * gib1}) {
        ASSERT_TRUE(view.open(GuestPhysical{hole}));
        expect_same_but(view, hole, everything);
    }
    EXPECT_EQ(map.lookup(GuestPhysical{4 * kib4})->page_bytes, gib1);
    EXPECT_EQ(map.generation().load(), before);
    view.close();
}

TEST_P(NestedViewTest, FollowsWhatTheMapDoesAroundTheHoleAndInIt)
{
    const std::uint64_t hole{gib1 + mib2 + 7 * kib4};
    ASSERT_TRUE(view.open(GuestPhysical{hole}));
    const auto expect = [&] {
        expect_same_but(
            view, hole,
            {0, gib1, gib1 + mib2, hole - kib4, hole + kib4, gib1 + 2 * mib2, 2 * gib1, 600 * gib1});
    };
    map_at(gib1, 8 * gib1, gib1);
    expect();
    ASSERT_TRUE(map.protect(GuestPhysical{hole - kib4}, 2 * kib4, access_read_only));
    expect();
    ASSERT_TRUE(map.replace(GuestPhysical{hole}, HostPhysical{0x7000}, kib4, access_all));
    expect();
    ASSERT_TRUE(map.unmap(GuestPhysical{gib1 + mib2}, mib2));
    expect();
    map_at(0, 16 * gib1, gib1);
    map_at(600 * gib1, 24 * gib1, kib4);
    expect();
    ASSERT_TRUE(map.unmap(GuestPhysical{0}, 601 * gib1));
    expect();
    map_at(gib1 + mib2, 8 * gib1, mib2);
    expect();
    view.close();
}

TEST_P(NestedViewTest, TakesWatchedPermissionsAwayAndLetsPagesThrough)
{
    const NestedEntryFormat& format = GetParam();
    map_at(0, 8 * gib1, gib1);
    const WatchedPages watched[]{{4, 5, false, true, false}, {8, 8, false, false, true}, {600, 600, true, false, false}};
    ASSERT_TRUE(view.watch(watched));
    const auto seen = [&](std::uint64_t page) { return walk(view.root(), page * kib4, format); };
    const auto usual = [&](std::uint64_t page) { return walk(map.root(), page * kib4, format); };
    const auto unwritable = [&](std::uint64_t entry) { return entry & ~format.write; };
    const auto unexecutable = [&](std::uint64_t entry) { return (entry & ~format.execute) | format.deny_execute; };
    const auto expect_watched = [&] {
        for (const std::uint64_t page : {0, 3, 6, 7, 9, 511, 512, 599, 601})
            EXPECT_EQ(seen(page), usual(page)) << page;
        EXPECT_EQ(seen(4), unwritable(usual(4)));
        EXPECT_EQ(seen(5), unwritable(usual(5)));
        EXPECT_EQ(seen(8), unexecutable(usual(8)));
        EXPECT_EQ(seen(600), 0u);
    };
    expect_watched();
    EXPECT_EQ(memory.ledger.frames(), map.table_frames());
    for (const std::uint64_t page : {4, 8, 600}) {
        EXPECT_TRUE(view.stops(GuestPhysical{page * kib4 + 7}));
        view.let_through(GuestPhysical{page * kib4 + 7});
        EXPECT_FALSE(view.stops(GuestPhysical{page * kib4}));
        EXPECT_EQ(seen(page), usual(page));
    }
    EXPECT_EQ(seen(5), unwritable(usual(5)));
    ASSERT_TRUE(map.protect(GuestPhysical{4 * kib4}, 2 * kib4, access_no_execute));
    EXPECT_EQ(seen(4), usual(4));
    EXPECT_EQ(seen(5), unwritable(usual(5)));
    view.end_letting_through();
    expect_watched();
    EXPECT_FALSE(view.stops(GuestPhysical{0}));
    ASSERT_TRUE(view.open(GuestPhysical{5 * kib4}));
    EXPECT_EQ(seen(5), 0u);
    EXPECT_EQ(seen(4), unwritable(usual(4)));
    EXPECT_FALSE(view.stops(GuestPhysical{5 * kib4})) << "the hole is nobody's to let through";
    view.let_through(GuestPhysical{5 * kib4});
    EXPECT_EQ(seen(5), 0u);
    view.close();
    view.end_letting_through();
    expect_watched();
    ASSERT_TRUE(view.watch({}));
    EXPECT_EQ(view.root(), map.root());
    EXPECT_EQ(map.lookup(GuestPhysical{0})->page_bytes, kib4) << "split by protect alone";
    EXPECT_EQ(memory.ledger.frames(), map.table_frames());
}

TEST_P(NestedViewTest, LetsSoManyPagesThroughAndThenClosesTheOldest)
{
    map_at(0, 8 * gib1, gib1);
    const WatchedPages many[]{{4, 600, false, true, false}};
    ASSERT_TRUE(view.watch(many));
    const auto is_open = [&](std::uint64_t page) {
        const bool open = walk(view.root(), page * kib4, GetParam()) == walk(map.root(), page * kib4, GetParam());
        EXPECT_EQ(open, !view.stops(GuestPhysical{page * kib4})) << page;
        return open;
    };
    constexpr std::uint64_t first{4}, last{first + NestedView::maximum_let_through - 1};
    for (std::uint64_t page = first; page <= last; ++page)
        view.let_through(GuestPhysical{page * kib4});
    for (unsigned again = 0; again < 3; ++again)
        view.let_through(GuestPhysical{last * kib4});
    EXPECT_TRUE(is_open(first)) << "a page that is open takes nobody's place";
    view.let_through(GuestPhysical{(last + 1) * kib4});
    EXPECT_FALSE(is_open(first));
    EXPECT_TRUE(is_open(first + 1) && is_open(last + 1));
    view.end_letting_through();
    EXPECT_FALSE(is_open(first + 1) || is_open(last) || is_open(last + 1));
}

TEST_P(NestedViewTest, WatchesNothingMoreWhereThereIsNoMemory)
{
    map_at(0, 8 * gib1, gib1);
    const WatchedPages few[]{{4, 4, false, true, false}}, many[]{{4, 600, false, true, false}};
    ASSERT_TRUE(view.watch(few));
    const std::uint64_t before = walk(view.root(), 4 * kib4, GetParam());
    memory.ledger.set_limit(map.table_frames());
    EXPECT_EQ(view.watch(many).error(), Error::limit_reached);
    EXPECT_TRUE(view.watches_just(few));
    EXPECT_EQ(walk(view.root(), 4 * kib4, GetParam()), before);
    EXPECT_EQ(walk(view.root(), 5 * kib4, GetParam()), walk(map.root(), 5 * kib4, GetParam()));
    memory.ledger.set_limit(map.table_frames() + 1);
    EXPECT_TRUE(view.watch(many));
    EXPECT_NE(walk(view.root(), 600 * kib4, GetParam()), walk(map.root(), 600 * kib4, GetParam()));
    ASSERT_TRUE(view.watch({}));
}

TEST_P(NestedViewTest, WatchesWhatWasReservedWithoutMoreMemory)
{
    map_at(0, 8 * gib1, gib1);
    const WatchedPages few[]{{4, 4, false, true, false}}, many[]{{4, 600, false, true, false}}, all[]{{4, 4, false, true, false}, {5, 600, true, true, true}};
    const std::uint64_t base{map.table_frames()};
    ASSERT_TRUE(view.reserve(all, false));
    const std::uint64_t held{map.table_frames()};
    EXPECT_EQ(held, base + tables_of_a_view + 1) << "two of the lowest level";
    EXPECT_FALSE(view.is_open());
    memory.ledger.set_limit(held);
    ASSERT_TRUE(view.reserve(few, false)) << "what was promised before stands until it is trimmed";
    for (const std::span<const WatchedPages> watched : {std::span<const WatchedPages>{few}, {many}, {all}, {}, {many}, {}}) {
        ASSERT_TRUE(view.watch(watched));
        EXPECT_TRUE(view.watches_just(watched));
        EXPECT_EQ(map.table_frames(), held);
        EXPECT_EQ(memory.ledger.frames(), held);
    }
    EXPECT_EQ(view.open(GuestPhysical{600 * gib1}).error(), Error::limit_reached) << "a hole has no part in it";
    memory.ledger.set_limit(held + 3);
    ASSERT_TRUE(view.open(GuestPhysical{600 * gib1}));
    memory.ledger.set_limit(map.table_frames());
    ASSERT_TRUE(view.watch(many));
    EXPECT_EQ(walk(view.root(), 600 * gib1, GetParam()), 0u);
    ASSERT_TRUE(view.watch({}));
    view.close();
    EXPECT_EQ(map.table_frames(), held);
    view.trim(few, false);
    EXPECT_EQ(map.table_frames(), held - 1);
    view.trim({}, false);
    EXPECT_EQ(map.table_frames(), base);
    EXPECT_EQ(memory.ledger.frames(), base);
}

TEST_P(NestedViewTest, ReservesAllOrNothingAndTrimsNothingThatIsInUse)
{
    map_at(0, 8 * gib1, gib1);
    const WatchedPages few[]{{4, 4, false, true, false}}, many[]{{4, 600, false, true, false}};
    const std::uint64_t base{map.table_frames()};
    for (std::uint64_t frames = 0; frames < tables_of_a_view + 2; ++frames) {
        memory.ledger.set_limit(base + frames);
        EXPECT_EQ(view.reserve(many, true).error(), Error::limit_reached);
        EXPECT_EQ(map.table_frames(), base);
    }
    memory.ledger.set_limit(base + tables_of_a_view + 2);
    ASSERT_TRUE(view.reserve(many, true));
    ASSERT_TRUE(view.reserve(few, false)) << "less than there is";
    EXPECT_EQ(map.table_frames(), base + tables_of_a_view + 2);
    ASSERT_TRUE(view.watch(many));
    view.trim({}, true);
    EXPECT_EQ(map.table_frames(), base + tables_of_a_view + 2) << "all are in use, and the barred root";
    ASSERT_TRUE(view.watch(few));
    EXPECT_EQ(map.table_frames(), base + tables_of_a_view + 1) << "nothing is promised any more";
    ASSERT_TRUE(view.watch({}));
    EXPECT_EQ(map.table_frames(), base + 1);
    view.trim({}, false);
    EXPECT_EQ(map.table_frames(), base);
}

TEST_P(NestedViewTest, HasABarredRootWhereNothingCanBeExecuted)
{
    const NestedEntryFormat& format = GetParam();
    map_at(0, 8 * gib1, gib1);
    map_at(600 * gib1, 9 * gib1, mib2);
    ASSERT_TRUE(view.reserve({}, true));
    const auto root_entry = [](HostPhysical root, unsigned index) { return reinterpret_cast<const std::uint64_t*>(root.raw())[index]; };
    const auto expect_barred = [&] {
        const HostPhysical barred = view.barred_root();
        EXPECT_NE(barred, view.root());
        for (const unsigned index : {0, 1}) {
            const std::uint64_t usual = root_entry(view.root(), index);
            EXPECT_NE(usual, 0u);
            EXPECT_EQ(root_entry(barred, index), (usual & ~format.execute) | format.deny_execute);
        }
        for (const std::uint64_t page : {std::uint64_t{0}, 5 * kib4, 600 * gib1, 600 * gib1 + mib2})
            EXPECT_EQ(walk(barred, page, format), walk(view.root(), page, format)) << "data are as ever";
        EXPECT_EQ(root_entry(barred, 2), 0u);
    };
    expect_barred();
    const WatchedPages watched[]{{4, 5, false, true, false}};
    ASSERT_TRUE(view.watch(watched));
    expect_barred();
    ASSERT_TRUE(view.watch({}));
    expect_barred();
    map_at(1030 * gib1, 10 * gib1, mib2);
    EXPECT_EQ(walk(view.barred_root(), 1030 * gib1, format), walk(map.root(), 1030 * gib1, format));
}

TEST_P(NestedViewTest, LeavesOtherViewsAlone)
{
    NestedView other{map};
    NestedView same{map};
    map_at(0, 8 * gib1, mib2);
    ASSERT_TRUE(view.open(GuestPhysical{kib4}));
    ASSERT_TRUE(other.open(GuestPhysical{2 * kib4}));
    ASSERT_TRUE(same.open(GuestPhysical{kib4}));
    expect_same_but(view, kib4, {0, 2 * kib4});
    expect_same_but(other, 2 * kib4, {0, kib4});
    other.close();
    ASSERT_TRUE(map.unmap(GuestPhysical{3 * kib4}, kib4));
    view.close();
    ASSERT_TRUE(map.unmap(GuestPhysical{4 * kib4}, kib4));
    expect_same_but(same, kib4, {0, 2 * kib4, 3 * kib4, 4 * kib4, 5 * kib4});
    same.close();
}

TEST_P(NestedViewTest, HoldsNothingWhereThereIsNoMemoryAndNeedsNoneToMove)
{
    map_at(0, 8 * gib1, mib2);
    for (std::uint64_t frames = 0; frames < tables_of_a_view; ++frames) {
        memory.ledger.set_limit(map.table_frames() + frames);
        EXPECT_EQ(view.open(GuestPhysical{kib4}).error(), Error::limit_reached);
        EXPECT_FALSE(view.is_open());
        EXPECT_EQ(memory.ledger.frames(), map.table_frames());
    }
    memory.ledger.set_limit(map.table_frames() + tables_of_a_view);
    ASSERT_TRUE(view.open(GuestPhysical{kib4}));
    ASSERT_TRUE(view.open(GuestPhysical{600 * gib1}));
    expect_same_but(view, 600 * gib1, {0, kib4, 2 * kib4});
    view.close();
}

TEST_P(NestedViewTest, AgreesWithTheMapThroughRandomChanges)
{
    constexpr std::uint64_t pages{4 * 512};
    constexpr std::uint64_t first{(1ull << 18) - pages / 2};  // across a GiB boundary
    std::mt19937_64 random{20'26'11'21};
    std::uint64_t hole{1}, passed{};
    WatchedPages watched{1, 0, false, true, false};
    for (unsigned step = 0; step < 600; ++step) {
        const std::uint64_t from = random() % pages;
        const std::uint64_t count = random() % 2 == 0 ? 1 + random() % 4 : 1 + random() % (pages - from);
        const std::uint64_t bytes = (from + count > pages ? pages - from : count) * page_size;
        const GuestPhysical guest{(first + from) * page_size};
        const HostPhysical host{(random() % 2 == 0 ? first + from : random() % 0x10'0000) * page_size};
        const NestedAccess access{.write = random() % 2 == 0, .execute = random() % 2 == 0};
        switch (random() % 8) {
        case 0: static_cast<void>(map.map(guest, host, bytes, access)); break;
        case 1: static_cast<void>(map.replace(guest, host, bytes, access)); break;
        case 2: static_cast<void>(map.unmap(guest, bytes)); break;
        case 3: static_cast<void>(map.protect(guest, bytes, access)); break;
        case 6:
            watched = {first + from, first + from + count - 1, false, true, false};
            if (watched.last >= first + pages)
                watched.last = first + pages - 1;
            ASSERT_TRUE(view.watch({&watched, 1}));
            passed = 0;
            break;
        case 7:
            view.end_letting_through();
            passed = first + from;
            view.let_through(guest);
            break;
        case 4:
            hole = guest.raw();
            ASSERT_TRUE(view.open(guest));
            break;
        default:
            if (random() % 4 == 0) {
                view.close();
                hole = 1;
            }
            break;
        }
        for (std::uint64_t page = first; page < first + pages; ++page) {
            const std::uint64_t address = page * page_size;
            const bool stopped = page >= watched.first && page <= watched.last && page != passed;
            const std::uint64_t usual = walk(map.root(), address, GetParam());
            ASSERT_EQ(walk(view.root(), address, GetParam()),
                      address == hole ? 0 : stopped ? usual & ~GetParam().write : usual)
                << "step " << step << ", page " << page;
        }
    }
    view.close();
    ASSERT_TRUE(view.watch({}));
    EXPECT_FALSE(view.is_open());
}
