// SPDX-License-Identifier: MIT
//
// A domain's console stream through the console device: nothing lost while somebody reads, nothing stuck
// while nobody does.
#include "hv/core/control/console_stream.hpp"

#include <gtest/gtest.h>

#include "model_driver.hpp"

namespace {

using namespace hv::core::control;
using namespace hv::core::virtio;

struct Owner final : ConsoleOwner {
    void console_released(ConsoleStream&) override { ++released; }
    unsigned released{};
};

/// A guest that reads everything at once and remembers that it may write again.
struct Guest final : ConsoleListener {
    void input_arrived() override
    {
        while (reads)
            if (const auto byte = stream->get())
                input += static_cast<char>(*byte);
            else
                break;
    }
    void output_has_room() override { ++room; }
    ConsoleStream* stream{};
    std::string input{};
    unsigned room{};
    bool reads{true};
};

struct ConsoleStreamTest : testing::Test {
    hv::test::FakeDeviceHost host{};
    ConsoleDevice device{host};
    hv::test::ModelDriver driver{device, host};
    Owner owner{};
    Guest guest{};
    ConsoleStream stream{device, 2, owner};

    void SetUp() override
    {
        guest.stream = &stream;
        stream.listen(&guest);
        ASSERT_TRUE(stream.open().has_value());
        driver.probe();
        const auto messages = driver.messages();
        ASSERT_EQ(messages.size(), 3u);
        EXPECT_EQ(messages[1].name, "graft.console.2");
    }
    std::size_t say(const std::string& text)
    {
        return stream.put(std::as_bytes(std::span{text.data(), text.size()}));
    }
    std::string read_all()
    {
        std::string got{};
        for (unsigned round = 0; round < 200; ++round) {
            got += driver.read(2);
            driver.work();
        }
        return got;
    }
};

TEST_F(ConsoleStreamTest, OutputReachesTheReader)
{
    driver.open(2);
    EXPECT_EQ(say("login: "), 7u);
    EXPECT_TRUE(stream.put('x'));
    driver.work();
    EXPECT_EQ(driver.read(2), "login: x");
}

TEST_F(ConsoleStreamTest, OutputBeforeTheFirstReaderIsKept)
{
    EXPECT_EQ(say("early"), 5u);
    driver.open(2);
    driver.work();
    EXPECT_EQ(driver.read(2), "early");
    EXPECT_EQ(stream.overwritten(), 0u);
}

TEST_F(ConsoleStreamTest, WithoutAReaderTheNewestOutputIsKeptAndTheGuestNeverWaits)
{
    std::string text(ConsoleStream::output_bytes + 100, 'o');
    text.replace(0, 100, std::string(100, 'x'));
    for (const char c : text)
        ASSERT_TRUE(stream.put(static_cast<std::uint8_t>(c)));
    EXPECT_EQ(stream.overwritten(), 100u);
    EXPECT_EQ(say(std::string(2 * ConsoleStream::output_bytes, 'y') + "z"),
              2 * ConsoleStream::output_bytes + 1);
    driver.open(2);
    const auto got = read_all();
    EXPECT_EQ(got, std::string(ConsoleStream::output_bytes - 1, 'y') + "z");
}

TEST_F(ConsoleStreamTest, WithAReaderAFullRingMakesTheGuestWaitAndLosesNothing)
{
    driver.open(2);
    driver.work();
    std::string text{};
    for (std::size_t i = 0; i < ConsoleStream::output_bytes + 500; ++i)
        text += static_cast<char>('a' + i % 26);
    const std::size_t taken{say(text)};
    EXPECT_EQ(taken, ConsoleStream::output_bytes);
    EXPECT_FALSE(stream.put('!'));
    EXPECT_EQ(guest.room, 0u);
    driver.work();
    EXPECT_EQ(guest.room, 1u);
    EXPECT_EQ(say(text.substr(taken)), text.size() - taken);
    EXPECT_EQ(read_all(), text);
}

TEST_F(ConsoleStreamTest, ReaderThatLeavesFreesTheGuest)
{
    driver.open(2);
    driver.work();
    say(std::string(ConsoleStream::output_bytes + 1, 'f'));
    ASSERT_FALSE(stream.put('!'));
    driver.close(2);
    driver.work();
    EXPECT_GE(guest.room, 1u);
    EXPECT_TRUE(stream.put('!'));
}

TEST_F(ConsoleStreamTest, InputReachesTheGuestAndWaitsWhenItDoesNotRead)
{
    driver.open(2);
    guest.reads = false;
    std::string text{};
    for (unsigned i = 0; i < 8; ++i) {
        const std::string part(200, static_cast<char>('0' + i));
        ASSERT_TRUE(driver.write(2, part));
        driver.work();
        text += part;
    }
    guest.reads = true;
    guest.input_arrived();
    driver.work();
    EXPECT_EQ(guest.input, text);
}

TEST_F(ConsoleStreamTest, StreamOutlivesItsDomainUntilItIsRead)
{
    driver.open(2);
    driver.work();
    EXPECT_EQ(say("last words"), 10u);
    stream.close();
    EXPECT_EQ(owner.released, 0u);
    driver.messages();
    EXPECT_EQ(driver.read(2), "last words");
    ASSERT_TRUE(driver.write(2, "to nobody"));
    driver.work();
    EXPECT_TRUE(driver.collect(transmit_queue(2))) << "it goes nowhere, and does not wait either";
    driver.close(2);
    driver.messages();
    EXPECT_EQ(owner.released, 1u);
    EXPECT_EQ(guest.input, "");
}

}  // namespace
