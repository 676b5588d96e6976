// SPDX-License-Identifier: MIT
//
// What goes over the channel of a port, in both directions: the words of another module that owns it.  A guest's message or event
// comes as it was sent; what the owner sends is taken or refused by its tag, when it is in the guest's slot and not before.
// Definitions alone.
#pragma once

#include <cstdint>

namespace hv::viridian {

enum class PortRecordKind : std::uint32_t {
    message = 1,  ///< HvCallPostMessage; to the guest: into the slot of a SINT
    event = 2,    ///< HvCallSignalEvent; to the guest: a flag of a SINT
    taken = 3,    ///< to the owner: what had this tag is where the guest finds it
    refused = 4,  ///< to the owner: `number` says why, a PortRefusal
};
enum class PortRefusal : std::uint32_t {
    malformed = 1,   ///< no such VP, SINT, flag, type or length
    no_room = 2,     ///< as many as can wait do
    not_enabled = 3, ///< the VP has no page of event flags
};

struct PortHeader {
    PortRecordKind kind;
    std::uint32_t vp;      ///< whose VP is meant, or has called
    std::uint32_t sint;    ///< to the guest
    std::uint32_t number;  ///< type of the message, or flag
    std::uint32_t bytes;   ///< of the payload
    std::uint32_t tag;     ///< the owner's own
};
struct PortRecord : PortHeader {
    static constexpr std::uint32_t longest_payload{240};
    std::uint8_t payload[longest_payload];
};
static_assert(sizeof(PortRecord) == 264);

}  // namespace hv::viridian
