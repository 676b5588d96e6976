// SPDX-License-Identifier: MIT
#include "pci_bus.hpp"

#include "port_instructions.hpp"

namespace hv::control_domain {

std::optional<PciAddress> find_free_place()
{
    constexpr std::uint32_t nobody{0xffff'ffff};
    constexpr std::uint8_t devices{32};
    const std::uint32_t latch_before = port_in(pci_address_port, 4);
    std::optional<PciAddress> found;
    for (std::uint8_t device = devices; device-- > 1 && !found;) {
        const PciAddress candidate{0, device, 0};
        port_out(pci_address_port, 4, PciLatch::make(candidate, 0));
        if (port_in(pci_data_port, 4) == nobody)
            found = candidate;
    }
    port_out(pci_address_port, 4, latch_before);
    return found;
}

}  // namespace hv::control_domain
