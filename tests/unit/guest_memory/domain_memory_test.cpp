// SPDX-License-Identifier: MIT
//
// A domain's RAM: bought at once, entered when it is touched, zero when it is first seen, and all of it given back.
#include "guest_fixture.hpp"

#include <vector>

using namespace hv;
using namespace hv::test;

namespace {

class DomainMemoryTest : public GuestTest {
protected:
    using GuestTest::GuestTest;
    void expect_refused(std::uint64_t bytes, Error error)
    {
        const auto made = create(bytes);
        ASSERT_FALSE(made) << bytes;
        EXPECT_EQ(made.error(), error) << bytes;
        EXPECT_LE(ledger.frames(), 1u) << "more than the root table is held after " << bytes;
        memory.reset();
        EXPECT_EQ(frames.free_frames(), free_at_first);
    }
};

class LargeDomainMemoryTest : public DomainMemoryTest {
protected:
    LargeDomainMemoryTest() : DomainMemoryTest{6 * gib} {}
};

}  // namespace

TEST_F(DomainMemoryTest, ChargesWhatWasAskedForAndGivesAllOfItBack)
{
    ASSERT_TRUE(create(8 * mib + 3 * page_size));
    EXPECT_EQ(memory->bytes(), 8 * mib + 3 * page_size);
    EXPECT_GE(ledger.frames(), memory->bytes() / page_size + 1);
    EXPECT_LE(ledger.frames(), memory->bytes() / page_size + 3) << "RAM, root table, list of blocks";
    for (std::uint64_t address = 0; address < memory->bytes(); address += page_size)
        ASSERT_TRUE(memory->populate(GuestPhysical{address}));
    memory.reset();
    EXPECT_EQ(ledger.frames(), 0u);
    EXPECT_EQ(frames.free_frames(), free_at_first);
}

TEST_F(DomainMemoryTest, RefusesWhatIsNotWholePagesAndMoreThanThereIsHoldingNothing)
{
    expect_refused(0, Error::invalid_argument);
    expect_refused(mib + 1, Error::invalid_argument);
    expect_refused(64 * mib, Error::no_memory);
    expect_refused(4 * gib, Error::no_memory);
    expect_refused(1ull << 60, Error::no_memory);
    expect_refused(~0ull << 12, Error::no_memory);
    ledger.set_limit(100);
    expect_refused(mib, Error::limit_reached);
}

TEST_F(DomainMemoryTest, EntersALargePageWhenOneOfItsPagesIsTouchedAndZeroesItThen)
{
    ASSERT_TRUE(create(8 * mib));
    EXPECT_FALSE(memory->map().lookup(GuestPhysical{4 * mib}));
    const auto page = memory->ram_page(GuestPhysical{4 * mib + 0x3000});
    ASSERT_TRUE(page);
    auto* const bytes = static_cast<std::uint8_t*>(platform::to_pointer(page.value()));
    bytes[5] = 1;
    EXPECT_TRUE(memory->populate(GuestPhysical{4 * mib + 0x5000}));
    EXPECT_EQ(bytes[5], 1) << "zeroed once, not again";
    const auto entry = memory->map().lookup(GuestPhysical{4 * mib + 0x3000});
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->page_bytes, 2 * mib);
    EXPECT_EQ(entry->host, page.value());
    EXPECT_FALSE(memory->map().lookup(GuestPhysical{2 * mib}));
    EXPECT_FALSE(memory->map().lookup(GuestPhysical{6 * mib}));
}

TEST_F(DomainMemoryTest, ShowsZeroWhateverItsFramesHeldBefore)
{
    ASSERT_TRUE(create(16 * mib));
    for (std::uint64_t address = 0; address < 16 * mib; address += page_size)
        put(address + 8, ~address);
    memory.reset();
    ASSERT_TRUE(create(16 * mib + page_size));
    for (std::uint64_t address = 0; address < 16 * mib; address += page_size)
        ASSERT_EQ(get(address + 8), 0u) << std::hex << address;
}

TEST_F(DomainMemoryTest, LivesInSinglePagesWhereMemoryIsInPieces)
{
    std::vector<HostPhysical> taken;
    Ledger others;
    for (auto frame = frames.allocate(0, others); frame; frame = frames.allocate(0, others))
        taken.push_back(frame.value());
    for (std::size_t index = 0; index < taken.size(); index += 2)
        frames.release(taken[index], 0, others);
    const std::uint64_t free = frames.free_frames();

    ASSERT_TRUE(create(128 * page_size));
    for (std::uint64_t address = 0; address < 128 * page_size; address += page_size)
        put(address, address + 1);
    for (std::uint64_t address = 0; address < 128 * page_size; address += page_size) {
        ASSERT_EQ(get(address), address + 1);
        ASSERT_EQ(memory->map().lookup(GuestPhysical{address})->page_bytes, page_size);
    }
    EXPECT_TRUE(memory->is_ram(GuestPhysical{0}, 128 * page_size));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{1}, 128 * page_size));
    memory.reset();
    EXPECT_EQ(frames.free_frames(), free);
    EXPECT_FALSE(create(free * page_size)) << "no frame is left for its tables";
    EXPECT_LE(ledger.frames(), 1u);
    memory.reset();
    EXPECT_EQ(frames.free_frames(), free);
    for (std::size_t index = 1; index < taken.size(); index += 2)
        frames.release(taken[index], 0, others);
}

TEST_F(DomainMemoryTest, KnowsItsOwnPageUnderAnOverlay)
{
    ASSERT_TRUE(create(4 * mib));
    const auto own = memory->ram_page(GuestPhysical{0x7000});
    const auto overlay = frames.allocate(0, ledger);
    ASSERT_TRUE(own && overlay);
    ASSERT_TRUE(memory->map().replace(GuestPhysical{0x7000}, overlay.value(), page_size, access_read_only));
    EXPECT_EQ(memory->ram_page(GuestPhysical{0x7abc}).value(), own.value());
    EXPECT_EQ(memory->map().lookup(GuestPhysical{0x7000})->host, overlay.value());
    EXPECT_TRUE(memory->populate(GuestPhysical{0x7000}));
    frames.release(overlay.value(), 0, ledger);
}

TEST_F(DomainMemoryTest, SaysNoToAddressesThatAreNoRam)
{
    ASSERT_TRUE(create(4 * mib));
    for (const std::uint64_t address : {4 * mib, 3 * gib, 1ull << 40, 1ull << 48, 1ull << 63, ~0ull}) {
        EXPECT_FALSE(memory->is_ram(GuestPhysical{address}));
        EXPECT_FALSE(memory->populate(GuestPhysical{address}));
        EXPECT_EQ(memory->ram_page(GuestPhysical{address}).error(), Error::not_found);
    }
    EXPECT_TRUE(memory->is_ram(GuestPhysical{4 * mib - 1}, 1));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{4 * mib - 1}, 2));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{1}, ~0ull));
}

TEST_F(DomainMemoryTest, FailsToPopulateWithoutATableAndSucceedsOnceThereIsOne)
{
    ASSERT_TRUE(create(4 * mib));
    ledger.set_limit(ledger.frames());
    EXPECT_FALSE(memory->populate(GuestPhysical{0x1000}));
    EXPECT_FALSE(memory->ram_page(GuestPhysical{0x1000}));
    ledger.set_limit(Ledger::unlimited);
    EXPECT_TRUE(memory->populate(GuestPhysical{0x1000}));
}

TEST_F(LargeDomainMemoryTest, LeavesTheHoleOfDevicesFreeAndContinuesBehindIt)
{
    ASSERT_TRUE(create(3 * gib + 512 * mib));
    EXPECT_TRUE(memory->is_ram(GuestPhysical{3 * gib - 1}));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{3 * gib}));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{4 * gib - 1}));
    EXPECT_TRUE(memory->is_ram(GuestPhysical{4 * gib}));
    EXPECT_TRUE(memory->is_ram(GuestPhysical{4 * gib + 512 * mib - 1}));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{4 * gib + 512 * mib}));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{3 * gib - page_size}, 2 * page_size));
    put(3 * gib - 8, 0x11);
    put(4 * gib, 0x22);
    EXPECT_NE(memory->ram_page(GuestPhysical{3 * gib - page_size}).value(), memory->ram_page(GuestPhysical{4 * gib}).value());
    const std::uint64_t across{};
    EXPECT_FALSE(memory->guest().write(GuestPhysical{3 * gib - 4}, std::as_bytes(std::span{&across, 1})));
    EXPECT_EQ(get(3 * gib - 8), 0x11u);
    EXPECT_EQ(get(4 * gib), 0x22u);
}

TEST_F(LargeDomainMemoryTest, HasNothingBehindTheHoleWhenItEndsExactlyThere)
{
    ASSERT_TRUE(create(3 * gib));
    EXPECT_TRUE(memory->is_ram(GuestPhysical{0}, 3 * gib));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{4 * gib}));
    memory.reset();
    EXPECT_EQ(frames.free_frames(), free_at_first);
}
