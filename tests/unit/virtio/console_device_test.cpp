// SPDX-License-Identifier: MIT
//
// The multiport handshake and the two byte streams of a port, driven by a model of a stock kernel's driver.
#include "hv/core/virtio/console_device.hpp"

#include <gtest/gtest.h>

#include "model_driver.hpp"

namespace {

using namespace hv::core::virtio;
using hv::Error;
using hv::test::FakeBackend;
using hv::test::ModelDriver;

struct ConsoleDeviceTest : testing::Test {
    hv::test::FakeDeviceHost host{};
    ConsoleDevice device{host};
    ModelDriver driver{device, host};
    FakeBackend control{};
    FakeBackend console{};

    /// Port 0 offered, driver probed, handshake done.
    void start()
    {
        ASSERT_TRUE(device.open_port(0, "graft.control", control).has_value());
        driver.probe();
        ASSERT_EQ(driver.messages().size(), 3u);
    }
    /// Port 1 offered and opened by the driver's user.
    void start_console()
    {
        start();
        ASSERT_TRUE(device.open_port(1, "graft.console.1", console).has_value());
        ASSERT_EQ(driver.messages().size(), 3u);
        driver.open(1);
        driver.work();
    }
    static bool is(const ModelDriver::Message& message, unsigned port, ConsoleEvent event, unsigned value)
    {
        return message.control.port == port && message.control.event == static_cast<std::uint16_t>(event) &&
               message.control.value == value;
    }
};

TEST_F(ConsoleDeviceTest, PortsAreAddedNamedAndOpenedInThatOrder)
{
    ASSERT_TRUE(device.open_port(0, "graft.control", control).has_value());
    driver.probe();
    EXPECT_EQ(driver.maximum_ports, 65u);
    const auto messages = driver.messages();
    ASSERT_EQ(messages.size(), 3u);
    EXPECT_TRUE(is(messages[0], 0, ConsoleEvent::PORT_ADD, 1));
    EXPECT_TRUE(is(messages[1], 0, ConsoleEvent::PORT_NAME, 1));
    EXPECT_EQ(messages[1].name, "graft.control");
    EXPECT_TRUE(is(messages[2], 0, ConsoleEvent::PORT_OPEN, 1));
}

TEST_F(ConsoleDeviceTest, PortThatComesLaterIsAnnounced)
{
    start();
    ASSERT_TRUE(device.open_port(64, "graft.console.64", console).has_value());
    const auto messages = driver.messages();
    ASSERT_EQ(messages.size(), 3u);
    EXPECT_TRUE(is(messages[0], 64, ConsoleEvent::PORT_ADD, 1));
    EXPECT_EQ(messages[1].name, "graft.console.64");
}

TEST_F(ConsoleDeviceTest, AllPortsAtOnceAreAnnouncedThroughASmallQueue)
{
    std::vector<FakeBackend> backends(ConsoleDevice::ports);
    for (unsigned port = 0; port < ConsoleDevice::ports; ++port)
        ASSERT_TRUE(device.open_port(port, "p" + std::to_string(port), backends[port]).has_value());
    driver.probe();
    std::map<unsigned, std::string> seen{};
    for (const auto& message : driver.messages())
        seen[message.control.port] += static_cast<char>('0' + message.control.event);
    EXPECT_EQ(seen.size(), ConsoleDevice::ports);
    for (const auto& [port, events] : seen)
        EXPECT_EQ(events, "176") << port;
}

TEST_F(ConsoleDeviceTest, BytesFromTheDriverArriveInOrderWithOneInterrupt)
{
    start_console();
    const auto interrupts = host.sent.size();
    ASSERT_TRUE(driver.write(1, "hello "));
    ASSERT_TRUE(driver.write(1, "world"));
    driver.work();
    EXPECT_EQ(console.received, "hello world");
    ASSERT_EQ(host.sent.size(), interrupts + 1);
    EXPECT_EQ(host.sent.back().data, 0x51u) << "the queues' vector";
}

TEST_F(ConsoleDeviceTest, BytesToTheDriverFillItsBuffers)
{
    start_console();
    std::string text{};
    for (unsigned i = 0; i < 1000; ++i)
        text += static_cast<char>('a' + i % 26);
    console.to_give = text;
    device.wake(1);
    driver.work();
    EXPECT_EQ(driver.read(1), text);
}

TEST_F(ConsoleDeviceTest, WhatTheBackendCannotTakeWaitsAndIsNotLost)
{
    start_console();
    console.room = 3;
    ASSERT_TRUE(driver.write(1, "abcdef"));
    ASSERT_TRUE(driver.write(1, "ghi"));
    driver.work();
    EXPECT_EQ(console.received, "abc");
    EXPECT_FALSE(driver.collect(transmit_queue(1))) << "a buffer goes back only when all of it was taken";
    console.room = 4;
    device.wake(1);
    driver.work();
    EXPECT_EQ(console.received, "abcdefg");
    console.room = 100;
    device.wake(1);
    driver.work();
    EXPECT_EQ(console.received, "abcdefghi");
}

TEST_F(ConsoleDeviceTest, WhatTheDriverHasNoRoomForWaitsAndIsNotLost)
{
    start_console();
    std::string text(5000, 'x');
    for (std::size_t i = 0; i < text.size(); ++i)
        text[i] = static_cast<char>('a' + i % 23);
    console.to_give = text;
    device.wake(1);
    driver.work();
    EXPECT_FALSE(console.to_give.empty());
    std::string got{};
    for (unsigned round = 0; round < 10; ++round) {
        got += driver.read(1);
        driver.work();
    }
    EXPECT_EQ(got, text);
}

TEST_F(ConsoleDeviceTest, NothingIsSentToAPortThatNobodyOpened)
{
    start();
    ASSERT_TRUE(device.open_port(1, "graft.console.1", console).has_value());
    driver.messages();
    driver.fill(receive_queue(1));
    console.to_give = "early";
    device.wake(1);
    driver.work();
    EXPECT_EQ(driver.read(1), "");
    driver.open(1);
    driver.work();
    EXPECT_EQ(driver.read(1), "early");
    EXPECT_EQ(console.log, "o");
}

TEST_F(ConsoleDeviceTest, RefillingARestingPortNotifiesNobody)
{
    start_console();
    console.to_give = "x";
    device.wake(1);
    driver.work();
    host.kicks = 0;
    EXPECT_EQ(driver.read(1), "x");
    EXPECT_EQ(host.kicks, 0u) << "the device has nothing to put there";
}

TEST_F(ConsoleDeviceTest, ClosingByTheDriverEndsTheStreamAndDropsWhatWasNotTaken)
{
    start_console();
    console.room = 2;
    ASSERT_TRUE(driver.write(1, "old"));
    driver.close(1);
    driver.work();
    EXPECT_EQ(console.received, "ol");
    EXPECT_EQ(console.log, "oc");
    console.room = 100;
    driver.open(1);
    ASSERT_TRUE(driver.write(1, "new"));
    driver.work();
    EXPECT_EQ(console.received, "olnew");
    EXPECT_EQ(console.log, "oco");
}

TEST_F(ConsoleDeviceTest, WriteImmediatelyBeforeClosingIsTaken)
{
    start_console();
    ASSERT_TRUE(driver.write(1, "last words"));
    driver.close(1);
    driver.work();
    EXPECT_EQ(console.received, "last words");
}

TEST_F(ConsoleDeviceTest, ClosedPortIsReadToItsEndBeforeItGoes)
{
    start_console();
    console.to_give = std::string(4000, 'z');
    ASSERT_TRUE(device.close_port(1).has_value());
    std::string got{};
    EXPECT_TRUE(driver.messages().empty()) << "the driver has not room for all of it yet";
    got += driver.read(1);
    driver.work();
    got += driver.read(1);
    auto messages = driver.messages();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_TRUE(is(messages[0], 1, ConsoleEvent::PORT_OPEN, 0));
    EXPECT_EQ(got.size(), 4000u);
    EXPECT_EQ(console.log, "o");
    EXPECT_EQ(device.open_port(1, "again", control).error(), Error::busy);
    driver.close(1);
    messages = driver.messages();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_TRUE(is(messages[0], 1, ConsoleEvent::PORT_REMOVE, 1));
    EXPECT_EQ(console.log, "ocr");
}

TEST_F(ConsoleDeviceTest, ClosedPortThatNobodyReadsGoesAtOnce)
{
    start();
    ASSERT_TRUE(device.open_port(3, "c", console).has_value());
    driver.messages();
    console.to_give = "unread";
    ASSERT_TRUE(device.close_port(3).has_value());
    const auto messages = driver.messages();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_TRUE(is(messages[0], 3, ConsoleEvent::PORT_REMOVE, 1));
    EXPECT_EQ(console.log, "r");
}

TEST_F(ConsoleDeviceTest, NumberIsUsedAnewAfterRelease)
{
    start_console();
    ASSERT_TRUE(device.close_port(1).has_value());
    driver.messages();
    driver.close(1);
    driver.messages();
    ASSERT_EQ(console.log, "ocr");
    FakeBackend second{};
    ASSERT_TRUE(device.open_port(1, "second", second).has_value());
    const auto messages = driver.messages();
    ASSERT_EQ(messages.size(), 3u);
    EXPECT_EQ(messages[1].name, "second");
    driver.open(1);
    second.to_give = "fresh";
    device.wake(1);
    driver.work();
    EXPECT_EQ(driver.read(1), "fresh");
    EXPECT_EQ(console.log, "ocr") << "the first backend hears nothing any more";
}

TEST_F(ConsoleDeviceTest, PortsWithoutADriverComeAndGo)
{
    ASSERT_TRUE(device.open_port(2, "c", console).has_value());
    driver.work();
    EXPECT_EQ(device.open_port(2, "c", console).error(), Error::busy);
    ASSERT_TRUE(device.close_port(2).has_value());
    EXPECT_EQ(device.close_port(2).error(), Error::not_found);
    driver.work();
    EXPECT_EQ(console.log, "r");
    EXPECT_TRUE(device.open_port(2, "c", console).has_value());
}

TEST_F(ConsoleDeviceTest, BadPortsAndNamesAreRefused)
{
    EXPECT_EQ(device.open_port(65, "c", console).error(), Error::invalid_argument);
    EXPECT_EQ(device.open_port(1, "", console).error(), Error::invalid_argument);
    EXPECT_EQ(device.open_port(1, std::string(32, 'n'), console).error(), Error::invalid_argument);
    EXPECT_EQ(device.close_port(65).error(), Error::not_found);
    EXPECT_EQ(device.close_port(1).error(), Error::not_found);
    device.wake(65);
    EXPECT_EQ(host.kicks, 0u);
}

}  // namespace
