// SPDX-License-Identifier: MIT
//
// Numbers and layouts of the virtio specification that a modern PCI console needs.  Definitions alone.
// Specification: [VIRTIO-1.2 §2.1 status, §2.7 split virtqueues, §4.1.4 PCI structures, §5.3 console, §6
// features].
#pragma once

#include <cstddef>
#include <cstdint>

namespace hv::core::virtio {

// ---- PCI identity [VIRTIO-1.2 §4.1.2] ---------------------------------------------------------------------

inline constexpr std::uint16_t pci_vendor{0x1af4};
/// 0x1040 plus the device type, 3 for a console.
inline constexpr std::uint16_t pci_device_console{0x1043};
inline constexpr std::uint16_t pci_subsystem{0x0043};

/// Vendor capabilities that say where in the BARs the structures are [VIRTIO-1.2 §4.1.4].
enum class PciCapability : std::uint8_t { common = 1, notify = 2, isr = 3, device = 4, pci_config = 5 };

// ---- device status and features ---------------------------------------------------------------------------

/// [VIRTIO-1.2 §2.1]
namespace status {
inline constexpr std::uint8_t ACKNOWLEDGE{1};
inline constexpr std::uint8_t DRIVER{2};
inline constexpr std::uint8_t DRIVER_OK{4};
inline constexpr std::uint8_t FEATURES_OK{8};
inline constexpr std::uint8_t DEVICE_NEEDS_RESET{64};
inline constexpr std::uint8_t FAILED{128};
}  // namespace status

/// [VIRTIO-1.2 §5.3.3, §6]
inline constexpr std::uint64_t VIRTIO_CONSOLE_F_MULTIPORT{1ull << 1};
inline constexpr std::uint64_t VIRTIO_F_VERSION_1{1ull << 32};

/// "No interrupt" where a vector is asked for [VIRTIO-1.2 §4.1.5.1.2].
inline constexpr std::uint16_t VIRTIO_MSI_NO_VECTOR{0xffff};

/// ISR status bits [VIRTIO-1.2 §4.1.4.5].
inline constexpr std::uint8_t isr_queue{1};
inline constexpr std::uint8_t isr_configuration{2};

// ---- split virtqueues [VIRTIO-1.2 §2.7] -------------------------------------------------------------------

struct Descriptor {
    std::uint64_t address;
    std::uint32_t length;
    std::uint16_t flags;
    std::uint16_t next;
};
static_assert(sizeof(Descriptor) == 16 && offsetof(Descriptor, flags) == 12);

inline constexpr std::uint16_t VIRTQ_DESC_F_NEXT{1};
inline constexpr std::uint16_t VIRTQ_DESC_F_WRITE{2};
inline constexpr std::uint16_t VIRTQ_DESC_F_INDIRECT{4};
inline constexpr std::uint16_t VIRTQ_AVAIL_F_NO_INTERRUPT{1};
inline constexpr std::uint16_t VIRTQ_USED_F_NO_NOTIFY{1};

inline constexpr std::uint64_t descriptor_alignment{16};
inline constexpr std::uint64_t available_alignment{2};
inline constexpr std::uint64_t used_alignment{4};

constexpr std::uint64_t descriptor_table_bytes(std::uint16_t size) { return 16ull * size; }
/// flags, idx, ring[size], used_event
constexpr std::uint64_t available_ring_bytes(std::uint16_t size) { return 6 + 2ull * size; }
/// flags, idx, {id, length}[size], avail_event
constexpr std::uint64_t used_ring_bytes(std::uint16_t size) { return 6 + 8ull * size; }

// ---- console [VIRTIO-1.2 §5.3] ----------------------------------------------------------------------------

/// Device configuration.
struct ConsoleConfiguration {
    std::uint16_t columns;
    std::uint16_t rows;
    std::uint32_t maximum_ports;
    std::uint32_t emergency_write;
};
static_assert(sizeof(ConsoleConfiguration) == 12 && offsetof(ConsoleConfiguration, maximum_ports) == 4);

/// A message on the control queues; a name follows PORT_NAME.
struct ConsoleControl {
    std::uint32_t port;
    std::uint16_t event;
    std::uint16_t value;
};
static_assert(sizeof(ConsoleControl) == 8);

enum class ConsoleEvent : std::uint16_t {
    DEVICE_READY = 0,
    PORT_ADD = 1,
    PORT_REMOVE = 2,
    PORT_READY = 3,
    CONSOLE_PORT = 4,
    RESIZE = 5,
    PORT_OPEN = 6,
    PORT_NAME = 7,
};

inline constexpr unsigned control_receive_queue{2};
inline constexpr unsigned control_transmit_queue{3};
/// Queue from device to driver of a port.
constexpr unsigned receive_queue(unsigned port) { return port == 0 ? 0 : 2 + 2 * port; }
/// Queue from driver to device of a port.
constexpr unsigned transmit_queue(unsigned port) { return receive_queue(port) + 1; }

}  // namespace hv::core::virtio
