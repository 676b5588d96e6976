// SPDX-License-Identifier: MIT
//
// Bytes in and out of the control port.
#include "hypervisor/control_link.hpp"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/byte_buffer.hpp"

namespace hv::xl {
namespace {

/// No command takes the hypervisor this long; a slow emulator is allowed for.
constexpr std::chrono::seconds patience{120};

ExitCode exit_code_of(hv::Error error, bool has_field)
{
    switch (error) {
    case hv::Error::not_found:
    case hv::Error::gone: return ExitCode::not_found;
    case hv::Error::no_memory:
    case hv::Error::conflict:
    case hv::Error::permission_denied:
    case hv::Error::limit_reached: return ExitCode::not_granted;
    case hv::Error::timed_out: return ExitCode::timed_out;
    case hv::Error::invalid_argument:
    case hv::Error::out_of_range: return has_field ? ExitCode::bad_text : ExitCode::failed;
    case hv::Error::not_supported:
    case hv::Error::already_exists:
    case hv::Error::busy:
    case hv::Error::malformed:
    case hv::Error::abi_mismatch: break;
    }
    return ExitCode::failed;
}

Refused refusal_of(const ControlFrame& frame)
{
    const auto error = static_cast<hv::Error>(frame.header.status);
    const auto refusal = protocol::decode_refusal(frame.view());
    const std::string text{refusal ? std::string{refusal.value().text} : std::string{}};
    return {error, text.empty() ? std::string{"the hypervisor refused: "} + hv::error_name(error) : text,
            refusal ? std::string{refusal.value().field} : std::string{}};
}

Failure not_connected(const std::string& why)
{
    return {ExitCode::not_connected, "no connection to the hypervisor: " + why};
}

}  // namespace

Refused::Refused(hv::Error error, const std::string& text, std::string field)
    : Failure{exit_code_of(error, !field.empty()), text}, error_{error}, field_{std::move(field)}
{
}

void ControlLink::open(FileDescriptor descriptor, std::function<void(const std::string&)> on_down)
{
    descriptor_ = std::move(descriptor);
    on_down_ = std::move(on_down);
    watch_ = loop_.watch(
        descriptor_.number(),
        [this] { return static_cast<short>(POLLIN | (outgoing_.empty() ? 0 : POLLOUT)); },
        [this](short events) { ready(events); });
}

void ControlLink::shut(const std::string& why)
{
    if (descriptor_.open())
        loop_.unwatch(watch_);
    descriptor_.close();
    outgoing_.clear();
    incoming_.clear();
    std::vector<std::uint64_t> ids;
    for (const auto& [id, pending] : pending_)
        ids.push_back(id);
    for (const std::uint64_t id : ids)
        settle(id, {}, not_connected(why));
}

void ControlLink::down(const std::string& why)
{
    const auto tell = on_down_;
    shut(why);
    if (tell)
        tell(why);
}

Task<ControlFrame> ControlLink::call(ControlRequest request)
{
    if (!is_open())
        throw not_connected("the control port is not open");
    const std::uint64_t id{next_id_++};
    enqueue(id, request);
    pending_[id].timer = loop_.after(patience, [this, id] { give_up(id); });
    const Settled settled{*this, id};
    co_await settled;
    Pending done{std::move(pending_[id])};
    pending_.erase(id);
    if (done.failure)
        throw *done.failure;
    if (done.answer->header.status != 0)
        throw refusal_of(*done.answer);
    co_return std::move(*done.answer);
}

void ControlLink::enqueue(std::uint64_t id, ControlRequest& request)
{
    protocol::FrameHeader header{};
    header.magic = protocol::frame_magic;
    header.version = protocol::highest_version;
    header.kind = static_cast<std::uint16_t>(protocol::FrameKind::request);
    header.command = static_cast<std::uint16_t>(request.command);
    header.fixed_length = request.fixed_length;
    header.request_id = id;
    header.body_length = static_cast<std::uint32_t>(request.body.size());
    header.bulk_length = static_cast<std::uint32_t>(request.bulk.size());
    const auto raw = std::as_bytes(std::span{&header, 1});
    Outgoing out{id, {raw.begin(), raw.end()}, request.bulk};
    append(out.head, request.body);
    outgoing_.push_back(std::move(out));
}

/// An answer may come before all of its request has left; who asked may then free the bulk data.
void ControlLink::own_what_is_unsent(std::uint64_t id)
{
    for (Outgoing& out : outgoing_) {
        if (out.id != id)
            continue;
        append(out.head, out.bulk);
        out.bulk = {};
    }
}

void ControlLink::settle(std::uint64_t id, std::optional<ControlFrame> answer, std::optional<Failure> failure)
{
    const auto found = pending_.find(id);
    if (found == pending_.end() || found->second.answer || found->second.failure)
        return;  // nobody asked, or it is settled already
    loop_.cancel(found->second.timer);
    own_what_is_unsent(id);
    found->second.answer = std::move(answer);
    found->second.failure = std::move(failure);
    loop_.resume_later(found->second.waiter);
}

void ControlLink::give_up(std::uint64_t id)
{
    settle(id, {}, Failure{ExitCode::timed_out, "the hypervisor did not answer; a hook of a trusted extension that never ends "
                                               "may hold the only processor that runs guests"});
}

void ControlLink::ready(short events)
{
    if ((events & POLLOUT) != 0 && !write_some())
        return;
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0)
        read_some();
}

bool ControlLink::write_some()
{
    while (!outgoing_.empty()) {
        Outgoing& out = outgoing_.front();
        const bool in_head{out.sent < out.head.size()};
        const std::span<const std::byte> rest{in_head ? std::span<const std::byte>{out.head}.subspan(out.sent)
                                                      : out.bulk.subspan(out.sent - out.head.size())};
        if (rest.empty()) {
            outgoing_.pop_front();
            continue;
        }
        const ssize_t count{::write(descriptor_.number(), rest.data(), rest.size())};
        if (count < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (count <= 0) {
            down("writing to the control port: " + system_reason(errno));
            return false;
        }
        out.sent += static_cast<std::size_t>(count);
    }
    return true;
}

bool ControlLink::read_some()
{
    std::array<std::byte, 65536> buffer;
    const ssize_t count{::read(descriptor_.number(), buffer.data(), buffer.size())};
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (count <= 0) {
        down(count == 0 ? "the control port's other end is closed"
                        : "reading the control port: " + system_reason(errno));
        return false;
    }
    append(incoming_, std::span{buffer}.first(static_cast<std::size_t>(count)));
    take_frames();
    return is_open();
}

void ControlLink::take_frames()
{
    std::size_t at{0};
    while (is_open() && incoming_.size() - at >= sizeof(protocol::FrameHeader)) {
        const std::span<const std::byte> rest{std::span<const std::byte>{incoming_}.subspan(at)};
        const auto header = protocol::decode_header(rest);
        if (!header || header.value().body_length > protocol::maximum_body ||
            header.value().bulk_length > protocol::maximum_reply_bulk)
            return down("what came from the control port is not a frame of the control protocol");
        const std::size_t body{header.value().body_length};
        const std::size_t bulk{header.value().bulk_length};
        if (rest.size() - sizeof(protocol::FrameHeader) < body + bulk)
            break;
        const auto contents = rest.subspan(sizeof(protocol::FrameHeader), body + bulk);
        at += sizeof(protocol::FrameHeader) + body + bulk;
        ControlFrame frame{header.value(),
                           {contents.begin(), contents.begin() + static_cast<std::ptrdiff_t>(body)},
                           {contents.begin() + static_cast<std::ptrdiff_t>(body), contents.end()}};
        take_frame(std::move(frame));
    }
    if (is_open())
        incoming_.erase(incoming_.begin(), incoming_.begin() + static_cast<std::ptrdiff_t>(at));
}

void ControlLink::take_frame(ControlFrame frame)
{
    if (frame.header.kind == static_cast<std::uint16_t>(protocol::FrameKind::event))
        return on_event_(frame);
    if (frame.header.kind != static_cast<std::uint16_t>(protocol::FrameKind::reply))
        return down("the control port's other end sent a request");
    const std::uint64_t id{frame.header.request_id};
    settle(id, std::move(frame), {});
}

}  // namespace hv::xl
