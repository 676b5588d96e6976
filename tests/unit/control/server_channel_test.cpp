// SPDX-License-Identifier: MIT
//
// The client's ends of channels: messages in and out of frames, refusals that say which they are, news that is told, and nothing
// left behind by a client that goes.
#include "client.hpp"

namespace {

using namespace hv::protocol;
using hv::Error;
using hv::test::Answer;
using hv::test::Bytes;
using hv::test::bytes_of;

struct ServerChannels : hv::test::ServerTest {
    void SetUp() override
    {
        ASSERT_TRUE(client.hello().ok());
        domain = client.create();
        ASSERT_TRUE(client.ask(Command::domain_finish_build, DomainRequest{domain, 0}).ok());
    }
    Answer open(std::string_view name)
    {
        ChannelOpenRequest request{domain, 0, {}};
        EXPECT_TRUE(set_text(request.name, name).has_value());
        return client.ask(Command::channel_open, request);
    }
    std::uint64_t opened(std::string_view name)
    {
        const Answer answer{open(name)};
        EXPECT_TRUE(answer.ok()) << answer.text();
        return answer.ok() ? answer.fixed<ChannelOpenReply>().channel : 0;
    }
    Answer send(std::uint64_t channel, std::string_view text)
    {
        return client.ask(Command::channel_send, ChannelSendRequest{domain, static_cast<std::uint32_t>(text.size()), channel},
                          bytes_of(text));
    }
    Answer receive(std::uint64_t channel, std::uint32_t maximum = 0)
    {
        return client.ask(Command::channel_receive, ChannelRequest{domain, maximum, channel});
    }
    static std::vector<std::string> messages(const Answer& answer)
    {
        std::vector<std::string> all;
        std::span<const std::byte> rest{answer.view().tail()};
        for (std::uint32_t index = 0; index < answer.fixed<ChannelReceiveReply>().count; ++index) {
            ChannelMessageHead head{};
            std::memcpy(&head, rest.data(), sizeof head);
            all.emplace_back(as_text(rest.subspan(sizeof head, head.length)));
            rest = rest.subspan(sizeof head + head.length);
        }
        EXPECT_TRUE(rest.empty());
        return all;
    }

    DomainId domain{};
};

TEST_F(ServerChannels, MessagesGoOutAndComeInInTheirOrder)
{
    const auto answer = open("bus");
    ASSERT_TRUE(answer.ok()) << answer.text();
    EXPECT_EQ(answer.fixed<ChannelOpenReply>().flags, channel_connected);
    const std::uint64_t channel{answer.fixed<ChannelOpenReply>().channel};
    EXPECT_TRUE(send(channel, "one").ok());
    EXPECT_TRUE(send(channel, std::string(512, 't')).ok());
    EXPECT_EQ(target.channels.at(channel).sent, (std::deque<std::string>{"one", std::string(512, 't')}));
    target.channels.at(channel).waiting = {"a", std::string(512, 'b'), "c"};
    const auto two = receive(channel, 2);
    EXPECT_EQ(messages(two), (std::vector<std::string>{"a", std::string(512, 'b')}));
    EXPECT_EQ(two.fixed<ChannelReceiveReply>().waiting, 1u);
    const auto rest = receive(channel);
    EXPECT_EQ(messages(rest), (std::vector<std::string>{"c"}));
    EXPECT_EQ(rest.fixed<ChannelReceiveReply>().waiting, 0u);
    EXPECT_TRUE(messages(receive(channel)).empty());
}

TEST_F(ServerChannels, MoreThanAReplyHoldsComesInSeveral)
{
    const std::uint64_t channel{opened("bus")};
    target.channels.at(channel).waiting = std::deque<std::string>(300, std::string(512, 'x'));
    std::size_t all{0};
    for (unsigned replies = 0; replies < 4; ++replies)
        all += messages(receive(channel)).size();
    EXPECT_EQ(all, 300u);
}

TEST_F(ServerChannels, AMessageOfAWrongLengthIsRefusedAndNothingIsSent)
{
    const std::uint64_t channel{opened("bus")};
    EXPECT_EQ(send(channel, "").field(), "/length");
    EXPECT_EQ(send(channel, std::string(513, 'x')).error(), Error::out_of_range);
    for (const std::uint32_t length : {1u, 3u, 0xffff'ffffu}) {
        const auto answer = client.ask(Command::channel_send, ChannelSendRequest{domain, length, channel}, bytes_of("ab"));
        EXPECT_EQ(answer.field(), "/length") << length;
    }
    EXPECT_TRUE(target.channels.at(channel).sent.empty());
    EXPECT_TRUE(send(channel, "ab").ok());
}

TEST_F(ServerChannels, TheSenderHearsWhyNotByTheErrorAlone)
{
    const std::uint64_t channel{opened("bus")};
    for (unsigned count = 0; count < 8; ++count)
        EXPECT_TRUE(send(channel, "x").ok());
    EXPECT_EQ(send(channel, "x").error(), Error::limit_reached);
    target.channels.at(channel).connected = false;
    const auto nobody = send(channel, "x");
    EXPECT_EQ(nobody.error(), Error::not_found);
    EXPECT_EQ(nobody.field(), "/channel");
    EXPECT_EQ(receive(channel).fixed<ChannelReceiveReply>().flags, 0u);
    EXPECT_EQ(send(channel + 1, "x").error(), Error::gone);
    EXPECT_EQ(receive(channel + 1).error(), Error::gone);
    EXPECT_EQ(open("bus").error(), Error::already_exists);
}

TEST_F(ServerChannels, ANameThatDoesNotEndIsRefused)
{
    ChannelOpenRequest request{domain, 0, {}};
    std::memset(request.name, 'n', sizeof request.name);
    EXPECT_EQ(client.ask(Command::channel_open, request).field(), "/name");
    EXPECT_TRUE(target.channels.empty());
}

TEST_F(ServerChannels, NewsIsToldToWhoSubscribed)
{
    const std::uint64_t channel{opened("bus")};
    target.channel_news.push_back({domain, 1, channel, channel_connected, 0});
    server->events_waiting();
    client.work();
    EXPECT_TRUE(client.events.empty());
    EXPECT_TRUE(client.ask(Command::subscribe, SubscribeRequest{event_bit(EventCode::channel_changed)}).ok());
    client.work();
    ASSERT_EQ(client.events.size(), 1u);
    EXPECT_EQ(client.events[0].header.command, static_cast<std::uint16_t>(EventCode::channel_changed));
    EXPECT_EQ(client.events[0].fixed<ChannelChangedEvent>().channel, channel);
    EXPECT_EQ(client.events[0].fixed<ChannelChangedEvent>().waiting, 1u);
}

TEST_F(ServerChannels, ClosedOnesAreGoneAndAClientThatGoesLeavesNone)
{
    const std::uint64_t one{opened("bus")};
    opened("other");
    EXPECT_TRUE(client.ask(Command::channel_close, ChannelRequest{domain, 0, one}).ok());
    EXPECT_EQ(client.ask(Command::channel_close, ChannelRequest{domain, 0, one}).error(), Error::gone);
    EXPECT_EQ(target.channels.size(), 1u);
    server->disconnected();
    client.work();
    EXPECT_TRUE(target.channels.empty());
}

}  // namespace
