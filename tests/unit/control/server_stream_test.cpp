// SPDX-License-Identifier: MIT
//
// The stream and the connection: any fragmentation, back-pressure in both directions, and clients that go
// away.
#include <random>

#include "client.hpp"

namespace {

using namespace hv::protocol;
using hv::test::Bytes;

struct ServerStream : hv::test::ServerTest {
    void SetUp() override { ASSERT_TRUE(client.hello().ok()); }

    /// A conversation that touches plain, sliced and bulk commands.
    Bytes conversation()
    {
        Bytes all{};
        const auto add = [&](const Bytes& frame) { all.insert(all.end(), frame.begin(), frame.end()); };
        add(client.frame(Command::domain_create, hv::test::Client::create_request("a")));
        add(client.frame(Command::memory_write, MemoryWriteRequest{1, 0, 5}, {}, Bytes(3000, std::byte{7})));
        add(client.frame(Command::memory_write, MemoryWriteRequest{1, 0, ~0ull}, {}, Bytes(300)));
        add(client.frame(Command::domain_finish_build, DomainRequest{1, 0}));
        add(client.frame(Command::info, Empty{}));
        return all;
    }
    void check_conversation()
    {
        ASSERT_EQ(client.replies.size(), 5u);
        for (std::size_t i = 0; i < 5; ++i)
            EXPECT_EQ(client.replies[i].ok(), i != 2) << i;
        EXPECT_EQ(target.domains[1].memory[3004], std::byte{7});
        EXPECT_EQ(target.domains[1].state, DomainState::paused);
    }
};

TEST_F(ServerStream, BytesOneByOneAreUnderstood)
{
    target.slices = 3;
    client.send(conversation(), 1);
    check_conversation();
}

TEST_F(ServerStream, AllAtOnceIsUnderstood)
{
    client.send(conversation());
    check_conversation();
}

TEST_F(ServerStream, RandomPiecesAreUnderstood)
{
    std::minstd_rand random{5};
    const Bytes all{conversation()};
    for (std::size_t sent = 0; sent < all.size();) {
        const std::size_t part{std::min<std::size_t>(1 + random() % 97, all.size() - sent)};
        client.send({all.begin() + static_cast<std::ptrdiff_t>(sent),
                     all.begin() + static_cast<std::ptrdiff_t>(sent + part)});
        sent += part;
    }
    check_conversation();
}

TEST_F(ServerStream, NothingIsTakenWhileAReplyWaits)
{
    const Bytes frame{client.frame(Command::info, Empty{})};
    EXPECT_EQ(server->receive(frame), frame.size());
    EXPECT_FALSE(server->wants_input());
    EXPECT_EQ(server->receive(frame), 0u);
    while (server->step()) {}
    EXPECT_TRUE(server->has_output());
    EXPECT_EQ(server->receive(frame), 0u);
    client.work();
    EXPECT_TRUE(server->wants_input());
}

TEST_F(ServerStream, ReplyIsReadInAnyPieces)
{
    EXPECT_GT(server->receive(client.frame(Command::info, Empty{})), 0u);
    while (server->step()) {}
    std::size_t total{0};
    std::byte one{};
    while (server->transmit(std::span{&one, 1}) == 1)
        ++total;
    EXPECT_EQ(total, sizeof(FrameHeader) + sizeof(InfoReply));
    EXPECT_TRUE(server->wants_input());
}

TEST_F(ServerStream, HalfBuiltDomainsAreDestroyedWhenTheClientGoes)
{
    target.slices = 3;
    const DomainId built{client.create("built")};
    ASSERT_TRUE(client.ask(Command::domain_finish_build, DomainRequest{built, 0}).ok());
    client.create("half");
    client.create("another");
    server->disconnected();
    EXPECT_TRUE(server->needs_step());
    client.work();
    EXPECT_EQ(target.domains.size(), 1u);
    EXPECT_TRUE(target.domains.contains(built));
}

TEST_F(ServerStream, DestroyedAndFinishedDomainsAreNotDestroyedAgain)
{
    const DomainId first{client.create("first")};
    ASSERT_TRUE(client.ask(Command::domain_destroy, DomainRequest{first, 0}).ok());
    server->disconnected();
    client.work();
    EXPECT_TRUE(target.domains.empty());
}

TEST_F(ServerStream, HalfSentModulesAreThrownAwayWhenTheClientGoes)
{
    ExtLoadBeginRequest request{};
    request.size = 100;
    ASSERT_TRUE(client.ask(Command::ext_load_begin, request).ok());
    ASSERT_TRUE(client.ask(Command::ext_load_data, ExtLoadDataRequest{1, 0, 0}, {}, Bytes(50)).ok());
    server->disconnected();
    client.work();
    EXPECT_TRUE(target.uploads.empty());
}

TEST_F(ServerStream, ClientThatGoesInTheMiddleOfAFrameLeavesNothing)
{
    const DomainId domain{client.create()};
    ASSERT_TRUE(client.ask(Command::domain_finish_build, DomainRequest{domain, 0}).ok());
    const Bytes frame{client.frame(Command::memory_write, MemoryWriteRequest{domain, 0, 0}, {}, Bytes(1000))};
    for (const std::size_t length :
         {std::size_t{1}, sizeof(FrameHeader), sizeof(FrameHeader) + 3, std::size_t{500}}) {
        client.send({frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length)});
        server->disconnected();
        client.work();
        server->connected();
        ASSERT_TRUE(client.hello().ok()) << length;
        ASSERT_TRUE(client.ask(Command::info, Empty{}).ok()) << length;
    }
}

TEST_F(ServerStream, DomainWhoseCreationWasUnderWayWhenTheClientWentIsDestroyed)
{
    target.slices = 10;
    EXPECT_GT(server->receive(client.frame(Command::domain_create, hv::test::Client::create_request())), 0u);
    EXPECT_TRUE(server->step());
    EXPECT_EQ(target.domains.size(), 1u);
    server->disconnected();
    server->connected();
    EXPECT_FALSE(server->wants_input()) << "the next client waits until all is undone";
    client.work();
    EXPECT_TRUE(target.domains.empty());
    EXPECT_TRUE(client.replies.empty());
    EXPECT_TRUE(client.hello().ok());
}

TEST_F(ServerStream, SwapWhoseClientGoesInTheMiddleIsFollowedToItsEnd)
{
    const DomainId domain{client.create()};
    ASSERT_TRUE(client.ask(Command::domain_finish_build, DomainRequest{domain, 0}).ok());
    target.domains[domain].modules = {"old"};
    target.slices = 5;
    ExtSwapRequest request{domain, 0, 0, 0, "old", "new"};
    EXPECT_GT(server->receive(client.frame(Command::ext_swap, request)), 0u);
    EXPECT_TRUE(server->step());
    server->disconnected();
    server->connected();
    client.work();
    EXPECT_EQ(target.domains[domain].modules, std::vector<std::string>{"new"});
    EXPECT_TRUE(client.replies.empty());
    EXPECT_TRUE(client.hello().ok());
}

TEST_F(ServerStream, ReplyOfALostClientIsNotShownToTheNext)
{
    EXPECT_GT(server->receive(client.frame(Command::info, Empty{})), 0u);
    while (server->step()) {}
    EXPECT_TRUE(server->has_output());
    server->disconnected();
    EXPECT_FALSE(server->has_output());
    client.work();
    server->connected();
    EXPECT_EQ(client.ask(Command::info, Empty{}).error(), hv::Error::permission_denied)
        << "hello comes first again";
}

TEST_F(ServerStream, DomainsUnderConstructionAreLimited)
{
    for (std::size_t i = 0; i < hv::core::control::ControlServer::maximum_building; ++i)
        client.create(("d" + std::to_string(i)).c_str(), 4096);
    const auto answer = client.ask(Command::domain_create, hv::test::Client::create_request("more"));
    EXPECT_EQ(answer.error(), hv::Error::limit_reached);
    server->disconnected();
    client.work();
    EXPECT_TRUE(target.domains.empty());
}

}  // namespace
