// SPDX-License-Identifier: MIT
//
// The common configuration structure: negotiation, queue registers and the reset that waits for the device.
#include "hv/core/virtio/transport_registers.hpp"

#include <gtest/gtest.h>

#include "fake_device_host.hpp"

namespace {

using namespace hv::core::virtio;

struct TransportRegistersTest : testing::Test {
    hv::test::FakeDeviceHost host{};
    TransportRegisters registers{host, VIRTIO_F_VERSION_1 | VIRTIO_CONSOLE_F_MULTIPORT, 2};

    void accept(std::uint64_t features)
    {
        registers.write(0x08, 4, 0);
        registers.write(0x0c, 4, features & 0xffff'ffff);
        registers.write(0x08, 4, 1);
        registers.write(0x0c, 4, features >> 32);
    }
    void start()
    {
        registers.write(0x14, 1, 1);
        registers.write(0x14, 1, 3);
        accept(VIRTIO_F_VERSION_1 | VIRTIO_CONSOLE_F_MULTIPORT);
        registers.write(0x14, 1, 0xb);
        registers.write(0x14, 1, 0xf);
    }
    std::uint64_t status() { return registers.read(0x14, 1); }
};

TEST_F(TransportRegistersTest, FeaturesAreOfferedInTwoHalves)
{
    registers.write(0x00, 4, 0);
    EXPECT_EQ(registers.read(0x04, 4), 2u);
    registers.write(0x00, 4, 1);
    EXPECT_EQ(registers.read(0x04, 4), 1u);
    registers.write(0x00, 4, 2);
    EXPECT_EQ(registers.read(0x04, 4), 0u);
}

TEST_F(TransportRegistersTest, FeaturesOkIsRefusedForTooFewAndTooMany)
{
    for (const std::uint64_t features :
         {std::uint64_t{0}, VIRTIO_F_VERSION_1, VIRTIO_CONSOLE_F_MULTIPORT, VIRTIO_F_VERSION_1 | 6}) {
        registers.write(0x14, 1, 3);
        accept(features);
        registers.write(0x14, 1, 0xb);
        EXPECT_EQ(status(), 3u) << features;
        registers.write(0x14, 1, 0xf);
        EXPECT_EQ(status(), 3u) << "no DRIVER_OK without FEATURES_OK";
    }
}

TEST_F(TransportRegistersTest, DriverOkStartsTheDeviceAndKicks)
{
    EXPECT_FALSE(registers.running());
    start();
    EXPECT_EQ(status(), 0xfu);
    EXPECT_TRUE(registers.running());
    EXPECT_GE(host.kicks, 1u);
    accept(0);
    EXPECT_EQ(registers.read(0x0c, 4), 1u) << "features are fixed now";
}

TEST_F(TransportRegistersTest, StatusBitsAreOnlyAdded)
{
    registers.write(0x14, 1, 3);
    registers.write(0x14, 1, 1);
    EXPECT_EQ(status(), 3u);
    registers.write(0x14, 1, 0x40 | 0x30);
    EXPECT_EQ(status(), 3u) << "a driver cannot set the device's bits";
}

TEST_F(TransportRegistersTest, ResetBeforeDriverOkIsImmediate)
{
    registers.write(0x14, 1, 3);
    registers.write(0x16, 2, 5);
    registers.write(0x20, 8, 0x1000);
    registers.write(0x14, 1, 0);
    EXPECT_EQ(status(), 0u);
    EXPECT_FALSE(registers.reset_requested());
    registers.write(0x16, 2, 5);
    EXPECT_EQ(registers.read(0x20, 8), 0u);
}

TEST_F(TransportRegistersTest, ResetOfARunningDeviceIsSeenOnlyWhenTheDeviceLetGo)
{
    start();
    registers.notify(7);
    host.kicks = 0;
    registers.write(0x14, 1, 0);
    EXPECT_EQ(host.kicks, 1u);
    EXPECT_TRUE(registers.reset_requested());
    EXPECT_FALSE(registers.running());
    EXPECT_NE(status(), 0u);
    registers.write(0x16, 2, 5);
    EXPECT_EQ(registers.read(0x16, 2), 0u) << "nothing can be written meanwhile";
    registers.finish_reset();
    EXPECT_EQ(status(), 0u);
    EXPECT_FALSE(registers.any_notification());
    start();
    EXPECT_TRUE(registers.running());
}

TEST_F(TransportRegistersTest, QueueRegistersBelongToTheSelectedQueue)
{
    registers.write(0x16, 2, 4);
    EXPECT_EQ(registers.read(0x18, 2), TransportRegisters::maximum_queue_size);
    EXPECT_EQ(registers.read(0x1e, 2), 4u);
    registers.write(0x18, 2, 8);
    registers.write(0x1a, 2, 1);
    registers.write(0x20, 4, 0x2000);
    registers.write(0x24, 4, 0x1);
    registers.write(0x28, 8, 0x3000);
    registers.write(0x30, 8, 0x4000);
    EXPECT_FALSE(registers.enabled_queue(4).has_value());
    registers.write(0x1c, 2, 1);
    const auto layout = registers.enabled_queue(4);
    ASSERT_TRUE(layout.has_value());
    EXPECT_EQ(layout->descriptors.raw(), 0x1'0000'2000u);
    EXPECT_EQ(layout->available.raw(), 0x3000u);
    EXPECT_EQ(layout->used.raw(), 0x4000u);
    EXPECT_EQ(layout->size, 8u);
    EXPECT_EQ(registers.queue_vector(4), 1u);
    registers.write(0x16, 2, 5);
    EXPECT_EQ(registers.read(0x1c, 2), 0u);
    EXPECT_EQ(registers.read(0x20, 8), 0u);
}

TEST_F(TransportRegistersTest, EnabledQueueCannotBeChanged)
{
    registers.write(0x16, 2, 0);
    registers.write(0x20, 8, 0x2000);
    registers.write(0x1c, 2, 1);
    registers.write(0x20, 8, 0x9000);
    registers.write(0x18, 2, 4);
    registers.write(0x1c, 2, 0);
    EXPECT_EQ(registers.enabled_queue(0)->descriptors.raw(), 0x2000u);
    EXPECT_EQ(registers.enabled_queue(0)->size, TransportRegisters::maximum_queue_size);
}

TEST_F(TransportRegistersTest, QueueThatDoesNotExistHasSizeZero)
{
    registers.write(0x16, 2, TransportRegisters::maximum_queues);
    EXPECT_EQ(registers.read(0x18, 2), 0u);
    registers.write(0x1c, 2, 1);
    EXPECT_EQ(registers.read(0x1c, 2), 0u);
    registers.notify(TransportRegisters::maximum_queues);
    EXPECT_FALSE(registers.any_notification());
}

TEST_F(TransportRegistersTest, VectorThatDoesNotExistReadsBackAsNone)
{
    registers.write(0x10, 2, 1);
    EXPECT_EQ(registers.read(0x10, 2), 1u);
    registers.write(0x10, 2, 2);
    EXPECT_EQ(registers.read(0x10, 2), 0xffffu);
}

TEST_F(TransportRegistersTest, AccessOverTwoFieldsOrBeyondTheLastDoesNothing)
{
    registers.write(0x16, 4, 0x0008'0001);
    EXPECT_EQ(registers.read(0x16, 2), 0u);
    EXPECT_EQ(registers.read(0x16, 4), 0u);
    EXPECT_EQ(registers.read(0x38, 4), 0u);
    registers.write(0x38, 4, ~0u);
}

TEST_F(TransportRegistersTest, NotificationIsTakenOnceAndKicksOnce)
{
    start();
    host.kicks = 0;
    registers.notify(131);
    registers.notify(131);
    EXPECT_EQ(host.kicks, 1u);
    EXPECT_TRUE(registers.take_notification(131));
    EXPECT_FALSE(registers.take_notification(131));
    registers.notify(131);
    EXPECT_EQ(host.kicks, 2u);
}

TEST_F(TransportRegistersTest, IsrIsClearedByReading)
{
    registers.raise_isr(isr_queue);
    registers.raise_isr(isr_configuration);
    EXPECT_EQ(registers.read_isr(), 3u);
    EXPECT_EQ(registers.read_isr(), 0u);
}

}  // namespace
