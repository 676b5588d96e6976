// SPDX-License-Identifier: MIT
//
// Ports: a connection's number leads to a channel that another module of the domain owns.  What the owner sends waits in the
// domain's block until its VP can take it. Specification: [TLFS-6.0b §11].
#pragma once

#include "hypercall.hpp"

namespace hv::viridian {

/// Opens the channel of element `index` of the parameter `ports`.  Fails with limit_reached, or as channel_open does.
Status open_port(const Viridian::Domain& domain, std::uint32_t index, std::string_view name);

/// Where a waiting message's payload lies in its page.
constexpr std::uint32_t payload_offset(std::size_t place)
{
    return static_cast<std::uint32_t>(place) * tlfs::message_bytes;
}
static_assert(payload_offset(maximum_waiting) <= 4096);

tlfs::HvStatus post_message(Viridian::Vcpu& vcpu, const Input& input);
tlfs::HvStatus signal_event(Viridian::Vcpu& vcpu, const Input& input);

/// True where something waits for any VP.
bool ports_wait(const Viridian::Vcpu& vcpu);
/// Messages that wait for this SINT of the VP: how many, and the place of the first in the domain's block.
struct WaitingMessages {
    std::uint32_t count;
    std::uint32_t first;
};
WaitingMessages waiting_port_messages(const Viridian::Vcpu& vcpu, std::uint32_t sint);
/// The guest finds it in its slot: its place is free and its owner is told.
void conclude_port_message(const Viridian::Vcpu& vcpu, std::uint32_t place);

}  // namespace hv::viridian
