// SPDX-License-Identifier: MIT
//
// Requests that are wrong in their frame: each is answered with an error, changes nothing, and the next one
// is heard.
#include "client.hpp"

namespace {

using namespace hv::protocol;
using hv::Error;
using hv::test::Bytes;

struct ServerMalformed : hv::test::ServerTest {
    void SetUp() override { ASSERT_TRUE(client.hello().ok()); }

    template <typename Change>
    auto changed_info(Change change, std::size_t extra = 0)
    {
        Bytes bytes{client.frame(Command::info, Empty{})};
        FrameHeader header{decode_header(bytes).value()};
        change(header);
        std::memcpy(bytes.data(), &header, sizeof header);
        bytes.resize(bytes.size() + extra);
        client.last_id = header.request_id;
        client.send(bytes);
        const auto answer = client.reply();
        EXPECT_TRUE(client.ask(Command::info, Empty{}).ok()) << "the next request is heard";
        return answer;
    }
};

TEST_F(ServerMalformed, RequestBeforeHelloIsRefused)
{
    auto fresh = std::make_unique<hv::core::control::ControlServer>(target);
    hv::test::Client other{*fresh};
    const auto answer = other.ask(Command::info, Empty{});
    EXPECT_EQ(answer.error(), Error::permission_denied);
    const auto bulk = other.ask(Command::memory_write, MemoryWriteRequest{1, 0, 0}, {}, Bytes(100));
    EXPECT_EQ(bulk.error(), Error::permission_denied);
    EXPECT_TRUE(other.hello().ok());
}

TEST_F(ServerMalformed, UnknownCommandIsRefusedByNumber)
{
    const auto answer = client.ask(static_cast<Command>(999), Empty{});
    EXPECT_EQ(answer.error(), Error::not_supported);
    EXPECT_EQ(answer.text(), "command 999 is not known");
    EXPECT_EQ(answer.header.command, 999);
}

TEST_F(ServerMalformed, FieldsOfTheHeaderAreJudged)
{
    EXPECT_EQ(changed_info([](FrameHeader& h) { h.kind = 2; }).error(), Error::malformed);
    EXPECT_EQ(changed_info([](FrameHeader& h) { h.kind = 0x101; }).error(), Error::malformed);
    EXPECT_EQ(changed_info([](FrameHeader& h) { h.status = 1; }).error(), Error::malformed);
    EXPECT_EQ(changed_info([](FrameHeader& h) { h.reserved = 1; }).error(), Error::malformed);
    EXPECT_EQ(changed_info([](FrameHeader& h) { h.version = 2; }).error(), Error::abi_mismatch);
    EXPECT_EQ(changed_info([](FrameHeader& h) { h.fixed_length = 1; }).error(), Error::malformed);
    EXPECT_EQ(changed_info([](FrameHeader& h) { h.request_id = 0; }).error(), Error::malformed);
}

TEST_F(ServerMalformed, OversizedFramesAreSkippedToTheirEnd)
{
    const auto body =
        changed_info([](FrameHeader& h) { h.body_length = maximum_body + 1; }, maximum_body + 1);
    EXPECT_EQ(body.error(), Error::out_of_range);
    EXPECT_NE(body.text().find("65537"), std::string::npos);
    const auto bulk = changed_info([](FrameHeader& h) { h.bulk_length = 5000; }, 5000);
    EXPECT_EQ(bulk.text(), "the command takes no bulk data");
    const auto both = changed_info(
        [](FrameHeader& h) {
            h.command = static_cast<std::uint16_t>(Command::memory_write);
            h.bulk_length = maximum_request_bulk + 1;
            h.body_length = 3;
        },
        maximum_request_bulk + 4);
    EXPECT_EQ(both.error(), Error::out_of_range);
}

TEST_F(ServerMalformed, StructureTooShortIsRefusedForEveryCommand)
{
    struct Shape {
        Command command;
        std::size_t required;
    };
    const Shape shapes[]{
        {Command::hello, sizeof(HelloRequest)},
        {Command::subscribe, sizeof(SubscribeRequest)},
        {Command::log_read, sizeof(LogReadRequest)},
        {Command::domain_create, sizeof(DomainCreateRequest)},
        {Command::domain_finish_build, sizeof(DomainRequest)},
        {Command::domain_unpause, sizeof(DomainRequest)},
        {Command::domain_pause, sizeof(DomainRequest)},
        {Command::domain_destroy, sizeof(DomainRequest)},
        {Command::domain_rename, sizeof(DomainRenameRequest)},
        {Command::domain_shutdown, sizeof(DomainRequest)},
        {Command::domain_trigger, sizeof(DomainTriggerRequest)},
        {Command::domain_list, sizeof(DomainListRequest)},
        {Command::domain_info, sizeof(DomainRequest)},
        {Command::vcpu_info, sizeof(VcpuListRequest)},
        {Command::exit_counts, sizeof(ExitCountsRequest)},
        {Command::memory_write, sizeof(MemoryWriteRequest)},
        {Command::memory_read, sizeof(MemoryReadRequest)},
        {Command::registers_set, sizeof(RegistersSetRequest)},
        {Command::registers_get, sizeof(RegistersGetRequest)},
        {Command::ext_announce, sizeof(ExtAnnounceRequest)},
        {Command::ext_bind, sizeof(ExtBindRequest)},
        {Command::ext_bindings, sizeof(DomainRequest)},
        {Command::ext_detach, sizeof(ExtOfDomainRequest)},
        {Command::ext_list, sizeof(ExtListRequest)},
        {Command::ext_load_begin, required_size<ExtLoadBeginRequest>},
        {Command::ext_requests, sizeof(ExtRequestsRequest)},
        {Command::ext_settled, sizeof(ExtSettledRequest)},
        {Command::ext_load_data, sizeof(ExtLoadDataRequest)},
        {Command::ext_load_finish, sizeof(ExtLoadEndRequest)},
        {Command::ext_load_abort, sizeof(ExtLoadEndRequest)},
        {Command::ext_unload, sizeof(ExtUnloadRequest)},
        {Command::channel_open, sizeof(ChannelOpenRequest)},
        {Command::channel_send, sizeof(ChannelSendRequest)},
        {Command::channel_receive, sizeof(ChannelRequest)},
        {Command::channel_close, sizeof(ChannelRequest)},
    };
    for (const Shape& shape : shapes)
        for (const std::size_t length : {std::size_t{0}, std::size_t{1}, shape.required - 1}) {
            // The bytes are there, but the sender says that its structure is shorter.
            Bytes bytes{client.frame(shape.command, Empty{}, Bytes(shape.required))};
            FrameHeader header{decode_header(bytes).value()};
            header.fixed_length = static_cast<std::uint16_t>(length);
            std::memcpy(bytes.data(), &header, sizeof header);
            client.send(bytes);
            EXPECT_EQ(client.reply().error(), Error::malformed) << static_cast<unsigned>(shape.command);
        }
    EXPECT_TRUE(target.domains.empty());
    EXPECT_TRUE(target.uploads.empty());
    EXPECT_TRUE(target.channels.empty());
}

TEST_F(ServerMalformed, StructureThatGrewIsAcceptedAndItsTailFound)
{
    Bytes grown(sizeof(DomainListRequest) + 24);
    Bytes bytes{client.frame(Command::domain_list, Empty{}, grown)};
    FrameHeader header{decode_header(bytes).value()};
    header.fixed_length = static_cast<std::uint16_t>(grown.size());
    std::memcpy(bytes.data(), &header, sizeof header);
    client.send(bytes);
    EXPECT_TRUE(client.reply().ok());
}

TEST_F(ServerMalformed, WrongMagicEndsTheConversationUntilTheNextConnection)
{
    Bytes noise(sizeof(FrameHeader), std::byte{0xee});
    client.last_id = 0;
    client.send(noise);
    const auto answer = client.reply();
    EXPECT_EQ(answer.error(), Error::malformed);
    client.send(client.frame(Command::info, Empty{}));
    EXPECT_TRUE(client.replies.empty()) << "nothing is read any more";
    server->disconnected();
    client.work();
    server->connected();
    EXPECT_TRUE(client.hello().ok());
    EXPECT_TRUE(client.ask(Command::info, Empty{}).ok());
}

}  // namespace
