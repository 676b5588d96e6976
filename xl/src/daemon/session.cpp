// SPDX-License-Identifier: MIT
//
// Socket input and output of one client.
#include "daemon/session.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "daemon/log.hpp"

namespace hv::xl {
namespace {

/// What a client may leave unread.  A console's output of this size is minutes of a talkative kernel.
constexpr std::size_t longest_queue{16u << 20};
/// A request carries a kernel and a ramdisk at most.
constexpr std::size_t most_descriptors{4};

/// Descriptors of one message; those beyond the limit are closed.
void take_descriptors(const msghdr& message, std::vector<FileDescriptor>& into)
{
    for (const cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr;
         control = CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(control))) {
        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
            continue;
        const std::size_t count{(control->cmsg_len - CMSG_LEN(0)) / sizeof(int)};
        for (std::size_t i = 0; i < count; ++i) {
            int number{};
            std::memcpy(&number, CMSG_DATA(control) + i * sizeof(int), sizeof number);
            FileDescriptor descriptor{number};
            if (into.size() < most_descriptors)
                into.push_back(std::move(descriptor));
        }
    }
}

}  // namespace

std::shared_ptr<Session> Session::start(EventLoop& loop, FileDescriptor socket, Handlers handlers)
{
    auto session = std::make_shared<Session>(loop, std::move(socket), std::move(handlers));
    Session* const self{session.get()};
    // The watch keeps the session alive until it is closed.
    session->watch_ = loop.watch(
        session->socket_.number(),
        [self] {
            const bool reads{!self->closing_ && self->handlers_.takes_input(*self)};
            return static_cast<short>((reads ? POLLIN : 0) | (self->outgoing_.empty() ? 0 : POLLOUT) |
                                      POLLRDHUP);
        },
        [session](short events) { session->ready(events); });
    return session;
}

void Session::send(FrameType type, std::uint32_t id, std::string_view payload)
{
    if (!alive() || closing_)
        return;
    outgoing_ += encode_frame(type, id, payload);
    if (outgoing_.size() <= longest_queue)
        return;
    log_warning("a client does not read what it asked for, and is cut off");
    loop_.post([self = shared_from_this()] { self->close(); });
    closing_ = true;
}

void Session::send_json(FrameType type, std::uint32_t id, const Json& json)
{
    send(type, id, json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void Session::send_failure(std::uint32_t id, const Failure& failure)
{
    send_json(FrameType::failure, id, failure_json(failure));
}

void Session::close()
{
    if (!alive())
        return;
    const auto self = shared_from_this();
    loop_.unwatch(watch_);
    socket_.close();
    handlers_.on_close(self);
}

void Session::ready(short events)
{
    if ((events & POLLOUT) != 0)
        write_some();
    if (alive() && (events & POLLIN) != 0)
        read_some();
    else if (alive() && (events & (POLLHUP | POLLERR | POLLRDHUP)) != 0)
        close();
}

void Session::read_some()
{
    std::array<char, 65536> buffer;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(8 * sizeof(int))> control;
    iovec piece{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t count{::recvmsg(socket_.number(), &message, MSG_CMSG_CLOEXEC)};
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count <= 0)
        return close();
    take_descriptors(message, received_);
    reader_.add({buffer.data(), static_cast<std::size_t>(count)});
    take_frames();
}

void Session::take_frames()
{
    try {
        while (alive() && !closing_) {
            auto frame = reader_.next();
            if (!frame)
                return;
            if (frame->type == FrameType::request)
                handlers_.on_request(shared_from_this(), std::move(*frame), std::exchange(received_, {}));
            else if (frame->type == FrameType::console_input)
                handlers_.on_console_input(shared_from_this(), std::move(frame->payload));
            else if (frame->type == FrameType::channel_message)
                handlers_.on_channel_message(shared_from_this(), std::move(frame->payload));
            else
                throw Failure{ExitCode::failed, "a client sends requests, console input and messages only"};
        }
    } catch (const Failure& failure) {
        refuse_and_close(failure);
    }
}

void Session::refuse_and_close(const Failure& failure)
{
    send_failure(0, failure);
    closing_ = true;
    write_some();
}

void Session::write_some()
{
    while (!outgoing_.empty()) {
        const ssize_t count{
            ::send(socket_.number(), outgoing_.data(), outgoing_.size(), MSG_NOSIGNAL | MSG_DONTWAIT)};
        if (count < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (count < 0)
            return close();
        outgoing_.erase(0, static_cast<std::size_t>(count));
    }
    if (closing_)
        close();
}

}  // namespace hv::xl
