// SPDX-License-Identifier: MIT
//
// Commands about extension modules and their instances.  A module file comes in pieces and is looked at by
// the target only when it is whole.
#include <algorithm>

#include "commands.hpp"

namespace hv::core::control {

using namespace protocol;

namespace {

/// True where `next` is another element of the list that `last` is in.
bool goes_on_with(const Parameter& last, const Parameter& next)
{
    return last.key == next.key && last.type != ParameterType::empty_list &&
           next.type != ParameterType::empty_list;
}

/// True where one of the first `count` parameters has the key.
Expected<bool> has_key(std::span<const std::byte> tail, std::uint32_t count, std::string_view key)
{
    ParameterReader reader{tail};
    for (std::uint32_t index = 0; index < count; ++index)
        if (HV_TRY(reader.next()).key == key)
            return true;
    return false;
}

}  // namespace

Expected<Progress> ControlServer::ext_announce(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExtAnnounceRequest>(frame));
    const auto modules =
        EntryView<ModuleName>::over(frame.tail(), request.module_count, request.module_entry_size);
    if (!modules.has_value())
        return refuse_field(reason_, Error::malformed, "/modules", "the modules do not fit the request");
    for (std::size_t index = 0; index < modules.value().size(); ++index) {
        BoundedText<24> field;
        say(field, "/modules/", index);
        HV_TRY(check_name(field.view(), modules.value().at(index).name));
    }
    HV_TRY(target_.announce_extensions(request.domain, modules.value(), reason_));
    return Progress::done;
}

// Every parameter is read once before the target sees any, so that it meets only good ones.
Status ControlServer::check_parameters(const ExtBindRequest& request, std::span<const std::byte> tail)
{
    if (request.parameter_count > maximum_parameters)
        return refuse_field(reason_, Error::limit_reached, "/params", "more than ", maximum_parameters,
                            " parameters");
    ParameterReader reader{tail};
    Parameter last{};
    for (std::uint32_t index = 0; index < request.parameter_count; ++index) {
        const auto parameter = reader.next();
        if (!parameter.has_value())
            return refuse_field(reason_, Error::malformed, "/params", "parameter ", index, " is malformed");
        if (!goes_on_with(last, parameter.value()) && HV_TRY(has_key(tail, index, parameter.value().key)))
            return refuse_field(reason_, Error::invalid_argument, "/params", "the parameter ",
                                parameter.value().key, " is there twice");
        last = parameter.value();
    }
    if (!reader.at_end())
        return refuse_field(reason_, Error::malformed, "/params",
                            "there are bytes behind the last parameter");
    return Done{};
}

Expected<Progress> ControlServer::ext_bind(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExtBindRequest>(frame));
    HV_TRY(check_name("/name", request.module));
    HV_TRY(check_parameters(request, frame.tail()));
    ExtBindReply reply{};
    const auto progress = HV_TRY(
        target_.bind_extension(request, ParameterReader{frame.tail()}, reply, reason_));
    if (progress == Progress::done)
        HV_TRY(reply_.fixed(reply));
    return progress;
}

Expected<Progress> ControlServer::ext_bindings(const FrameView& frame)
{
    const auto domain = HV_TRY(domain_of(frame));
    return list<Binding>(0, [this, domain](std::uint64_t& cursor, Binding& entry) {
        return target_.next_binding(domain, cursor, entry);
    });
}

Expected<Progress> ControlServer::ext_list(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExtListRequest>(frame));
    return list<ModuleInfo>(request.cursor,
                            [this](std::uint64_t& cursor, ModuleInfo& entry) -> Expected<bool> {
                                return target_.next_module(cursor, entry);
                            });
}

Expected<Progress> ControlServer::ext_requests(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExtRequestsRequest>(frame));
    HV_TRY(check_name("/module", request.module));
    return list<ModuleRequest>(request.cursor, [&](std::uint64_t& cursor, ModuleRequest& entry) {
        return target_.next_module_request(text_of(request.module), cursor, entry, reason_);
    });
}

Expected<Progress> ControlServer::ext_settled(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExtSettledRequest>(frame));
    return list<SettledParameter>(request.cursor, [&](std::uint64_t& cursor, SettledParameter& entry) {
        return target_.next_settled(request.domain, cursor, entry);
    });
}

ControlServer::Upload* ControlServer::find_upload(std::uint32_t number)
{
    const auto place = std::find_if(uploads_.begin(), uploads_.end(),
                                    [number](const Upload& upload) { return upload.number == number; });
    return place == uploads_.end() ? nullptr : place;
}

void ControlServer::forget_upload(std::uint32_t number)
{
    if (Upload* const upload{find_upload(number)})
        uploads_.erase(upload);
}

Expected<Progress> ControlServer::ext_load_begin(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExtLoadBeginRequest>(frame));
    if (request.size == 0 || request.size > maximum_module_bytes)
        return refuse_field(reason_, Error::out_of_range, "/size", "a module file has 1 to ",
                            maximum_module_bytes, " bytes, not ", request.size);
    if (!is_padded_text(request.path))
        return refuse_field(reason_, Error::malformed, "/path", "the path does not end");
    if (request.signature_length != 0 && request.signature_length != sizeof request.signature)
        return refuse_field(reason_, Error::out_of_range, "/signature_length", "a signature has ",
                            sizeof request.signature, " bytes, not ", request.signature_length);
    if (uploads_.full())
        return refuse(reason_, Error::limit_reached, "more than ", maximum_uploads, " uploads at once");
    const auto number = HV_TRY(target_.begin_module(request, reason_));
    HV_ASSERT(number != 0 && find_upload(number) == nullptr);
    HV_ASSERT(uploads_.push_back(Upload{number, request.size, 0}));
    HV_TRY(reply_.fixed(ExtLoadBeginReply{number, 0}));
    return Progress::done;
}

Expected<Progress> ControlServer::ext_load_finish(const FrameView& frame)
{
    const auto number = HV_TRY(fixed<ExtLoadEndRequest>(frame)).upload;
    const Upload* const upload{find_upload(number)};
    if (upload == nullptr)
        return refuse_field(reason_, Error::not_found, "/upload", "there is no upload ", number);
    if (upload->received != upload->size) {
        const std::uint64_t missing{upload->size - upload->received};
        target_.abort_module(number);
        forget_upload(number);
        return refuse(reason_, Error::invalid_argument, "the file is not whole: ", missing,
                      " bytes are missing");
    }
    ModuleInfo info{};
    const auto progress = target_.finish_module(number, info, reason_);
    if (!progress.has_value() || progress.value() == Progress::done)
        forget_upload(number);
    if (progress.has_value() && progress.value() == Progress::done)
        HV_TRY(reply_.fixed(info));
    return progress;
}

Expected<Progress> ControlServer::ext_load_abort(const FrameView& frame)
{
    const auto number = HV_TRY(fixed<ExtLoadEndRequest>(frame)).upload;
    if (find_upload(number) == nullptr)
        return refuse_field(reason_, Error::not_found, "/upload", "there is no upload ", number);
    target_.abort_module(number);
    forget_upload(number);
    return Progress::done;
}

Expected<Progress> ControlServer::ext_unload(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExtUnloadRequest>(frame));
    HV_TRY(check_name("/name", request.module));
    HV_TRY(target_.unload_module(text_of(request.module), reason_));
    return Progress::done;
}

}  // namespace hv::core::control
