// SPDX-License-Identifier: MIT
//
// Services on channels.
#include "service_call.hpp"

namespace hv::core::services {

Answer channel_open(std::uint64_t domain, const char* name, std::uint64_t length, std::uint64_t* channel)
{
    return serve_domain(domain, abi::need_channel | acts, [&](HookCall& call) -> Status {
        if (name == nullptr || channel == nullptr || length > longest_channel_name ||
            call.binding->hooks.channel_message == nullptr)
            return Error::invalid_argument;
        const std::string_view text{name, static_cast<std::size_t>(length)};
        *channel = HV_TRY(call.binding->holdings.channels.open(text, call.binding->vcpus[0])).raw();
        return Done{};
    });
}

Answer channel_send(std::uint64_t channel, const void* bytes, std::uint64_t length)
{
    return serve(abi::need_channel | acts, [&](HookCall& call) -> Status {
        const Handle end = HV_TRY(own_handle(call, channel, HandleKind::channel));
        if (bytes == nullptr || length == 0 || length > longest_channel_message)
            return Error::invalid_argument;
        return call.binding->holdings.channels.send(
            end, {static_cast<const std::byte*>(bytes), static_cast<std::size_t>(length)});
    });
}

Answer channel_close(std::uint64_t channel)
{
    return serve(abi::need_channel | acts, [&](HookCall& call) -> Status {
        return call.binding->holdings.channels.close(HV_TRY(own_handle(call, channel, HandleKind::channel)));
    });
}

}  // namespace hv::core::services
