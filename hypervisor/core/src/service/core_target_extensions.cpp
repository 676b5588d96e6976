// SPDX-License-Identifier: MIT
//
// Modules and bindings, as the control protocol commands them.
#include "hv/core/service/core_target.hpp"

namespace hv::core::service {

using control::Progress;
using control::Reason;
using control::refuse;

namespace {

Error not_there_yet(Reason& reason)
{
    return refuse(reason, Error::not_supported, "this hypervisor cannot load extensions yet");
}

}  // namespace

Expected<bool> CoreTarget::next_binding(protocol::DomainId, std::uint64_t&, protocol::Binding&) { return false; }
bool CoreTarget::next_module(std::uint64_t&, protocol::ModuleInfo&) { return false; }

Expected<Progress> CoreTarget::bind_extension(const protocol::ExtBindRequest&, protocol::ParameterReader,
                                              protocol::ExtBindReply&, Reason& reason)
{
    return not_there_yet(reason);
}

Expected<std::uint32_t> CoreTarget::begin_module(const protocol::ExtLoadBeginRequest&, Reason& reason)
{
    return not_there_yet(reason);
}

Status CoreTarget::module_data(std::uint32_t, std::uint64_t, std::span<const std::byte>, Reason& reason)
{
    return not_there_yet(reason);
}

Expected<Progress> CoreTarget::finish_module(std::uint32_t, protocol::ModuleInfo&, Reason& reason)
{
    return not_there_yet(reason);
}

void CoreTarget::abort_module(std::uint32_t) {}

Status CoreTarget::unload_module(std::string_view, Reason& reason) { return not_there_yet(reason); }

}  // namespace hv::core::service
