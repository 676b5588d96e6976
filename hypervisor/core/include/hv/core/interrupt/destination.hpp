// SPDX-License-Identifier: MIT
//
// Who is addressed: matches a message's destination against local APICs [SDM3-083 §11.6.2, §11.12.10].  Pure
// functions over snapshots, so that an IPI, an MSI and an I/O APIC's message are routed by one rule and from
// any processor.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>

#include "hv/core/interrupt/message.hpp"

namespace hv::core {

/// What of a local APIC decides whether it is addressed; small enough to be read in one piece.
struct ApicAddressing {
    std::uint32_t id{};         ///< the x2APIC ID; in xAPIC mode its low eight bits count
    std::uint8_t logical_id{};  ///< bits 31:24 of the xAPIC LDR
    bool cluster_model : 1 {};
    bool extended : 1 {};          ///< x2APIC mode
    bool enabled : 1 {};           ///< APIC_BASE.EN
    bool software_enabled : 1 {};  ///< SVR bit 8: else fixed interrupts are not accepted
    std::uint16_t reserved{};
};
static_assert(sizeof(ApicAddressing) == 8);

/// The logical ID of an x2APIC: fixed by its ID [SDM3-083 §11.12.10.2].
constexpr std::uint32_t x2apic_logical_id(std::uint32_t id)
{
    return (id >> 4) << 16 | 1u << (id & 15);
}

/// True when the message, whose shorthand is `none`, is addressed to this APIC and it can take that kind.
[[nodiscard]] bool is_addressed(const ApicAddressing& apic, const InterruptMessage& message);

/// Chooses among processors for lowest-priority delivery: each in turn, so that it is fair, needs no other
/// processor's priority and is the same in every run.  Any processor may call it.
class LowestPriorityArbiter {
public:
    /// One bit of `candidates`, or zero where there is none.
    [[nodiscard]] std::uint64_t choose(std::uint64_t candidates)
    {
        if (candidates == 0)
            return 0;
        const unsigned last = last_.load(std::memory_order_relaxed);
        const std::uint64_t after = last >= 63 ? 0 : candidates & (~0ull << (last + 1));
        const auto index = static_cast<unsigned>(std::countr_zero(after != 0 ? after : candidates));
        last_.store(index, std::memory_order_relaxed);
        return 1ull << index;
    }

private:
    std::atomic<unsigned> last_{63};
};

/// The processors a message goes to, as a mask by index.  `addressing_of(index)` answers the ApicAddressing
/// of each of `count` (at most 64) processors; `sender` is the index of the one whose ICR sent it, or `count`
/// for a device.
template <typename AddressingOf>
[[nodiscard]] std::uint64_t destinations(unsigned count, AddressingOf&& addressing_of,
                                         const InterruptMessage& message, unsigned sender,
                                         LowestPriorityArbiter& arbiter)
{
    const bool lowest = message.delivery == DeliveryMode::lowest_priority;
    std::uint64_t mask{};
    for (unsigned index = 0; index < count; ++index) {
        InterruptMessage each = message;
        switch (message.shorthand) {
        case DestinationShorthand::none: break;
        case DestinationShorthand::self:
            if (index != sender)
                continue;
            [[fallthrough]];
        case DestinationShorthand::all_including_self: each.destination = InterruptMessage::broadcast; break;
        case DestinationShorthand::all_excluding_self:
            if (index == sender)
                continue;
            each.destination = InterruptMessage::broadcast;
            break;
        }
        if (is_addressed(addressing_of(index), each))
            mask |= 1ull << index;
    }
    return lowest ? arbiter.choose(mask) : mask;
}

}  // namespace hv::core
