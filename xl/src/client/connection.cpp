// SPDX-License-Identifier: MIT
//
// Requests with descriptors, replies, and nothing else.
#include "client/connection.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "config/json_text.hpp"

namespace hv::xl {
namespace {

constexpr std::uint32_t only_request{1};
constexpr std::size_t most_files{4};

[[noreturn]] void lost(const std::string& why)
{
    throw Failure{ExitCode::not_connected, "the connection to xld ended: " + why};
}

}  // namespace

Connection::Connection(const std::string& socket)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (socket.size() >= sizeof address.sun_path)
        throw Failure{ExitCode::bad_text, socket + " is too long for a socket's name"};
    std::memcpy(address.sun_path, socket.c_str(), socket.size());
    socket_ = FileDescriptor{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (::connect(socket_.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        throw Failure{ExitCode::not_connected,
                      "cannot reach xld at " + socket + ": " + system_reason(errno) +
                          (errno == EACCES ? " (users of group graft may)" : "")};
}

void Connection::send(FrameType type, std::string_view payload)
{
    const std::string frame{encode_frame(type, only_request, payload)};
    std::size_t sent{0};
    while (sent < frame.size()) {
        const ssize_t count{::send(socket_.number(), frame.data() + sent, frame.size() - sent, MSG_NOSIGNAL)};
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            lost(system_reason(errno));
        sent += static_cast<std::size_t>(count);
    }
}

void Connection::send_request(const Json& request, const std::vector<int>& files)
{
    if (files.empty())
        return send(FrameType::request, request.dump(-1, ' ', false, Json::error_handler_t::replace));
    // The descriptors go ahead with the first byte of the frame.
    const std::string frame{encode_frame(FrameType::request, only_request,
                                         request.dump(-1, ' ', false, Json::error_handler_t::replace))};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(most_files * sizeof(int))> control{};
    iovec piece{const_cast<char*>(frame.data()), 1};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(files.size() * sizeof(int));
    cmsghdr* const header{CMSG_FIRSTHDR(&message)};
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(files.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), files.data(), files.size() * sizeof(int));
    if (::sendmsg(socket_.number(), &message, MSG_NOSIGNAL) != 1)
        lost(system_reason(errno));
    std::string_view rest{std::string_view{frame}.substr(1)};
    while (!rest.empty()) {
        const ssize_t count{::send(socket_.number(), rest.data(), rest.size(), MSG_NOSIGNAL)};
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            lost(system_reason(errno));
        rest.remove_prefix(static_cast<std::size_t>(count));
    }
}

void Connection::read_some()
{
    std::array<char, 65536> buffer;
    const ssize_t count{::recv(socket_.number(), buffer.data(), buffer.size(), 0)};
    if (count < 0 && errno == EINTR)
        return;
    if (count < 0)
        lost(system_reason(errno));
    if (count == 0)
        lost("it was closed");
    reader_.add({buffer.data(), static_cast<std::size_t>(count)});
}

SocketFrame Connection::receive()
{
    for (;;) {
        if (auto frame = reader_.next())
            return std::move(*frame);
        read_some();
    }
}

void Connection::take_frames(const std::function<bool(const SocketFrame&)>& take)
{
    auto frame = reader_.next();
    if (!frame) {
        read_some();
        frame = reader_.next();
    }
    while (frame && take(*frame))
        frame = reader_.next();
}

Json Connection::call(const Json& request, const std::vector<int>& files,
                      const std::function<void(const std::string&)>& on_text)
{
    send_request(request, files);
    for (;;) {
        const SocketFrame frame{receive()};
        if (frame.type == FrameType::text && on_text)
            on_text(frame.payload);
        else
            return reply_of(frame);
    }
}

Json reply_of(const SocketFrame& frame)
{
    if (frame.type == FrameType::failure)
        throw failure_from_json(parse_json_text(frame.payload));
    if (frame.type != FrameType::reply)
        throw Failure{ExitCode::failed, "xld sent what was not asked for"};
    return parse_json_text(frame.payload);
}

}  // namespace hv::xl
