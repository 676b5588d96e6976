// SPDX-License-Identifier: MIT
//
// Two descriptors and one poll.  At most so many messages are on their way to xld as an extension can have waiting, so that writing
// them never keeps this from reading.
#include "client/channel_client.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <deque>
#include <limits>
#include <optional>
#include <utility>

#include "base/hex.hpp"
#include "commands/commands.hpp"
#include "config/json_text.hpp"
#include "hv/protocol/control.hpp"

namespace hv::xl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t most_on_their_way{8};
/// Standard input is not read while so many of its lines wait.
constexpr std::size_t most_lines{64};

bool is_text(std::string_view bytes)
{
    for (const char one : bytes)
        if ((one < 0x20 && one != '\t') || one > 0x7e)
            return false;
    return true;
}

class ChannelClient {
public:
    ChannelClient(Connection& connection, const Arguments& arguments)
        : connection_{connection}, arguments_{arguments},
          wanted_{arguments.receive >= 0 || arguments.messages.empty() ? arguments.receive : 0},
          reads_input_{arguments.messages.empty()},
          deadline_{arguments.patience == 0 ? Clock::time_point::max() : Clock::now() + std::chrono::seconds{arguments.patience}}
    {
        for (const std::string& message : arguments.messages)
            give(message);
        // Somebody at a terminal is not waited for, where a number of messages is.
        if (reads_input_ && wanted_ >= 0 && ::isatty(STDIN_FILENO) == 1)
            reads_input_ = false;
    }

    ExitCode run()
    {
        while (!result_ && !(attached_ && is_done())) {
            const bool reads{attached_ && reads_input_ && waiting_.size() < most_lines};
            std::array<pollfd, 2> descriptors{{{connection_.descriptor(), POLLIN, 0}, {reads ? STDIN_FILENO : -1, POLLIN, 0}}};
            if (::poll(descriptors.data(), descriptors.size(), time_left()) < 0 && errno != EINTR)
                throw Failure{ExitCode::failed, "poll: " + system_reason(errno)};
            if (Clock::now() >= deadline_)
                time_is_up();
            if (descriptors[0].revents != 0)
                connection_.take_frames([this](const SocketFrame& frame) {
                    take_frame(frame);
                    return !result_;
                });
            if (!result_ && descriptors[1].revents != 0)
                take_input();
            if (attached_ && !result_)
                pass_on();
        }
        return result_.value_or(ExitCode::done);
    }

private:
    [[nodiscard]] bool all_sent() const { return !reads_input_ && waiting_.empty() && on_their_way_ == 0; }

    [[nodiscard]] bool is_done() const { return wanted_ >= 0 && received_ >= wanted_ && all_sent(); }

    [[nodiscard]] int time_left() const
    {
        if (deadline_ == Clock::time_point::max())
            return -1;
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
        return static_cast<int>(std::clamp<decltype(left)>(left, 0, std::numeric_limits<int>::max()));
    }

    [[noreturn]] void time_is_up() const
    {
        const std::string time{" within " + std::to_string(arguments_.patience) + " seconds"};
        if (nobody_)
            throw Failure{ExitCode::timed_out, "nobody has opened the other end of the channel" + time};
        if (!waiting_.empty() || on_their_way_ != 0)
            throw Failure{ExitCode::timed_out, "there was no room for all messages at the other end" + time};
        throw Failure{ExitCode::timed_out, std::to_string(received_) + " messages came" + time};
    }

    /// A message as it was written.
    void give(const std::string& written)
    {
        std::string message{arguments_.hex ? bytes_of_hex(written) : written};
        if (message.empty() || message.size() > protocol::longest_channel_message)
            throw Failure{ExitCode::bad_text, "a message has 1 to " + std::to_string(protocol::longest_channel_message) + " bytes, not " +
                                                  std::to_string(message.size())};
        waiting_.push_back(std::move(message));
    }

    void take_input()
    {
        std::array<char, 4096> buffer;
        const ssize_t count{::read(STDIN_FILENO, buffer.data(), buffer.size())};
        if (count < 0 && (errno == EINTR || errno == EAGAIN))
            return;
        line_.append(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
        for (std::size_t end = line_.find('\n'); end != std::string::npos; end = line_.find('\n')) {
            give(line_.substr(0, end));
            line_.erase(0, end + 1);
        }
        if (count > 0)
            return;
        reads_input_ = false;
        if (!line_.empty())
            give(std::exchange(line_, {}));
    }

    void pass_on()
    {
        for (; !waiting_.empty() && on_their_way_ < most_on_their_way; waiting_.pop_front(), ++on_their_way_)
            connection_.send(FrameType::channel_message, waiting_.front());
    }

    void take_frame(const SocketFrame& frame)
    {
        if (frame.type == FrameType::channel_message)
            return take_message(frame.payload);
        if (frame.type == FrameType::channel_notice)
            return take_notice(parse_json_text(frame.payload));
        static_cast<void>(reply_of(frame));
        attached_ = true;
    }

    void take_message(const std::string& message)
    {
        if (wanted_ >= 0 && received_ >= wanted_)
            return;
        ++received_;
        if (arguments_.json)
            print(Json{{"bytes", message.size()}, {"hex", hex_text(std::as_bytes(std::span{message}))}, {"text", is_text(message) ? Json(message) : Json{}}}.dump() +
                  "\n");
        else
            print((arguments_.hex ? hex_text(std::as_bytes(std::span{message})) : message) + "\n");
    }

    void take_notice(const Json& notice)
    {
        const std::string event{notice.value("event", "")};
        if (event == "sent") {
            --on_their_way_;
            nobody_ = false;
        } else if (event == "nobody") {
            nobody_ = true;
            if (arguments_.patience == 0)
                throw Failure{ExitCode::not_found, "nobody has the other end of the channel \"" + arguments_.name +
                                                       "\": no extension of the domain has opened it"};
        } else if (event == "connected" || event == "disconnected") {
            std::fprintf(stderr, "xl: the other end of the channel is %s\n", event == "connected" ? "open" : "closed");
        } else if (event == "ended") {
            domain_ended(notice.value("reason", ""));
        }
    }

    void domain_ended(const std::string& reason)
    {
        if (is_done())
            return;
        if (wanted_ >= 0 || !waiting_.empty() || on_their_way_ != 0)
            throw Failure{ExitCode::failed, "the domain ended: " + reason + "; " + std::to_string(received_) + " messages had come, " +
                                                std::to_string(waiting_.size() + on_their_way_) + " were not sent"};
        std::fprintf(stderr, "xl: the domain ended: %s\n", reason.c_str());
        result_ = reason.starts_with("crash") ? ExitCode::failed : ExitCode::done;
    }

    Connection& connection_;
    const Arguments& arguments_;
    std::deque<std::string> waiting_;  ///< to be sent
    std::size_t on_their_way_{};       ///< sent to xld, and not with the extension yet
    std::string line_;                 ///< of standard input, as far as it has come
    int received_{};
    int wanted_;  ///< messages that are shown; below 0: all
    bool attached_{};
    bool nobody_{};
    bool reads_input_;
    Clock::time_point deadline_;
    std::optional<ExitCode> result_;
};

}  // namespace

std::string bytes_of_hex(std::string_view digits)
{
    std::string bytes;
    for (std::size_t at = 0; at < digits.size(); at += 2) {
        unsigned value{};
        const char* const end{digits.data() + at + 2};
        if (digits.size() - at < 2 || std::from_chars(digits.data() + at, end, value, 16).ptr != end)
            throw Failure{ExitCode::bad_text, "\"" + std::string{digits} + "\" is not pairs of hexadecimal digits"};
        bytes += static_cast<char>(value);
    }
    return bytes;
}

ExitCode run_channel(Connection& connection, const Json& request, const Arguments& arguments)
{
    ChannelClient client{connection, arguments};
    connection.send_request(request, {});
    return client.run();
}

}  // namespace hv::xl
