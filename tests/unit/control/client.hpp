// SPDX-License-Identifier: MIT
//
// A client of the control server in tests: builds requests, carries bytes both ways, and takes replies and
// events apart.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "fake_control_target.hpp"
#include "hv/core/control/server.hpp"

namespace hv::test {

using Bytes = std::vector<std::byte>;

/// A frame that came from the server.
struct Answer {
    protocol::FrameHeader header{};
    Bytes body{};
    Bytes bulk{};

    [[nodiscard]] bool ok() const { return header.status == 0; }
    [[nodiscard]] Error error() const { return static_cast<Error>(header.status); }
    [[nodiscard]] protocol::FrameView view() const { return {header, body}; }
    template <typename T>
    [[nodiscard]] T fixed() const
    {
        const auto value = view().fixed<T>();
        EXPECT_TRUE(value.has_value());
        return value.has_value() ? value.value() : T{};
    }
    template <typename T>
    [[nodiscard]] std::vector<T> entries() const
    {
        const auto head = fixed<protocol::ListReply>();
        const auto list = protocol::EntryView<T>::over(view().tail(), head.count, head.entry_size);
        std::vector<T> result{};
        EXPECT_TRUE(list.has_value());
        for (std::size_t i = 0; list.has_value() && i < list.value().size(); ++i)
            result.push_back(list.value().at(i));
        return result;
    }
    [[nodiscard]] std::string text() const
    {
        const auto refusal = protocol::decode_refusal(view());
        return refusal.has_value() ? std::string{refusal.value().text} : "no refusal";
    }
    [[nodiscard]] std::string field() const
    {
        const auto refusal = protocol::decode_refusal(view());
        return refusal.has_value() ? std::string{refusal.value().field} : "no refusal";
    }
};

class Client {
public:
    explicit Client(core::control::ControlServer& server) : server_{server} { server.connected(); }

    /// A request frame with its bulk data behind it.
    template <typename T>
    Bytes frame(protocol::Command command, const T& fixed, const Bytes& tail = {}, const Bytes& bulk = {})
    {
        Bytes buffer(sizeof(protocol::FrameHeader) + protocol::maximum_body);
        protocol::FrameBuilder builder{buffer};
        builder.request(command, ++last_id);
        EXPECT_TRUE(builder.fixed(fixed).has_value());
        EXPECT_TRUE(builder.tail_bytes(tail).has_value());
        const auto built = builder.finish(static_cast<std::uint32_t>(bulk.size()));
        Bytes result(built.value().begin(), built.value().end());
        result.insert(result.end(), bulk.begin(), bulk.end());
        return result;
    }
    /// Offers bytes in pieces of `piece` and lets the server work whenever it takes no more.
    void send(const Bytes& bytes, std::size_t piece = ~std::size_t{0})
    {
        std::size_t sent{0};
        unsigned stuck{0};
        while (sent < bytes.size() && stuck < 1000) {
            const std::size_t part{std::min(piece, bytes.size() - sent)};
            const std::size_t taken{server_.receive(std::span{bytes}.subspan(sent, part))};
            sent += taken;
            stuck = taken == 0 ? stuck + 1 : 0;
            work();
        }
        EXPECT_EQ(sent, bytes.size());
    }
    void work()
    {
        for (unsigned slice = 0; slice < 10'000; ++slice) {
            const bool more{server_.step()};
            collect();
            if (!more && !server_.has_output() && !server_.needs_step())
                return;
        }
        ADD_FAILURE() << "the server never rests";
    }
    /// Sends a request and returns its reply; events that come meanwhile are kept in `events`.
    template <typename T>
    Answer ask(protocol::Command command, const T& fixed, const Bytes& tail = {}, const Bytes& bulk = {})
    {
        send(frame(command, fixed, tail, bulk));
        return reply();
    }
    Answer reply()
    {
        if (replies.empty()) {
            ADD_FAILURE() << "no reply came";
            return {};
        }
        const Answer answer{replies.front()};
        replies.pop_front();
        EXPECT_EQ(answer.header.request_id, last_id);
        return answer;
    }
    Answer hello()
    {
        return ask(protocol::Command::hello, protocol::HelloRequest{1, 1, 0, "test"});
    }
    /// A domain under construction.
    protocol::DomainId create(const char* name = "web1", std::uint64_t memory = 8 * 4096)
    {
        const Answer answer{ask(protocol::Command::domain_create, create_request(name, memory))};
        EXPECT_TRUE(answer.ok()) << answer.text();
        return answer.ok() ? answer.fixed<protocol::DomainCreateReply>().domain : 0;
    }
    static protocol::DomainCreateRequest create_request(const char* name = "web1",
                                                        std::uint64_t memory = 8 * 4096)
    {
        protocol::DomainCreateRequest request{};
        EXPECT_TRUE(protocol::set_text(request.name, name).has_value());
        request.memory = memory;
        request.vcpus = 2;
        return request;
    }

    std::deque<Answer> replies{};
    std::deque<Answer> events{};
    std::uint64_t last_id{0};

private:
    void collect()
    {
        std::array<std::byte, 1000> room{};
        while (const std::size_t length{server_.transmit(room)})
            input_.insert(input_.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(length));
        while (input_.size() >= sizeof(protocol::FrameHeader)) {
            const auto header = protocol::decode_header(input_);
            ASSERT_TRUE(header.has_value());
            const std::size_t body_end{sizeof(protocol::FrameHeader) + header.value().body_length};
            const std::size_t end{body_end + header.value().bulk_length};
            if (input_.size() < end)
                return;
            const auto at = [&](std::size_t offset) {
                return input_.begin() + static_cast<std::ptrdiff_t>(offset);
            };
            const Answer answer{header.value(), {at(sizeof(protocol::FrameHeader)), at(body_end)},
                                {at(body_end), at(end)}};
            (header.value().kind == 2 ? replies : events).push_back(answer);
            input_.erase(input_.begin(), at(end));
        }
    }

    core::control::ControlServer& server_;
    Bytes input_{};
};

/// Server, fake machine and a client; the server is large, so on the heap.
struct ServerTest : testing::Test {
    FakeControlTarget target{};
    std::unique_ptr<core::control::ControlServer> server{
        std::make_unique<core::control::ControlServer>(target)};
    Client client{*server};
};

inline Bytes bytes_of(std::string_view text)
{
    const auto bytes = protocol::as_bytes(text);
    return {bytes.begin(), bytes.end()};
}

}  // namespace hv::test
