// SPDX-License-Identifier: MIT
//
// The commands that read what is kept of an extension instance that failed.
#include "commands.hpp"

namespace hv::core::control {

using namespace protocol;

Expected<Progress> ControlServer::ext_report(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExtReportRequest>(frame));
    if (!is_padded_text(request.module))
        return refuse_field(reason_, Error::malformed, "/module", "the name does not end");
    ExtReportReply reply{};
    // Behind the header and the fixed part, where bulk data of a reply belongs.
    const auto room = std::span{output_}.subspan(sizeof(FrameHeader) + sizeof reply);
    const std::size_t bytes{HV_TRY(target_.report_failure(request, room, reply, reason_))};
    HV_ASSERT(bytes <= room.size());
    HV_TRY(reply_.fixed(reply));
    reply_bulk_ = bytes;
    return Progress::done;
}

Expected<Progress> ControlServer::ext_core(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExtCoreRequest>(frame));
    ExtCoreReply reply{};
    const auto behind = std::span{output_}.subspan(sizeof(FrameHeader) + sizeof reply);
    const auto room = behind.first(std::min<std::size_t>(behind.size(), maximum_reply_bulk));
    const std::size_t bytes{HV_TRY(target_.read_core(request, room, reply, reason_))};
    HV_ASSERT(bytes <= room.size());
    HV_TRY(reply_.fixed(reply));
    reply_bulk_ = bytes;
    return Progress::done;
}

}  // namespace hv::core::control
