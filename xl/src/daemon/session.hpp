// SPDX-License-Identifier: MIT
//
// One xl at the other end of the unix socket.  Puts frames together, queues what goes out, and closes on the
// first thing that is wrong.  Never blocks and never grows without bound: a client that does not read is cut
// off.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "daemon/event_loop.hpp"
#include "wire/frame.hpp"

namespace hv::xl {

class Session : public std::enable_shared_from_this<Session> {
public:
    struct Handlers {
        /// A request, with the descriptors that came before or with it.
        std::function<void(const std::shared_ptr<Session>&, SocketFrame, std::vector<FileDescriptor>)>
            on_request;
        std::function<void(const std::shared_ptr<Session>&, std::string)> on_console_input;
        std::function<void(const std::shared_ptr<Session>&, std::string)> on_channel_message;
        std::function<void(const std::shared_ptr<Session>&)> on_close;
        /// False while console input, or a message, cannot be taken.
        std::function<bool(const Session&)> takes_input;
    };

    [[nodiscard]] static std::shared_ptr<Session> start(EventLoop& loop, FileDescriptor socket,
                                                        Handlers handlers);
    Session(EventLoop& loop, FileDescriptor socket, Handlers handlers)
        : loop_{loop}, socket_{std::move(socket)}, handlers_{std::move(handlers)}
    {
    }

    [[nodiscard]] bool alive() const { return socket_.open(); }
    /// Bytes that wait for the client to read them.
    [[nodiscard]] std::size_t unread() const { return outgoing_.size(); }
    void send(FrameType type, std::uint32_t id, std::string_view payload);
    void send_json(FrameType type, std::uint32_t id, const Json& json);
    void send_failure(std::uint32_t id, const Failure& failure);
    void close();

    /// Requests under way; a client that asks for more at once is refused.
    unsigned requests_under_way{};

private:
    void ready(short events);
    void read_some();
    void take_frames();
    void write_some();
    void refuse_and_close(const Failure& failure);

    EventLoop& loop_;
    FileDescriptor socket_;
    Handlers handlers_;
    EventLoop::WatchId watch_{};
    FrameReader reader_;
    std::vector<FileDescriptor> received_;
    std::string outgoing_;
    bool closing_{};  ///< once what is queued is out
};

}  // namespace hv::xl
