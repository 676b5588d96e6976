// SPDX-License-Identifier: MIT
//
// Commands that swap an extension under a running domain, take a swap back, and read an instance's state.
#include "commands.hpp"

namespace hv::core::control {

using namespace protocol;

/// The upload that a request names, when its file is whole; null: it names none.
Expected<const ControlServer::Upload*> ControlServer::whole_upload(std::uint32_t number)
{
    const Upload* const none{};
    if (number == 0)
        return none;
    const Upload* const upload{find_upload(number)};
    if (upload == nullptr)
        return refuse_field(reason_, Error::not_found, "/upload", "there is no upload ", number);
    if (upload->received != upload->size)
        return refuse_field(reason_, Error::invalid_argument, "/upload", "the file is not whole: ",
                            upload->size - upload->received, " bytes are missing");
    return upload;
}

Expected<Progress> ControlServer::answer_swap(Expected<Progress> progress, const SwapAnswer& answer)
{
    if (!progress.has_value() || progress.value() != Progress::done)
        return progress;
    HV_TRY(reply_.fixed(answer.reply));
    for (std::uint32_t index = 0; index < answer.reply.vcpu_count; ++index)
        HV_TRY(reply_.tail(answer.vcpus[index]));
    return Progress::done;
}

Expected<Progress> ControlServer::ext_swap(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExtSwapRequest>(frame));
    HV_TRY(check_name("/old_module", request.old_module));
    if (request.upload == 0)
        HV_TRY(check_name("/new_module", request.new_module));
    if ((request.flags & ~ext_swap_known_flags) != 0)
        return refuse_field(reason_, Error::not_supported, "/flags", "flags ", Hex{request.flags},
                            " are not all known");
    const std::uint32_t step{(request.flags & ext_swap_fail_at_mask) >> ext_swap_fail_at_shift};
    if (step > static_cast<std::uint32_t>(SwapStepNumber::publish))
        return refuse_field(reason_, Error::invalid_argument, "/flags", "a swap has no step ", step);
    HV_TRY(whole_upload(request.upload));
    SwapAnswer answer{};
    const auto progress = target_.swap_extension(request, answer, reason_);
    if (request.upload != 0 && (!progress.has_value() || progress.value() == Progress::done))
        forget_upload(request.upload);
    return answer_swap(progress, answer);
}

Expected<Progress> ControlServer::ext_rollback(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExtOfDomainRequest>(frame));
    HV_TRY(check_name("/module", request.module));
    SwapAnswer answer{};
    return answer_swap(target_.rollback_extension(request, answer, reason_), answer);
}

Expected<Progress> ControlServer::ext_detach(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExtOfDomainRequest>(frame));
    HV_TRY(check_name("/module", request.module));
    HV_TRY(target_.detach_extension(request, reason_));
    return Progress::done;
}

Expected<Progress> ControlServer::ext_inspect(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExtOfDomainRequest>(frame));
    HV_TRY(check_name("/module", request.module));
    return bulk<ExtInspectReply>(whole_body, [&](std::span<std::byte> room, ExtInspectReply& reply) {
        return target_.inspect_extension(request, room, reply, reason_);
    });
}

}  // namespace hv::core::control
