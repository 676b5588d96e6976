// SPDX-License-Identifier: MIT
//
// Commands about the machine and the raw parts of a domain: hello, info, the log, memory, registers.
#include <algorithm>

#include "commands.hpp"

namespace hv::core::control {

using namespace protocol;

Expected<Progress> ControlServer::hello(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<HelloRequest>(frame));
    const std::uint16_t version{std::min(request.highest_version, highest_version)};
    if (request.lowest_version > request.highest_version || version < request.lowest_version ||
        version < lowest_version)
        return refuse(reason_, Error::abi_mismatch, "versions ", request.lowest_version, " to ",
                      request.highest_version, " are asked for, ", lowest_version, " to ", highest_version,
                      " are spoken here");
    greeted_ = true;
    version_ = version;
    subscriptions_ = 0;
    log_seen_ = 0;
    log_told_ = false;
    HelloReply reply{version, lowest_version, highest_version, 0, maximum_body, maximum_request_bulk, {}};
    set_text_truncated(reply.server, "graft");
    HV_TRY(reply_.fixed(reply));
    return Progress::done;
}

Expected<Progress> ControlServer::info(const FrameView&)
{
    InfoReply reply{};
    target_.info(reply);
    HV_TRY(reply_.fixed(reply));
    return Progress::done;
}

Expected<Progress> ControlServer::subscribe(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<SubscribeRequest>(frame));
    constexpr std::uint64_t known{event_bit(EventCode::domain_ended) | event_bit(EventCode::console_changed) |
                                  event_bit(EventCode::log_grew) | event_bit(EventCode::channel_changed)};
    if ((request.events & ~known) != 0)
        return refuse_field(reason_, Error::not_supported, "/events", "no such event: bits ",
                            Hex{request.events & ~known});
    subscriptions_ = request.events;
    events_waiting();
    return Progress::done;
}

Expected<Progress> ControlServer::log_read(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<LogReadRequest>(frame));
    constexpr std::size_t most{maximum_body - sizeof(LogReadReply)};
    const std::size_t room{request.maximum_bytes == 0 ? most
                                                      : std::min<std::size_t>(request.maximum_bytes, most)};
    // The request has been read: its buffer is free for the text.
    const std::span<char> text{reinterpret_cast<char*>(body_.data()), room};
    const LogSlice slice{target_.read_log(request.cursor, text)};
    HV_ASSERT(slice.bytes <= room);
    HV_TRY(reply_.fixed(LogReadReply{slice.next, slice.lost, static_cast<std::uint32_t>(slice.bytes), 0}));
    HV_TRY(reply_.tail_bytes(std::span{body_}.first(slice.bytes)));
    log_seen_ = slice.next;
    log_told_ = false;
    events_waiting();
    return Progress::done;
}

Expected<Progress> ControlServer::log_clear(const FrameView&)
{
    target_.clear_log();
    return Progress::done;
}

Expected<Progress> ControlServer::memory_read(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<MemoryReadRequest>(frame));
    if (request.length > maximum_reply_bulk)
        return refuse_field(reason_, Error::out_of_range, "/length", "a read returns at most ",
                            maximum_reply_bulk, " bytes");
    if (request.address + request.length < request.address)
        return refuse_field(reason_, Error::out_of_range, "/address", "the range wraps around");
    const auto room = std::span{output_}.subspan(sizeof(FrameHeader), request.length);
    HV_TRY(target_.read_memory(request.domain, request.address, room, reason_));
    reply_bulk_ = request.length;
    return Progress::done;
}

Expected<Progress> ControlServer::registers_set(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<RegistersSetRequest>(frame));
    HV_TRY(target_.set_registers(request.domain, request.vcpu, request.registers, reason_));
    return Progress::done;
}

Expected<Progress> ControlServer::registers_get(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<RegistersGetRequest>(frame));
    VcpuRegisters registers{};
    HV_TRY(target_.get_registers(request.domain, request.vcpu, registers, reason_));
    HV_TRY(reply_.fixed(registers));
    return Progress::done;
}

}  // namespace hv::core::control
