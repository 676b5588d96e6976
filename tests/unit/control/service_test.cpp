// SPDX-License-Identifier: MIT
//
// The control server behind its port: a driver's writes in, replies out, with the driver's small buffers
// between.
#include "hv/core/control/service.hpp"

#include "client.hpp"
#include "model_driver.hpp"

namespace {

using namespace hv::protocol;
using namespace hv::core::control;
using hv::core::virtio::ConsoleDevice;
using hv::test::Bytes;

struct ControlServiceTest : testing::Test {
    hv::test::FakeDeviceHost host{};
    hv::test::FakeControlTarget target{};
    ConsoleDevice device{host};
    std::unique_ptr<ControlService> service{std::make_unique<ControlService>(device, target)};
    hv::test::ModelDriver driver{device, host};
    /// Only builds frames here; its own server is another one.
    std::unique_ptr<ControlServer> other{std::make_unique<ControlServer>(target)};
    hv::test::Client builder{*other};
    std::string received{};

    void SetUp() override
    {
        ASSERT_TRUE(service->start().has_value());
        driver.probe();
        ASSERT_EQ(driver.messages().size(), 3u);
        driver.open(0);
        run();
        send(builder.frame(Command::hello, HelloRequest{1, 1, 0, "t"}));
        ASSERT_EQ(received.size(), sizeof(FrameHeader) + sizeof(HelloReply));
        received.clear();
    }
    void run()
    {
        for (unsigned slices = 0; slices < 10'000; ++slices) {
            const bool more{service->run()};
            received += driver.read(0);
            if (!more && !device.needs_service())
                return;
        }
        ADD_FAILURE() << "run() never comes to an end";
    }
    /// In writes of at most one buffer, as many as the queue has room for before the service runs.
    void send(const Bytes& bytes)
    {
        std::string rest{as_text(bytes)};
        for (unsigned tries = 0; !rest.empty() && tries < 100'000; ++tries) {
            const std::string part{rest.substr(0, hv::test::ModelDriver::receive_buffer)};
            if (driver.write(0, part))
                rest.erase(0, part.size());
            else
                run();
        }
        EXPECT_TRUE(rest.empty());
        run();
    }
    std::vector<FrameHeader> headers()
    {
        std::vector<FrameHeader> result{};
        while (received.size() >= sizeof(FrameHeader)) {
            const auto header = decode_header(as_bytes(std::string_view{received}));
            EXPECT_TRUE(header.has_value());
            result.push_back(header.value());
            received.erase(0, sizeof(FrameHeader) + header.value().body_length + header.value().bulk_length);
        }
        return result;
    }
};

TEST_F(ControlServiceTest, RequestsAndRepliesPassThroughTheQueues)
{
    send(builder.frame(Command::info, Empty{}));
    const auto replies = headers();
    ASSERT_EQ(replies.size(), 1u);
    EXPECT_EQ(replies[0].status, 0u);
    EXPECT_EQ(replies[0].body_length, sizeof(InfoReply));
}

TEST_F(ControlServiceTest, ManyRequestsInOneGoAreAllAnswered)
{
    target.slices = 4;
    Bytes all{};
    for (unsigned i = 0; i < 20; ++i) {
        const std::string name{"d" + std::to_string(i)};
        const auto frame = builder.frame(Command::domain_create,
                                         hv::test::Client::create_request(name.c_str(), 4096));
        all.insert(all.end(), frame.begin(), frame.end());
    }
    send(all);
    EXPECT_EQ(headers().size(), 20u);
    EXPECT_EQ(target.domains.size(), 20u);
}

TEST_F(ControlServiceTest, BulkDataGoesThroughWithoutAWaitAtItsSize)
{
    send(builder.frame(Command::domain_create, hv::test::Client::create_request("d", 1 << 20)));
    Bytes data(300'000);
    for (std::size_t i = 0; i < data.size(); ++i)
        data[i] = static_cast<std::byte>(i % 251);
    send(builder.frame(Command::memory_write, MemoryWriteRequest{1, 0, 100}, {}, data));
    EXPECT_EQ(headers().size(), 2u);
    EXPECT_TRUE(std::equal(data.begin(), data.end(), target.domains[1].memory.begin() + 100));
}

TEST_F(ControlServiceTest, LongReplyWaitsForTheDriversBuffers)
{
    send(builder.frame(Command::domain_create, hv::test::Client::create_request()));
    received.clear();
    send(builder.frame(Command::exit_counts, ExitCountsRequest{1, 1, 0}));
    const auto replies = headers();
    ASSERT_EQ(replies.size(), 1u);
    EXPECT_GT(replies[0].body_length, 60'000u);
    EXPECT_TRUE(received.empty());
}

TEST_F(ControlServiceTest, EventsWakeThePort)
{
    send(builder.frame(Command::subscribe, SubscribeRequest{event_bit(EventCode::domain_ended)}));
    headers();
    host.kicks = 0;
    target.ended.push_back({1, 1, ""});
    service->events_waiting();
    EXPECT_GE(host.kicks.load(), 1u);
    run();
    const auto frames = headers();
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(frames[0].kind, static_cast<std::uint16_t>(FrameKind::event));
}

TEST_F(ControlServiceTest, TheTargetsOwnWorkIsDoneOnceAlsoWithNobodyAtThePort)
{
    driver.close(0);
    run();
    EXPECT_EQ(target.carried_out, 0u);
    service->target_waiting();
    run();
    run();
    EXPECT_EQ(target.carried_out, 1u);
}

TEST_F(ControlServiceTest, ClosingThePortUndoesWhatIsHalfDone)
{
    target.slices = 3;
    send(builder.frame(Command::domain_create, hv::test::Client::create_request()));
    ASSERT_EQ(target.domains.size(), 1u);
    const auto frame = builder.frame(Command::memory_write, MemoryWriteRequest{1, 0, 0}, {}, Bytes(1000));
    send({frame.begin(), frame.begin() + 200});
    driver.close(0);
    run();
    EXPECT_TRUE(target.domains.empty());
    driver.open(0);
    run();
    received.clear();
    send(builder.frame(Command::hello, HelloRequest{1, 1, 0, "u"}));
    EXPECT_EQ(headers().size(), 1u);
}

TEST_F(ControlServiceTest, ResetOfTheDriverUndoesWhatIsHalfDone)
{
    send(builder.frame(Command::domain_create, hv::test::Client::create_request()));
    ASSERT_EQ(target.domains.size(), 1u);
    ASSERT_TRUE(driver.reset());
    for (unsigned slices = 0; slices < 100 && service->run(); ++slices) {}
    EXPECT_TRUE(target.domains.empty());
}

}  // namespace
