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
    return bulk<ExtReportReply>(whole_body, [&](std::span<std::byte> room, ExtReportReply& reply) {
        return target_.report_failure(request, room, reply, reason_);
    });
}

Expected<Progress> ControlServer::ext_core(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExtCoreRequest>(frame));
    return bulk<ExtCoreReply>(maximum_reply_bulk, [&](std::span<std::byte> room, ExtCoreReply& reply) {
        return target_.read_core(request, room, reply, reason_);
    });
}

}  // namespace hv::core::control
