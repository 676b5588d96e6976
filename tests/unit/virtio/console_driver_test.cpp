// SPDX-License-Identifier: MIT
//
// The console function and its driver's life: reset, a second probe, a driver that breaks the rules, several
// processors.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "model_driver.hpp"

namespace {

using namespace hv::core::virtio;
using hv::test::FakeBackend;
using hv::test::ModelDriver;

struct ConsoleDriverTest : testing::Test {
    hv::test::FakeDeviceHost host{};
    ConsoleDevice device{host};
    ModelDriver driver{device, host};
    FakeBackend control{};

    void start()
    {
        ASSERT_TRUE(device.open_port(0, "graft.control", control).has_value());
        driver.probe();
        ASSERT_EQ(driver.messages().size(), 3u);
        driver.open(0);
    }
    bool needs_reset() { return (driver.read_status() & status::DEVICE_NEEDS_RESET) != 0; }
};

TEST_F(ConsoleDriverTest, SecondProbeFindsEverythingAnew)
{
    start();
    ASSERT_TRUE(driver.write(0, "before"));
    driver.work();
    ASSERT_TRUE(driver.reset());
    EXPECT_EQ(control.log, "oc");
    driver.probe();
    const auto messages = driver.messages();
    ASSERT_EQ(messages.size(), 3u);
    EXPECT_EQ(messages[1].name, "graft.control");
    driver.open(0);
    ASSERT_TRUE(driver.write(0, "after"));
    driver.work();
    EXPECT_EQ(control.received, "beforeafter");
    EXPECT_EQ(control.log, "oco");
}

TEST_F(ConsoleDriverTest, ResetInTheMiddleOfAHalfTakenBufferStartsClean)
{
    start();
    control.room = 2;
    ASSERT_TRUE(driver.write(0, "abcd"));
    driver.work();
    ASSERT_TRUE(driver.reset());
    control.room = 100;
    driver.probe();
    driver.messages();
    driver.open(0);
    ASSERT_TRUE(driver.write(0, "WXYZ"));
    driver.work();
    EXPECT_EQ(control.received, "abWXYZ");
}

TEST_F(ConsoleDriverTest, PortClosingDuringAResetIsReleased)
{
    start();
    ASSERT_TRUE(device.close_port(0).has_value());
    ASSERT_TRUE(driver.reset());
    driver.work();
    EXPECT_EQ(control.log, "ocr");
}

TEST_F(ConsoleDriverTest, NothingIsTouchedAfterTheResetIsDone)
{
    start();
    control.to_give = "late";
    ASSERT_TRUE(driver.reset());
    const auto memory = host.memory;
    const auto interrupts = host.sent.size();
    device.wake(0);
    device.bar_write(0x1000, 2, 0);
    driver.work();
    EXPECT_EQ(host.memory, memory);
    EXPECT_EQ(host.sent.size(), interrupts);
    EXPECT_EQ(control.to_give, "late");
}

TEST_F(ConsoleDriverTest, DeviceThatIsNoBusMasterRestsAndCatchesUp)
{
    start();
    device.config_write(0x04, 2, 2);
    control.to_give = "held";
    device.wake(0);
    driver.work();
    EXPECT_EQ(driver.read(0), "");
    device.config_write(0x04, 2, 6);
    driver.work();
    EXPECT_EQ(driver.read(0), "held");
}

TEST_F(ConsoleDriverTest, LoopInAQueueAsksForAResetWithAnInterrupt)
{
    start();
    const unsigned index{transmit_queue(0)};
    host.put(driver.descriptor_table(index), Descriptor{0x10'0000, 1, VIRTQ_DESC_F_NEXT, 0});
    host.put<std::uint16_t>(driver.ring(index) + 4, 0);
    host.put<std::uint16_t>(driver.ring(index) + 2, 1);
    device.bar_write(0x1000 + 4 * index, 2, index);
    driver.work();
    EXPECT_TRUE(needs_reset());
    EXPECT_EQ(host.sent.back().data, 0x50u) << "the configuration's vector";
    EXPECT_EQ(control.received, "");
    ASSERT_TRUE(driver.reset());
    driver.probe();
    EXPECT_EQ(driver.messages().size(), 3u) << "and a reset heals it";
}

TEST_F(ConsoleDriverTest, RingsOutsideMemoryAskForAReset)
{
    ASSERT_TRUE(device.open_port(0, "c", control).has_value());
    driver.probe();
    ASSERT_TRUE(driver.reset());
    for (const std::uint64_t bits : {1u, 2u})
        device.bar_write(0x14, 1, bits);
    device.bar_write(0x08, 4, 0);
    device.bar_write(0x0c, 4, 2);
    device.bar_write(0x08, 4, 1);
    device.bar_write(0x0c, 4, 1);
    device.bar_write(0x14, 1, status::FEATURES_OK);
    device.bar_write(0x16, 2, control_transmit_queue);
    device.bar_write(0x20, 8, 0xffff'ffff'ffff'fff0);
    device.bar_write(0x1c, 2, 1);
    device.bar_write(0x14, 1, status::DRIVER_OK);
    device.bar_write(0x1000 + 4 * control_transmit_queue, 2, 0);
    driver.work();
    EXPECT_TRUE(needs_reset());
}

TEST_F(ConsoleDriverTest, ControlBufferTooSmallForAMessageAsksForAReset)
{
    start();
    const unsigned index{control_receive_queue};
    for (unsigned slot = 0; slot < 8; ++slot) {
        auto descriptor = host.get<Descriptor>(driver.descriptor_table(index) + 16 * slot);
        descriptor.length = 7;
        host.put(driver.descriptor_table(index) + 16 * slot, descriptor);
    }
    FakeBackend console{};
    ASSERT_TRUE(device.open_port(1, "c", console).has_value());
    driver.work();
    EXPECT_TRUE(needs_reset());
}

TEST_F(ConsoleDriverTest, ControlMessagesForPortsThatAreNotAreIgnored)
{
    start();
    for (const std::uint32_t port : {1u, 64u, 65u, 0xffff'ffffu})
        for (std::uint16_t event = 0; event < 10; ++event)
            if (event != 0)
                driver.control(port, static_cast<ConsoleEvent>(event), 1);
    driver.control(0, ConsoleEvent::PORT_READY, 1);
    EXPECT_TRUE(driver.messages().empty());
    EXPECT_FALSE(needs_reset());
    EXPECT_EQ(control.log, "o");
}

TEST_F(ConsoleDriverTest, ShortControlMessageIsGivenBackAndIgnored)
{
    start();
    ASSERT_TRUE(driver.add(control_transmit_queue, 0x10'0000, 7, false));
    driver.notify(control_transmit_queue);
    driver.work();
    EXPECT_TRUE(driver.collect(control_transmit_queue));
    EXPECT_FALSE(needs_reset());
}

TEST_F(ConsoleDriverTest, OneServiceIsBoundedAndSaysThatThereIsMore)
{
    start();
    control.to_give = std::string(100'000, 'b');
    device.wake(0);
    unsigned passes{0};
    std::string got{};
    while (got.size() < 100'000 && passes < 10'000) {
        device.service();
        ++passes;
        got += driver.read(0);
    }
    EXPECT_EQ(got.size(), 100'000u);
    EXPECT_GT(passes, 10u);
}

struct ConsoleManyPorts : ConsoleDriverTest {
    static constexpr unsigned first{1};
    static constexpr unsigned last{3};
    std::array<FakeBackend, last + 1> backends{};

    void SetUp() override
    {
        start();
        for (unsigned port = first; port <= last; ++port)
            ASSERT_TRUE(device.open_port(port, "p", backends[port]).has_value());
        driver.messages();
        for (unsigned port = first; port <= last; ++port)
            driver.control(port, ConsoleEvent::PORT_OPEN, 1);
        driver.work();
    }
};

TEST_F(ConsoleManyPorts, MoreWrittenThanOnePassTakesIsTakenByTheNext)
{
    for (unsigned port = first; port <= last; ++port)
        while (driver.write(port, "12345")) {}
    EXPECT_TRUE(device.service()) << "there is more";
    EXPECT_LT(backends[last].received.size(), 40u);
    driver.work();
    for (unsigned port = first; port <= last; ++port)
        EXPECT_EQ(backends[port].received.size(), 40u) << port;
}

TEST_F(ConsoleManyPorts, MoreToGiveThanOnePassMovesIsMovedByTheNext)
{
    const std::size_t room{8 * ModelDriver::receive_buffer};
    for (unsigned port = first; port <= last; ++port) {
        driver.fill(receive_queue(port));
        driver.work();
        backends[port].to_give = std::string(room, 'g');
    }
    for (unsigned port = first; port <= last; ++port) {
        device.wake(port);
    }
    EXPECT_TRUE(device.service()) << "there is more";
    EXPECT_FALSE(backends[last].to_give.empty());
    driver.work();
    for (unsigned port = first; port <= last; ++port)
        EXPECT_EQ(driver.read(port).size(), room) << port;
}

/// A backend in which two processors may not be at once.
class ExclusiveBackend final : public PortBackend {
public:
    std::size_t take(std::span<const std::byte> bytes) override { return bytes.size(); }
    std::size_t give(std::span<std::byte>) override
    {
        EXPECT_FALSE(inside.exchange(true));
        given.fetch_add(1);
        seen.store(asked.load());
        inside.store(false);
        return 0;
    }
    void opened() override {}
    void closed() override {}
    void released() override {}
    std::atomic<bool> inside{false};
    std::atomic<unsigned> given{0}, asked{0}, seen{0};
};

TEST_F(ConsoleDriverTest, WakesFromSeveralProcessorsAreServedOneAtATimeAndNoneIsLost)
{
    ExclusiveBackend backend{};
    ASSERT_TRUE(device.open_port(0, "c", backend).has_value());
    driver.probe();
    driver.messages();
    driver.open(0);
    driver.work();
    const auto processor = [&] {
        for (unsigned i = 0; i < 5000; ++i) {
            backend.asked.fetch_add(1);
            device.wake(0);
            while (device.service()) {}
        }
    };
    std::thread first{processor};
    std::thread second{processor};
    first.join();
    second.join();
    EXPECT_EQ(backend.seen.load(), 10'000u) << "the last wake was served too";
}

}  // namespace
