// SPDX-License-Identifier: MIT
#include "hv/core/memory/frame_allocator.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "fake_platform.hpp"

using namespace hv;
using namespace hv::core;

namespace {

constexpr std::uint64_t mebibyte{1ull << 20};

HostRange range(std::uint64_t begin, std::uint64_t bytes)
{
    return {HostPhysical{begin}, bytes};
}

class FrameAllocatorTest : public testing::Test {
protected:
    void SetUp() override { fake::reset_platform(); }

    /// A zone of which exactly `frames` can be handed out, beginning at a multiple of their size.
    void add_zone(std::uint64_t begin, std::uint64_t frames)
    {
        const std::uint64_t records = (frames * 8 + page_size - 1) / page_size + 1;
        ASSERT_TRUE(allocator.add_range(range(begin - records * page_size, (frames + records) * page_size)));
    }

    FrameAllocator allocator;
    Ledger ledger;
};

}  // namespace

TEST_F(FrameAllocatorTest, HandsOutAlignedBlocksOfEveryOrder)
{
    ASSERT_TRUE(allocator.add_range(range(16 * mebibyte, 3072 * mebibyte)));
    for (unsigned order = 0; order <= maximum_order; ++order) {
        const auto block = allocator.allocate(order, ledger);
        ASSERT_TRUE(block) << order;
        EXPECT_EQ(block.value().raw() % (page_size << order), 0) << order;
        EXPECT_EQ(ledger.frames(), frames_of_order(order));
        EXPECT_EQ(allocator.order_of(block.value()), order);
        allocator.release(block.value(), order, ledger);
        EXPECT_EQ(ledger.frames(), 0);
    }
    EXPECT_EQ(allocator.allocate(maximum_order + 1, ledger).error(), Error::out_of_range);
    EXPECT_EQ(allocator.free_frames(), allocator.total_frames());
}

TEST_F(FrameAllocatorTest, UsesEveryFrameOfARangeButThoseOfItsRecords)
{
    ASSERT_TRUE(
        allocator.add_range(range(16 * mebibyte + 100, 1024 * page_size)));  // loses a page at either end
    EXPECT_EQ(allocator.total_frames(), 1023 - 2);
    std::vector<HostPhysical> blocks;
    for (auto block = allocator.allocate(0, ledger); block; block = allocator.allocate(0, ledger))
        blocks.push_back(block.value());
    EXPECT_EQ(blocks.size(), allocator.total_frames());
    EXPECT_EQ(allocator.free_frames(), 0);
    for (const HostPhysical block : blocks) {
        EXPECT_GE(block.raw(), 16 * mebibyte + 3 * page_size);
        EXPECT_LT(block.raw(), 16 * mebibyte + 1024 * page_size);
        allocator.release(block, 0, ledger);
    }
    EXPECT_EQ(allocator.free_frames(), allocator.total_frames());
}

TEST_F(FrameAllocatorTest, SaysNoMemoryAndChargesNothing)
{
    add_zone(64 * mebibyte, 256);
    const auto block = allocator.allocate(8, ledger);
    ASSERT_TRUE(block);
    EXPECT_EQ(allocator.allocate(8, ledger).error(), Error::no_memory);
    EXPECT_EQ(ledger.frames(), 256);
    allocator.release(block.value(), 8, ledger);
}

TEST_F(FrameAllocatorTest, RespectsTheLedgersLimitAndTakesNothing)
{
    add_zone(64 * mebibyte, 256);
    Ledger small{7};
    const std::uint64_t before = allocator.free_frames();
    EXPECT_EQ(allocator.allocate(3, small).error(), Error::limit_reached);
    EXPECT_EQ(allocator.free_frames(), before);
    EXPECT_EQ(small.frames(), 0);
}

TEST_F(FrameAllocatorTest, JoinsBlocksAgainWhenTheirBuddiesAreFree)
{
    add_zone(64 * mebibyte, 256);
    std::vector<HostPhysical> blocks;
    for (int count = 0; count < 256; ++count)
        blocks.push_back(allocator.allocate(0, ledger).value());
    for (std::size_t index = 0; index < blocks.size(); index += 2)
        allocator.release(blocks[index], 0, ledger);
    EXPECT_EQ(allocator.allocate(1, ledger).error(), Error::no_memory);
    for (std::size_t index = 1; index < blocks.size(); index += 2)
        allocator.release(blocks[index], 0, ledger);
    const auto whole = allocator.allocate(8, ledger);
    ASSERT_TRUE(whole);
    EXPECT_EQ(whole.value(), HostPhysical{64 * mebibyte});
    allocator.release(whole.value(), 8, ledger);
}

TEST_F(FrameAllocatorTest, NeverJoinsAcrossZones)
{
    ASSERT_TRUE(allocator.add_range(range(64 * mebibyte - 2 * page_size, 129 * page_size)));
    ASSERT_TRUE(allocator.add_range(range(64 * mebibyte + 127 * page_size, 2 * page_size)));
    EXPECT_EQ(allocator.total_frames(), 128 + 1);
    EXPECT_EQ(allocator.allocate(8, ledger).error(), Error::no_memory);
}

TEST_F(FrameAllocatorTest, RefusesRangesThatAreOfNoUse)
{
    EXPECT_EQ(allocator.add_range(range(mebibyte, 0)).error(), Error::invalid_argument);
    EXPECT_EQ(allocator.add_range(range(mebibyte, page_size)).error(), Error::invalid_argument);
    EXPECT_EQ(allocator.add_range(range(mebibyte + 1, page_size)).error(), Error::invalid_argument);
    EXPECT_EQ(allocator.add_range(range(~0ull - 10, 100)).error(), Error::invalid_argument);
    EXPECT_EQ(allocator.total_frames(), 0);
}

TEST_F(FrameAllocatorTest, TransfersABlockToAnotherOwnerAndItsLedger)
{
    add_zone(64 * mebibyte, 256);
    Ledger other{8};
    const HostPhysical block = allocator.allocate(3, ledger).value();
    ASSERT_TRUE(allocator.transfer(block, 3, ledger, other));
    EXPECT_EQ(ledger.frames(), 0);
    EXPECT_EQ(other.frames(), 8);
    const HostPhysical second = allocator.allocate(0, ledger).value();
    EXPECT_EQ(allocator.transfer(second, 0, ledger, other).error(), Error::limit_reached);
    EXPECT_EQ(ledger.frames(), 1);
    allocator.release(second, 0, ledger);  // still the first one's
    allocator.release(block, 3, other);
}

TEST_F(FrameAllocatorTest, AnOwnedBlockGivesItselfBack)
{
    add_zone(64 * mebibyte, 256);
    {
        auto owned = OwnedFrames::allocate(allocator, 2, ledger);
        ASSERT_TRUE(owned);
        OwnedFrames moved{std::move(owned.value())};
        EXPECT_EQ(moved.bytes(), 4 * page_size);
        EXPECT_EQ(ledger.frames(), 4);
    }
    EXPECT_EQ(ledger.frames(), 0);
    EXPECT_EQ(allocator.free_frames(), allocator.total_frames());
}

using FrameAllocatorDeathTest = FrameAllocatorTest;

TEST_F(FrameAllocatorDeathTest, ABlockGivenBackTwiceIsCaught)
{
    add_zone(64 * mebibyte, 256);
    const HostPhysical block = allocator.allocate(0, ledger).value();
    allocator.release(block, 0, ledger);
    EXPECT_DEATH(allocator.release(block, 0, ledger), "State::used");
}

TEST_F(FrameAllocatorDeathTest, WhatWasNeverHandedOutIsCaught)
{
    add_zone(64 * mebibyte, 256);
    const HostPhysical block = allocator.allocate(2, ledger).value();
    EXPECT_DEATH(allocator.release(block.plus(page_size), 0, ledger), "State::used");  // inside a block
    EXPECT_DEATH(allocator.release(block, 1, ledger), "record.order == order");
    EXPECT_DEATH(allocator.release(block.plus(8), 2, ledger), "page_offset");
    EXPECT_DEATH(allocator.release(HostPhysical{mebibyte}, 0, ledger), "zone != nullptr");
    allocator.release(block, 2, ledger);
}

TEST_F(FrameAllocatorDeathTest, AnothersBlockIsCaught)
{
    add_zone(64 * mebibyte, 256);
    Ledger other;
    ASSERT_TRUE(other.charge(4));
    const HostPhysical block = allocator.allocate(2, ledger).value();
    EXPECT_DEATH(allocator.release(block, 2, other), "owner == ledger.identity");
    allocator.release(block, 2, ledger);
    other.refund(4);
}
