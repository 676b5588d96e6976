// SPDX-License-Identifier: MIT
//
// Random sequences of operations against the simplest model there is: the set of blocks that are out.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "fake_platform.hpp"
#include "hv/core/memory/frame_allocator.hpp"

using namespace hv;
using namespace hv::core;

namespace {

struct Out {
    unsigned order;
    Ledger* owner;
};

class FrameAllocatorModel : public testing::TestWithParam<unsigned> {};

}  // namespace

TEST_P(FrameAllocatorModel, NeverHandsOutAFrameTwiceAndLosesNone)
{
    fake::reset_platform();
    FrameAllocator allocator;
    ASSERT_TRUE(allocator.add_range({HostPhysical{(3ull << 20) + 12345}, 9ull << 20}));
    ASSERT_TRUE(allocator.add_range({HostPhysical{64ull << 20}, 40 * page_size}));
    Ledger first{1500};
    Ledger second{Ledger::unlimited, &first};
    std::map<std::uint64_t, Out> out;
    std::uint64_t frames_out{0};
    std::mt19937 random{GetParam()};

    for (int step = 0; step < 20'000; ++step) {
        Ledger& owner = random() % 2 == 0 ? first : second;
        if (random() % 100 < 55) {
            const unsigned order = random() % 4 == 0 ? static_cast<unsigned>(random() % 10)
                                                     : static_cast<unsigned>(random() % 3);
            const auto block = allocator.allocate(order, owner);
            if (!block) {
                if (block.error() == Error::limit_reached) {
                    ASSERT_GT(frames_out + frames_of_order(order), 1500);
                }
                continue;
            }
            const std::uint64_t begin = block.value().page_number();
            const auto after = out.lower_bound(begin);
            ASSERT_TRUE(after == out.end() || after->first >= begin + frames_of_order(order));
            ASSERT_TRUE(after == out.begin() ||
                        std::prev(after)->first + frames_of_order(std::prev(after)->second.order) <= begin);
            ASSERT_EQ(begin % frames_of_order(order), 0);
            out.emplace(begin, Out{order, &owner});
            frames_out += frames_of_order(order);
        } else if (!out.empty()) {
            auto victim = out.lower_bound(random() % (65ull << 8));
            if (victim == out.end())
                victim = out.begin();
            allocator.release(HostPhysical{victim->first * page_size}, victim->second.order,
                              *victim->second.owner);
            frames_out -= frames_of_order(victim->second.order);
            out.erase(victim);
        }
        ASSERT_EQ(allocator.free_frames() + frames_out, allocator.total_frames());
        ASSERT_EQ(first.frames(), frames_out);
    }
    for (const auto& [frame, block] : out)
        allocator.release(HostPhysical{frame * page_size}, block.order, *block.owner);
    EXPECT_EQ(allocator.free_frames(), allocator.total_frames());
    EXPECT_EQ(second.frames(), 0);
    first.set_limit(Ledger::unlimited);
    const auto largest =
        allocator.allocate(10, first);  // everything has been joined again: 4 MiB in one piece
    ASSERT_TRUE(largest);
    allocator.release(largest.value(), 10, first);
}

INSTANTIATE_TEST_SUITE_P(Seeds, FrameAllocatorModel, testing::Values(1u, 2u, 3u, 4u, 5u));
