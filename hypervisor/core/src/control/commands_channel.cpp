// SPDX-License-Identifier: MIT
//
// Commands about ends of channels that the client has: the shape of a request, and messages in and out of frames.  What waits at an
// end, and who is at the other, is the target's.
#include <algorithm>
#include <array>

#include "commands.hpp"

namespace hv::core::control {

using namespace protocol;

Expected<Progress> ControlServer::channel_open(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ChannelOpenRequest>(frame));
    if (!is_padded_text(request.name))
        return refuse_field(reason_, Error::malformed, "/name", "the name does not end within its ", sizeof request.name, " bytes");
    channels_open_ = true;
    const auto opened = HV_TRY(target_.open_channel(request.domain, text_of(request.name), reason_));
    HV_TRY(reply_.fixed(opened));
    return Progress::done;
}

Expected<Progress> ControlServer::channel_send(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ChannelSendRequest>(frame));
    if (request.length == 0 || request.length > longest_channel_message)
        return refuse_field(reason_, Error::out_of_range, "/length", "a message has 1 to ", longest_channel_message, " bytes, not ",
                            request.length);
    if (request.length != frame.tail().size())
        return refuse_field(reason_, Error::malformed, "/length", "the request has ", frame.tail().size(), " bytes of a message of ",
                            request.length);
    HV_TRY(target_.send_to_channel(request.domain, request.channel, frame.tail(), reason_));
    return Progress::done;
}

/// What has been moved out of the end is in the reply: as many as are asked for, while a longest one would fit.
Expected<Progress> ControlServer::channel_receive(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ChannelRequest>(frame));
    constexpr std::uint32_t most{maximum_body / (sizeof(ChannelMessageHead) + longest_channel_message) - 1};
    const std::uint32_t wanted{request.maximum == 0 ? most : std::min(request.maximum, most)};
    std::array<std::byte, longest_channel_message> room;
    ChannelReceiveReply reply{};
    HV_TRY(reply_.fixed(reply));
    while (reply.count < wanted) {
        const auto taken = target_.receive_from_channel(request.domain, request.channel, room, reply, reason_);
        if (!taken && reply.count == 0)
            return taken.error();
        if (!taken || taken.value() == 0)
            break;
        HV_ASSERT(taken.value() <= room.size());
        HV_TRY(reply_.tail(ChannelMessageHead{static_cast<std::uint32_t>(taken.value())}));
        HV_TRY(reply_.tail_bytes(std::span{room}.first(taken.value())));
        ++reply.count;
    }
    HV_TRY(reply_.replace_fixed(reply));
    return Progress::done;
}

Expected<Progress> ControlServer::channel_close(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ChannelRequest>(frame));
    HV_TRY(target_.close_channel(request.domain, request.channel, reason_));
    return Progress::done;
}

}  // namespace hv::core::control
