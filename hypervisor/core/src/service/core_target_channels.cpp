// SPDX-License-Identifier: MIT
//
// The control domain's ends of channels, as the control protocol commands them.
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/service/core_target.hpp"

namespace hv::core::service {

using control::Reason;
using control::refuse;
using control::refuse_field;

namespace {

std::uint32_t flags_of(const ControlChannels::State& state)
{
    return state.connected ? protocol::channel_connected : 0;
}

Error refuse_open(Error error, std::string_view name, const Domain& domain, Reason& reason)
{
    switch (error) {
    case Error::invalid_argument:
        return refuse_field(reason, error, "/name", "a channel's name is 1 to 31 printable ASCII letters without a blank");
    case Error::already_exists:
        return refuse_field(reason, error, "/name", "the channel '", name, "' of domain '", domain.name(), "' is open already");
    case Error::conflict:
        return refuse_field(reason, error, "/name", "two extensions of domain '", domain.name(), "' have the channel '", name, "'");
    case Error::limit_reached:
        return refuse(reason, error, "at most ", ControlChannels::maximum, " channels of a domain can be open");
    default: return refuse(reason, error, "not enough memory for a channel");
    }
}

Error refuse_end(Error error, std::uint64_t channel, Reason& reason)
{
    switch (error) {
    case Error::not_found: return refuse_field(reason, error, "/channel", "nobody has the other end of the channel");
    case Error::limit_reached:
        return refuse(reason, error, "as many messages as can wait at the other end of the channel do");
    default: return refuse_field(reason, error, "/channel", "there is no channel ", Hex{channel});
    }
}

}  // namespace

Expected<ControlChannels> CoreTarget::channels(protocol::DomainId id, Reason& reason) const
{
    const Domain& domain = *HV_TRY(guest(id, reason));
    if (domain.extensions == nullptr)
        return refuse(reason, Error::conflict, "domain '", domain.name(), "' has no extension that a channel could lead to");
    return domain.extensions->control_channels();
}

Expected<protocol::ChannelOpenReply> CoreTarget::open_channel(protocol::DomainId id, std::string_view name, Reason& reason)
{
    const Domain& domain = *HV_TRY(guest(id, reason));
    if (domain.state() != DomainState::running && domain.state() != DomainState::paused)
        return refuse(reason, Error::conflict, "domain '", domain.name(), "' is being built, or has ended");
    ControlChannels ends = HV_TRY(channels(id, reason));
    const auto opened = ends.open(name);
    if (!opened)
        return refuse_open(opened.error(), name, domain, reason);
    const auto state = ends.state(opened.value());
    return protocol::ChannelOpenReply{opened.value(), state ? flags_of(state.value()) : 0, 0};
}

Status CoreTarget::send_to_channel(protocol::DomainId id, std::uint64_t channel, std::span<const std::byte> message, Reason& reason)
{
    const Domain& domain = *HV_TRY(guest(id, reason));
    ControlChannels ends = HV_TRY(channels(id, reason));
    if (domain.state() == DomainState::ended || domain.state() == DomainState::dying)
        return refuse(reason, Error::conflict, "domain '", domain.name(), "' has ended");
    if (const Status sent = ends.send(channel, message); !sent)
        return refuse_end(sent.error(), channel, reason);
    return Done{};
}

Expected<std::size_t> CoreTarget::receive_from_channel(protocol::DomainId id, std::uint64_t channel, std::span<std::byte> room,
                                                       protocol::ChannelReceiveReply& reply, Reason& reason)
{
    ControlChannels ends = HV_TRY(channels(id, reason));
    const auto taken = ends.take(channel, room);
    if (!taken)
        return refuse_end(taken.error(), channel, reason);
    if (const auto state = ends.state(channel)) {
        reply.waiting = state.value().waiting;
        reply.flags = flags_of(state.value());
    }
    return taken.value();
}

Status CoreTarget::close_channel(protocol::DomainId id, std::uint64_t channel, Reason& reason)
{
    ControlChannels ends = HV_TRY(channels(id, reason));
    if (const Status closed = ends.close(channel); !closed)
        return refuse_end(closed.error(), channel, reason);
    return Done{};
}

void CoreTarget::close_channels()
{
    for (Domain* domain = domains_.next(0); domain != nullptr; domain = domains_.next(domain->id + 1))
        if (domain->extensions != nullptr)
            domain->extensions->control_channels().close_all();
}

bool CoreTarget::next_channel_changed(protocol::ChannelChangedEvent& event)
{
    for (Domain* domain = domains_.next(0); domain != nullptr; domain = domains_.next(domain->id + 1)) {
        std::uint64_t channel{};
        if (domain->extensions == nullptr || !domain->extensions->control_channels().next_changed(channel))
            continue;
        event = {};
        event.domain = domain->id;
        event.channel = channel;
        if (const auto state = domain->extensions->control_channels().state(channel)) {
            event.waiting = state.value().waiting;
            event.flags = flags_of(state.value());
        }
        return true;
    }
    return false;
}

}  // namespace hv::core::service
