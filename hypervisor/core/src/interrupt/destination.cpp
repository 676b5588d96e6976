// SPDX-License-Identifier: MIT
//
// The rules by which a local APIC recognises its address [SDM3-083 §11.6.2, §11.12.10].
#include "hv/core/interrupt/destination.hpp"

namespace hv::core {

namespace {

bool matches_physical(const ApicAddressing& apic, std::uint32_t destination)
{
    return destination == (apic.extended ? apic.id : apic.id & 0xff);
}

bool matches_logical(const ApicAddressing& apic, std::uint32_t destination)
{
    if (apic.extended) {
        const std::uint32_t logical = x2apic_logical_id(apic.id);
        return destination >> 16 == logical >> 16 && (destination & logical & 0xffff) != 0;
    }
    if (destination > 0xff)
        return false;
    if (!apic.cluster_model)
        return (destination & apic.logical_id) != 0;
    return destination >> 4 == apic.logical_id >> 4 && (destination & apic.logical_id & 0xf) != 0;
}

/// A disabled APIC takes nothing, a software-disabled one all but interrupts with a vector [SDM3-083
/// §11.4.7.2].
bool takes(const ApicAddressing& apic, DeliveryMode delivery)
{
    switch (delivery) {
    case DeliveryMode::fixed:
    case DeliveryMode::lowest_priority: return apic.enabled && apic.software_enabled;
    case DeliveryMode::smi:
    case DeliveryMode::nmi:
    case DeliveryMode::init:
    case DeliveryMode::startup:
    case DeliveryMode::external: return apic.enabled;
    case DeliveryMode::reserved: return false;
    }
    return false;
}

}  // namespace

bool is_addressed(const ApicAddressing& apic, const InterruptMessage& message)
{
    if (!takes(apic, message.delivery))
        return false;
    if (message.destination == InterruptMessage::broadcast)
        return true;
    return message.destination_mode == DestinationMode::logical ? matches_logical(apic, message.destination)
                                                                : matches_physical(apic, message.destination);
}

}  // namespace hv::core
