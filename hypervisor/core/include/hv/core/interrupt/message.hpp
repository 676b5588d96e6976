// SPDX-License-Identifier: MIT
//
// An interrupt on its way to local APICs: what an ICR write, an MSI or an I/O APIC's pin says.  Only data;
// who is addressed is destination.hpp's matter.  Encodings: [SDM3-083 §11.6.1, §11.11, §11.12.9], [APM2-3.41
// §16.5].
#pragma once

#include <cstdint>

#include "hv/x86/local_apic.hpp"

namespace hv::core {

using x86::DeliveryMode;

enum class DestinationMode : std::uint8_t {
    physical = 0,
    logical = 1,
};

enum class TriggerMode : std::uint8_t {
    edge = 0,
    level = 1,
};

/// Values are those of bits 19:18 of the ICR.
enum class DestinationShorthand : std::uint8_t {
    none = 0,
    self = 1,
    all_including_self = 2,
    all_excluding_self = 3,
};

/// One interrupt message.  `destination` is always in 32 bits: a source with 8 bits widens its broadcast
/// (0xff).
struct InterruptMessage {
    static constexpr std::uint32_t broadcast{0xffff'ffff};

    std::uint32_t destination{};
    std::uint8_t vector{};  ///< of a startup message: the page number where the processor starts
    DeliveryMode delivery{DeliveryMode::fixed};
    DestinationMode destination_mode{DestinationMode::physical};
    TriggerMode trigger{TriggerMode::edge};
    DestinationShorthand shorthand{DestinationShorthand::none};

    friend constexpr bool operator==(const InterruptMessage&, const InterruptMessage&) = default;
};

/// An 8-bit destination as xAPIC, MSI and I/O APIC know it, in the width of a message.
constexpr std::uint32_t widen_destination(std::uint8_t destination)
{
    return destination == 0xff ? InterruptMessage::broadcast : destination;
}

/// The message that a write of `data` to `address` (0xfeexxxxx) stands for [SDM3-083 §11.11].
constexpr InterruptMessage message_from_msi(std::uint32_t address, std::uint32_t data)
{
    return {.destination = widen_destination(static_cast<std::uint8_t>(address >> 12)),
            .vector = static_cast<std::uint8_t>(data),
            .delivery = static_cast<DeliveryMode>((data >> 8) & 7),
            .destination_mode = static_cast<DestinationMode>((address >> 2) & 1),
            .trigger = static_cast<TriggerMode>((data >> 15) & 1),
            .shorthand = DestinationShorthand::none};
}

}  // namespace hv::core
