// SPDX-License-Identifier: MIT
//
// The device's end of a split virtqueue.  Rings and descriptors are the driver's memory and change at any
// time: every index, flag, length, address and chain is read once and judged before it is used.  A queue that
// breaks the rules says so, and the device asks for a reset.  One processor at a time uses it. Specification:
// [VIRTIO-1.2 §2.7].  Indirect descriptors and event indexes are not offered, so not accepted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/base/expected.hpp"
#include "hv/base/static_vector.hpp"
#include "hv/core/virtio/device_host.hpp"
#include "hv/core/virtio/transport_registers.hpp"

namespace hv::core::virtio {

/// One run of memory of a chain.
struct ChainBuffer {
    std::span<std::byte> bytes{};
    bool writable{};  ///< the device writes it; else it reads it
};

/// What the driver made available in one go: buffers to read, then buffers to write.
struct Chain {
    std::uint16_t head{};
    StaticVector<ChainBuffer, TransportRegisters::maximum_queue_size> buffers{};
};

class Virtqueue {
public:
    /// Takes the queue into use from its start.  Error::malformed for a size that is no power of two within
    /// the limit or an address that is not aligned; the host's error where it is not the driver's memory.
    /// Then nothing has changed.
    Status attach(DeviceHost& host, const QueueLayout& layout);
    void detach() { size_ = 0; }
    [[nodiscard]] bool attached() const { return size_ != 0; }

    /// The oldest chain that was not completed yet; false when there is none.  It stays the oldest until
    /// complete(). An error means that the driver broke the rules.
    [[nodiscard]] Expected<bool> peek(Chain& chain);

    /// Gives the chain that peek() found back to the driver, `written` bytes of it written.
    void complete(const Chain& chain, std::uint32_t written);

    /// True when chains were completed since the last call and the driver wants an interrupt for that.
    [[nodiscard]] bool take_interrupt();

    /// Whether the driver shall notify when it makes chains available.  A hint: it may notify all the same.
    /// After switching on, look again: what came in between was not notified.
    void want_notifications(bool wanted);

private:
    [[nodiscard]] Expected<ChainBuffer> map_descriptor(const Descriptor& descriptor) const;

    DeviceHost* host_{};
    std::span<std::byte> descriptors_{};
    std::span<std::byte> available_{};
    std::span<std::byte> used_{};
    std::uint16_t size_{};
    std::uint16_t next_available_{};
    std::uint16_t next_used_{};
    bool completed_{};
    bool notifications_{true};
};

}  // namespace hv::core::virtio
