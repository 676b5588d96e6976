// SPDX-License-Identifier: MIT
//
// The bytes of the configuration space and the map of the BAR.  Every byte has a mask of the bits that a
// driver may write, so sizing a BAR and read-only fields need no code of their own [PCI-3.0 §6.2.5.1].
#include "hv/core/virtio/pci_function.hpp"

namespace hv::core::virtio {

namespace {

// The type 0 header [PCI-3.0 §6.1].
enum : unsigned {
    pci_vendor_id = 0x00,
    pci_device_id = 0x02,
    pci_command = 0x04,
    pci_status = 0x06,
    pci_revision = 0x08,
    pci_class = 0x09,
    pci_cache_line = 0x0c,
    pci_bar0 = 0x10,
    pci_subsystem_vendor = 0x2c,
    pci_subsystem_id = 0x2e,
    pci_capabilities = 0x34,
    pci_interrupt_line = 0x3c,
};
constexpr std::uint32_t command_memory{1u << 1};
constexpr std::uint32_t command_bus_master{1u << 2};
constexpr std::uint32_t command_interrupt_disable{1u << 10};
constexpr std::uint32_t status_capabilities{1u << 4};
constexpr std::uint32_t class_communication_other{0x07'80'00};

// Our capabilities, one behind the other.
enum : unsigned {
    capability_msix = 0x40,
    capability_common = 0x50,
    capability_notify = 0x60,
    capability_isr = 0x74,
    capability_device = 0x84,
    capability_pci_config = 0x94,
};
constexpr unsigned id_msix{0x11};
constexpr unsigned id_vendor{0x09};
constexpr std::uint32_t msix_enable{1u << 15};
constexpr std::uint32_t msix_function_mask{1u << 14};

// Fields of a virtio capability, from its start [VIRTIO-1.2 §4.1.4].
constexpr unsigned cap_bar{4};
constexpr unsigned cap_offset{8};
constexpr unsigned cap_length{12};
constexpr unsigned cap_data{16};

// The BAR: a page for each kind of access.
enum : unsigned {
    bar_common = 0x0000,
    bar_isr = 0x0100,
    bar_device = 0x0200,
    bar_notify = 0x1000,
    bar_msix_table = 0x2000,
    bar_msix_pending = 0x3000,
};
constexpr unsigned notify_multiplier{4};
constexpr unsigned notify_bytes{notify_multiplier * TransportRegisters::maximum_queues};
static_assert(notify_bytes <= bar_msix_table - bar_notify);
static_assert(TransportRegisters::common_bytes <= bar_isr);

constexpr bool legal_size(unsigned size, unsigned largest)
{
    return size != 0 && size <= largest && (size & (size - 1)) == 0;
}

}  // namespace

PciFunction::PciFunction(DeviceHost& host, TransportRegisters& registers, MsixTable& msix,
                         std::span<const std::byte> device_configuration)
    : host_{host}, registers_{registers}, msix_{msix}, device_configuration_{device_configuration}
{
    describe_identity();
    describe_capabilities();
}

void PciFunction::put(unsigned offset, unsigned size, std::uint32_t value, std::uint32_t writable)
{
    for (unsigned i = 0; i < size; ++i) {
        config_[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
        writable_[offset + i] = static_cast<std::uint8_t>(writable >> (8 * i));
    }
}

std::uint32_t PciFunction::get(unsigned offset, unsigned size) const
{
    std::uint32_t value{0};
    for (unsigned i = 0; i < size; ++i)
        value |= std::uint32_t{config_[offset + i]} << (8 * i);
    return value;
}

void PciFunction::describe_identity()
{
    put(pci_vendor_id, 2, pci_vendor);
    put(pci_device_id, 2, pci_device_console);
    put(pci_command, 2, 0, command_memory | command_bus_master | command_interrupt_disable);
    put(pci_status, 2, status_capabilities);
    put(pci_revision, 1, 1);
    put(pci_class, 3, class_communication_other);
    put(pci_cache_line, 1, 0, 0xff);
    put(pci_bar0, 4, 0, ~static_cast<std::uint32_t>(bar_bytes - 1));
    put(pci_subsystem_vendor, 2, pci_vendor);
    put(pci_subsystem_id, 2, pci_subsystem);
    put(pci_capabilities, 1, capability_msix);
    put(pci_interrupt_line, 1, 0, 0xff);
}

void PciFunction::put_virtio_capability(unsigned at, unsigned next, unsigned length, unsigned type,
                                        unsigned offset, unsigned bytes)
{
    put(at, 4, id_vendor | next << 8 | length << 16 | type << 24);
    put(at + cap_bar, 4, 0);
    put(at + cap_offset, 4, offset);
    put(at + cap_length, 4, bytes);
}

void PciFunction::describe_capabilities()
{
    put(capability_msix, 2, id_msix | capability_common << 8);
    put(capability_msix + 2, 2, MsixTable::vectors - 1, msix_enable | msix_function_mask);
    put(capability_msix + 4, 4, bar_msix_table);
    put(capability_msix + 8, 4, bar_msix_pending);

    const auto kind = [](PciCapability type) { return static_cast<unsigned>(type); };
    put_virtio_capability(capability_common, capability_notify, 16, kind(PciCapability::common), bar_common,
                          TransportRegisters::common_bytes);
    put_virtio_capability(capability_notify, capability_isr, 20, kind(PciCapability::notify), bar_notify,
                          notify_bytes);
    put(capability_notify + cap_data, 4, notify_multiplier);
    put_virtio_capability(capability_isr, capability_device, 16, kind(PciCapability::isr), bar_isr, 1);
    put_virtio_capability(capability_device, capability_pci_config, 16, kind(PciCapability::device),
                          bar_device, static_cast<unsigned>(device_configuration_.size()));
    put_virtio_capability(capability_pci_config, 0, 20, kind(PciCapability::pci_config), 0, 0);
    put(capability_pci_config + cap_bar, 1, 0, 0xff);
    put(capability_pci_config + cap_offset, 4, 0, ~0u);
    put(capability_pci_config + cap_length, 4, 0, ~0u);
    put(capability_pci_config + cap_data, 4, 0, ~0u);
}

// The window in configuration space is usable when it names our BAR and an access of 1, 2 or 4 aligned bytes
// [VIRTIO-1.2 §4.1.4.9].
std::optional<unsigned> PciFunction::config_window_size() const
{
    const std::uint32_t size{get(capability_pci_config + cap_length, 4)};
    const std::uint32_t offset{get(capability_pci_config + cap_offset, 4)};
    if (get(capability_pci_config + cap_bar, 1) != 0 || !legal_size(size, 4) || offset % size != 0)
        return std::nullopt;
    return size;
}

std::uint32_t PciFunction::config_read(unsigned offset, unsigned size)
{
    if (!legal_size(size, 4) || offset % size != 0 || offset >= config_bytes)
        return 0;
    if (offset / 4 * 4 == capability_pci_config + cap_data) {
        if (const auto bytes = config_window_size()) {
            const auto value = bar_read(get(capability_pci_config + cap_offset, 4), *bytes);
            put(capability_pci_config + cap_data, 4, static_cast<std::uint32_t>(value), ~0u);
        }
    }
    return get(offset, size);
}

void PciFunction::config_write(unsigned offset, unsigned size, std::uint32_t value)
{
    if (!legal_size(size, 4) || offset % size != 0 || offset >= config_bytes)
        return;
    for (unsigned i = 0; i < size; ++i) {
        const std::uint8_t mask{writable_[offset + i]};
        const auto byte = static_cast<std::uint8_t>(value >> (8 * i));
        config_[offset + i] = static_cast<std::uint8_t>((config_[offset + i] & ~mask) | (byte & mask));
    }
    if (offset / 4 * 4 == capability_pci_config + cap_data) {
        if (const auto bytes = config_window_size())
            bar_write(get(capability_pci_config + cap_offset, 4), *bytes,
                      get(capability_pci_config + cap_data, *bytes));
        return;
    }
    after_config_write();
}

void PciFunction::after_config_write()
{
    const std::uint32_t control{get(capability_msix + 2, 2)};
    msix_.set_control((control & msix_enable) != 0, (control & msix_function_mask) != 0);

    const std::uint32_t command{get(pci_command, 2)};
    const bool master{(command & command_bus_master) != 0};
    if (bus_master_.exchange(master) != master && master)
        host_.kick();

    // An address of zero is a BAR that was not placed; the highest one is what sizing leaves behind for a
    // moment.
    const std::uint32_t base{get(pci_bar0, 4)};
    const bool placed{base != 0 && base != ~static_cast<std::uint32_t>(bar_bytes - 1)};
    const auto window =
        placed && (command & command_memory) != 0 ? std::optional{GuestPhysical{base}} : std::nullopt;
    if (window != window_) {
        window_ = window;
        host_.place_window(window);
    }
}

std::uint64_t PciFunction::bar_read(std::uint64_t offset, unsigned size)
{
    if (!legal_size(size, 8) || offset % size != 0 || offset >= bar_bytes)
        return 0;
    const auto at = static_cast<unsigned>(offset);
    if (at >= bar_msix_pending)
        return msix_.read_pending(at - bar_msix_pending, size);
    if (at >= bar_msix_table)
        return msix_.read(at - bar_msix_table, size);
    if (at >= bar_notify)
        return 0;
    if (at >= bar_device) {
        std::uint64_t value{0};
        for (unsigned i = 0; i < size && at - bar_device + i < device_configuration_.size(); ++i)
            value |= std::to_integer<std::uint64_t>(device_configuration_[at - bar_device + i]) << (8 * i);
        return value;
    }
    if (at >= bar_isr)
        return at == bar_isr ? registers_.read_isr() : 0;
    return registers_.read(at, size);
}

void PciFunction::bar_write(std::uint64_t offset, unsigned size, std::uint64_t value)
{
    if (!legal_size(size, 8) || offset % size != 0 || offset >= bar_bytes)
        return;
    const auto at = static_cast<unsigned>(offset);
    if (at >= bar_msix_pending)
        return;
    if (at >= bar_msix_table)
        msix_.write(at - bar_msix_table, size, value);
    else if (at >= bar_notify)
        registers_.notify((at - bar_notify) / notify_multiplier);
    else if (at < bar_isr)
        registers_.write(at, size, value);
}

}  // namespace hv::core::virtio
