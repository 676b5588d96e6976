// SPDX-License-Identifier: MIT
//
// The device's end of a split virtqueue against a driver that keeps the rules, and against one that breaks
// each of them.
#include "hv/core/virtio/virtqueue.hpp"

#include <gtest/gtest.h>

#include "fake_device_host.hpp"

namespace {

using namespace hv::core::virtio;
using hv::Error;
using hv::GuestPhysical;

struct VirtqueueTest : testing::Test {
    static constexpr std::uint16_t size{8};
    hv::test::FakeDeviceHost host{};
    std::uint64_t descriptors{host.allocate(4096)};
    std::uint64_t available{host.allocate(4096)};
    std::uint64_t used{host.allocate(4096)};
    std::uint64_t data{host.allocate(16 * 4096)};
    QueueLayout layout{GuestPhysical{descriptors}, GuestPhysical{available}, GuestPhysical{used}, size};
    Virtqueue queue{};
    Chain chain{};
    std::uint16_t index{0};

    void SetUp() override { ASSERT_TRUE(queue.attach(host, layout).has_value()); }
    void describe(std::uint16_t which, std::uint64_t address, std::uint32_t length, std::uint16_t flags,
                  std::uint16_t next = 0)
    {
        host.put(descriptors + 16u * which, Descriptor{address, length, flags, next});
    }
    void offer(std::uint16_t head)
    {
        host.put<std::uint16_t>(available + 4 + 2u * (index % size), head);
        host.put<std::uint16_t>(available + 2, ++index);
    }
    bool found()
    {
        const auto result = queue.peek(chain);
        EXPECT_TRUE(result.has_value());
        return result.has_value() && result.value();
    }
    bool refused()
    {
        const auto result = queue.peek(chain);
        return !result.has_value() && host.get<std::uint16_t>(used + 2) == 0;
    }
};

TEST_F(VirtqueueTest, EmptyQueueHasNothing)
{
    EXPECT_FALSE(found());
    EXPECT_FALSE(queue.take_interrupt());
}

TEST_F(VirtqueueTest, ChainIsReadInOrderAndGivenBack)
{
    describe(3, data, 10, VIRTQ_DESC_F_NEXT, 5);
    describe(5, data + 4096, 20, VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT, 0);
    describe(0, data + 8192, 30, VIRTQ_DESC_F_WRITE);
    offer(3);
    ASSERT_TRUE(found());
    EXPECT_EQ(chain.head, 3u);
    ASSERT_EQ(chain.buffers.size(), 3u);
    EXPECT_FALSE(chain.buffers[0].writable);
    EXPECT_TRUE(chain.buffers[1].writable);
    EXPECT_EQ(chain.buffers[2].bytes.size(), 30u);
    EXPECT_TRUE(found()) << "it stays the oldest until it is completed";
    queue.complete(chain, 17);
    EXPECT_FALSE(found());
    EXPECT_EQ(host.get<std::uint16_t>(used + 2), 1u);
    EXPECT_EQ(host.get<std::uint32_t>(used + 4), 3u);
    EXPECT_EQ(host.get<std::uint32_t>(used + 8), 17u);
}

TEST_F(VirtqueueTest, IndexesWrapAroundRingAndSixteenBits)
{
    describe(2, data, 1, 0);
    for (unsigned round = 0; round < 70'000; ++round) {
        offer(2);
        ASSERT_TRUE(found());
        queue.complete(chain, 0);
    }
    EXPECT_EQ(host.get<std::uint16_t>(used + 2), static_cast<std::uint16_t>(70'000));
    EXPECT_FALSE(found());
}

TEST_F(VirtqueueTest, InterruptIsWantedUnlessTheDriverSaysNotAndOnlyAfterCompletion)
{
    describe(0, data, 1, 0);
    offer(0);
    ASSERT_TRUE(found());
    EXPECT_FALSE(queue.take_interrupt());
    queue.complete(chain, 0);
    EXPECT_TRUE(queue.take_interrupt());
    EXPECT_FALSE(queue.take_interrupt());
    host.put<std::uint16_t>(available, VIRTQ_AVAIL_F_NO_INTERRUPT);
    offer(0);
    ASSERT_TRUE(found());
    queue.complete(chain, 0);
    EXPECT_FALSE(queue.take_interrupt());
}

TEST_F(VirtqueueTest, NotificationsAreSwitchedInTheUsedRing)
{
    queue.want_notifications(false);
    EXPECT_EQ(host.get<std::uint16_t>(used), VIRTQ_USED_F_NO_NOTIFY);
    queue.want_notifications(true);
    EXPECT_EQ(host.get<std::uint16_t>(used), 0u);
}

TEST_F(VirtqueueTest, LoopIsRefused)
{
    describe(0, data, 1, VIRTQ_DESC_F_NEXT, 1);
    describe(1, data, 1, VIRTQ_DESC_F_NEXT, 0);
    offer(0);
    EXPECT_TRUE(refused());
}

TEST_F(VirtqueueTest, ChainOfTheWholeTableIsAccepted)
{
    for (std::uint16_t i = 0; i < size; ++i)
        describe(i, data, 1, i + 1 < size ? VIRTQ_DESC_F_NEXT : std::uint16_t{0},
                 static_cast<std::uint16_t>(i + 1));
    offer(0);
    ASSERT_TRUE(found());
    EXPECT_EQ(chain.buffers.size(), std::size_t{size});
}

TEST_F(VirtqueueTest, HeadAndNextBeyondTheTableAreRefused)
{
    offer(size);
    EXPECT_TRUE(refused());
    describe(0, data, 1, VIRTQ_DESC_F_NEXT, size);
    host.put<std::uint16_t>(available + 4, 0);
    EXPECT_TRUE(refused());
}

TEST_F(VirtqueueTest, MoreAvailableThanTheRingHoldsIsRefused)
{
    host.put<std::uint16_t>(available + 2, size + 1);
    EXPECT_TRUE(refused());
    host.put<std::uint16_t>(available + 2, 0xffff);
    EXPECT_TRUE(refused());
}

TEST_F(VirtqueueTest, ReadableBehindWritableIsRefused)
{
    describe(0, data, 1, VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT, 1);
    describe(1, data, 1, 0);
    offer(0);
    EXPECT_TRUE(refused());
}

TEST_F(VirtqueueTest, IndirectTableThatWasNotOfferedIsRefused)
{
    describe(0, data, 16, VIRTQ_DESC_F_INDIRECT);
    offer(0);
    EXPECT_TRUE(refused());
}

TEST_F(VirtqueueTest, AddressesOutsideTheDriversMemoryAreRefused)
{
    const std::uint64_t end{hv::test::FakeDeviceHost::memory_base + hv::test::FakeDeviceHost::memory_bytes};
    offer(0);
    for (const auto& [address, length] : {std::pair<std::uint64_t, std::uint32_t>{0, 1},
                                          {end - 1, 2},
                                          {end, 1},
                                          {~0ull, 2},
                                          {data, 0xffff'ffff},
                                          {~0ull - 10, 11}}) {
        describe(0, address, length, 0);
        EXPECT_TRUE(refused()) << address << " " << length;
    }
    describe(0, end - 1, 1, 0);
    EXPECT_TRUE(found());
}

TEST_F(VirtqueueTest, EmptyDescriptorNeedsNoAddress)
{
    describe(0, 0, 0, 0);
    offer(0);
    ASSERT_TRUE(found());
    EXPECT_TRUE(chain.buffers[0].bytes.empty());
}

TEST_F(VirtqueueTest, AttachRefusesBadSizesAndPlacesAndChangesNothing)
{
    const auto refused_layout = [&](QueueLayout bad) {
        return !queue.attach(host, bad).has_value() && queue.attached();
    };
    for (const unsigned bad_size : {0u, 3u, 33u, 64u, 0x8000u}) {
        QueueLayout bad{layout};
        bad.size = static_cast<std::uint16_t>(bad_size);
        EXPECT_TRUE(refused_layout(bad)) << bad_size;
    }
    QueueLayout bad{layout};
    bad.descriptors = GuestPhysical{descriptors + 8};
    EXPECT_TRUE(refused_layout(bad));
    bad = layout;
    bad.available = GuestPhysical{available + 1};
    EXPECT_TRUE(refused_layout(bad));
    bad = layout;
    bad.used = GuestPhysical{used + 2};
    EXPECT_TRUE(refused_layout(bad));
    bad = layout;
    bad.used = GuestPhysical{~0ull & ~3ull};
    EXPECT_TRUE(refused_layout(bad));
    bad = layout;
    bad.available = GuestPhysical{0};
    EXPECT_TRUE(refused_layout(bad));
}

}  // namespace
