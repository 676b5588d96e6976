// SPDX-License-Identifier: MIT
#include "hv/core/memory/heap.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

#include "fake_platform.hpp"

using namespace hv;
using namespace hv::core;

namespace {

class HeapTest : public testing::Test {
protected:
    void SetUp() override
    {
        fake::reset_platform();
        ASSERT_TRUE(frames.add_range({HostPhysical{16ull << 20}, 64ull << 20}));
    }

    FrameAllocator frames;
    Ledger ledger;
};

/// Counts itself, so that a test sees who is alive.
struct Counted {
    explicit Counted(int& count, int number) : count_{count}, value{number} { ++count_; }
    ~Counted() { --count_; }
    int& count_;
    int value;
};

}  // namespace

TEST_F(HeapTest, GivesZeroedAlignedMemoryOfEverySize)
{
    Heap heap{frames, ledger};
    for (std::size_t alignment = 1; alignment <= page_size; alignment *= 2)
        for (const std::size_t bytes :
             {1ul, 16ul, 33ul, 100ul, 500ul, 1025ul, 2000ul, 2001ul, 4096ul, 5000ul, 100'000ul}) {
            void* const memory = heap.allocate(bytes, alignment);
            ASSERT_NE(memory, nullptr);
            EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % alignment, 0) << bytes << ' ' << alignment;
            for (std::size_t index = 0; index < bytes; ++index)
                ASSERT_EQ(static_cast<unsigned char*>(memory)[index], 0);
            std::memset(memory, 0xff, bytes);
            heap.release(memory);
        }
    EXPECT_EQ(ledger.frames(), 0);
    EXPECT_EQ(heap.allocations(), 0);
}

TEST_F(HeapTest, SharesOnePageAmongSmallObjects)
{
    Heap heap{frames, ledger};
    void* objects[60];
    for (void*& object : objects)
        object = heap.allocate(48);
    EXPECT_EQ(ledger.frames(), 1);
    for (void* const object : objects)
        heap.release(object);
    EXPECT_EQ(ledger.frames(), 0);
}

TEST_F(HeapTest, SaysNothingIsLeftAndKeepsWhatItHas)
{
    Ledger small{2};
    Heap heap{frames, small};
    void* const first = heap.allocate(page_size);
    void* const second = heap.allocate(page_size);
    ASSERT_NE(second, nullptr);
    EXPECT_EQ(heap.allocate(16), nullptr);
    EXPECT_EQ(heap.allocate(page_size), nullptr);
    EXPECT_EQ(small.frames(), 2);
    EXPECT_EQ(heap.allocations(), 2);
    heap.release(first);
    heap.release(second);
}

TEST_F(HeapTest, MakesAndDestroysObjects)
{
    Heap heap{frames, ledger};
    int alive{0};
    {
        auto made = make<Counted>(heap, alive, 7);
        ASSERT_TRUE(made);
        EXPECT_EQ(made.value()->value, 7);
        EXPECT_EQ(alive, 1);
        Owned<Counted> moved{std::move(made.value())};
        EXPECT_EQ(alive, 1);
        Counted* const leaked = moved.leak();
        destroy(heap, leaked);
        EXPECT_EQ(alive, 0);
    }
    EXPECT_EQ(ledger.frames(), 0);
}

TEST_F(HeapTest, MakeSaysNoMemory)
{
    Ledger nothing{0};
    Heap heap{frames, nothing};
    int alive{0};
    EXPECT_EQ(make<Counted>(heap, alive, 1).error(), Error::no_memory);
    EXPECT_EQ(alive, 0);
}

TEST_F(HeapTest, SurvivesRandomUseWithoutOverlapOrLeak)
{
    struct Object {
        std::size_t bytes;
        unsigned char pattern;
    };
    Heap heap{frames, ledger};
    std::map<void*, Object> live;
    std::mt19937 random{42};
    for (int step = 0; step < 30'000; ++step) {
        if (random() % 100 < 52) {
            const std::size_t bytes = random() % 20 == 0 ? random() % 20'000 + 1 : random() % 700 + 1;
            void* const memory = heap.allocate(bytes, std::size_t{1} << random() % 7);
            ASSERT_NE(memory, nullptr);
            const auto pattern = static_cast<unsigned char>(random());
            std::memset(memory, pattern, bytes);
            live.emplace(memory, Object{bytes, pattern});
        } else if (!live.empty()) {
            auto victim =
                std::next(live.begin(), static_cast<long>(random() % std::min<std::size_t>(live.size(), 50)));
            for (std::size_t index = 0; index < victim->second.bytes; ++index)
                ASSERT_EQ(static_cast<unsigned char*>(victim->first)[index], victim->second.pattern);
            heap.release(victim->first);
            live.erase(victim);
        }
    }
    for (const auto& [memory, object] : live)
        heap.release(memory);
    EXPECT_EQ(ledger.frames(), 0);
    EXPECT_EQ(frames.free_frames(), frames.total_frames());
}

using HeapDeathTest = HeapTest;

TEST_F(HeapDeathTest, WhatIsGivenBackTwiceOrElsewhereIsCaught)
{
    Heap heap{frames, ledger};
    Heap other{frames, ledger};
    void* const keep = heap.allocate(100);
    void* const memory = heap.allocate(100);
    heap.release(memory);
    EXPECT_DEATH(heap.release(memory), "live");
    EXPECT_DEATH(other.release(keep), "heap == this");
    EXPECT_DEATH(heap.release(static_cast<char*>(keep) + 8), "first_slot");
    heap.release(keep);
}

TEST_F(HeapDeathTest, AHeapThatStillHoldsSomethingDoesNotDie)
{
    EXPECT_DEATH(
        {
            Heap heap(frames, ledger);
            (void)heap.allocate(8);
        },
        "allocations_ == 0");
}
