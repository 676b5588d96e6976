// SPDX-License-Identifier: MIT
//
// A virtio PCI function as the driver's processor sees it: 256 bytes of configuration space with the
// capabilities, and one memory BAR with the virtio structures and MSI-X.  Everything here happens in an exit
// of that one processor: it reads and writes registers, takes note, and at most sends an IPI.  What the
// device does is not in here. Specification: [PCI-3.0 §6.1, §6.2, §6.7, §6.8.2], [VIRTIO-1.2 §4.1.3, §4.1.4].
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "hv/base/address.hpp"
#include "hv/core/virtio/device_host.hpp"
#include "hv/core/virtio/msix_table.hpp"
#include "hv/core/virtio/transport_registers.hpp"

namespace hv::core::virtio {

/// Length of the register window (BAR 0, 32-bit, not prefetchable), and its alignment.
inline constexpr std::uint64_t bar_bytes{0x4000};

class PciFunction {
public:
    /// `device_configuration` is what the driver reads as the device-specific structure; it does not change
    /// and outlives the function.
    PciFunction(DeviceHost& host, TransportRegisters& registers, MsixTable& msix,
                std::span<const std::byte> device_configuration);

    /// Configuration space, `size` 1, 2 or 4, from the function's own offset 0.  Beyond 256 bytes, and where
    /// an access is not legal, reads give zero and writes are dropped.
    [[nodiscard]] std::uint32_t config_read(unsigned offset, unsigned size);
    void config_write(unsigned offset, unsigned size, std::uint32_t value);

    /// The register window, `size` 1, 2, 4 or 8, from the window's own offset 0.
    [[nodiscard]] std::uint64_t bar_read(std::uint64_t offset, unsigned size);
    void bar_write(std::uint64_t offset, unsigned size, std::uint64_t value);

    /// Where the window is now; nothing while memory decoding is off.
    [[nodiscard]] std::optional<GuestPhysical> window() const { return window_; }
    /// Whether the device may touch memory and send interrupts (Bus Master Enable).  Any processor.
    [[nodiscard]] bool bus_master() const { return bus_master_.load(); }

private:
    static constexpr unsigned config_bytes{256};

    void describe_identity();
    void describe_capabilities();
    void put(unsigned offset, unsigned size, std::uint32_t value, std::uint32_t writable = 0);
    void put_virtio_capability(unsigned at, unsigned next, unsigned length, unsigned type, unsigned offset,
                               unsigned bytes);
    [[nodiscard]] std::uint32_t get(unsigned offset, unsigned size) const;
    void after_config_write();
    [[nodiscard]] std::optional<unsigned> config_window_size() const;

    DeviceHost& host_;
    TransportRegisters& registers_;
    MsixTable& msix_;
    std::span<const std::byte> device_configuration_;
    std::array<std::uint8_t, config_bytes> config_{};
    std::array<std::uint8_t, config_bytes> writable_{};
    std::optional<GuestPhysical> window_{};
    std::atomic<bool> bus_master_{false};
};

}  // namespace hv::core::virtio
