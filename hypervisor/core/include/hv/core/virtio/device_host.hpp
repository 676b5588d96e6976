// SPDX-License-Identifier: MIT
//
// What a virtio function needs of its surroundings: memory of the domain that drives it, a way to interrupt
// that domain and a way to get hold of a processor that does the work.  The core implements it; host tests
// have a fake.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"

namespace hv::core::virtio {

/// A message-signalled interrupt: the driver's own numbers, as it wrote them into the MSI-X table.
struct MsiMessage {
    std::uint64_t address;
    std::uint32_t data;

    friend constexpr bool operator==(const MsiMessage&, const MsiMessage&) = default;
};

class DeviceHost {
public:
    /// The bytes [address, address + bytes) of the driver's memory, for reading and writing.  Any error where
    /// a part is not that domain's RAM.  The span is aligned as the address is, and stays valid while the
    /// device is not reset. Called by service() alone.
    virtual Expected<std::span<std::byte>> map(GuestPhysical address, std::uint64_t bytes) = 0;

    /// Sends the interrupt.  Called on any processor, also in a register access of the driver.
    virtual void send_msi(const MsiMessage& message) = 0;

    /// Makes some processor that may do work call service() soon.  Called on any processor, mostly in a
    /// register access of the driver: it takes note and sends an IPI, no more.
    virtual void kick() = 0;

    /// The same, but there is no hurry: when a processor next has a moment.  Any processor.
    virtual void kick_soon() { kick(); }

    /// The register window (bar_bytes long) is now at `base`, or nowhere.  Called within config_write().
    virtual void place_window(std::optional<GuestPhysical> base) = 0;

protected:
    ~DeviceHost() = default;
};

}  // namespace hv::core::virtio
