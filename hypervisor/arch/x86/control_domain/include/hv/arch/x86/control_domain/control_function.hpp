// SPDX-License-Identifier: MIT
//
// The PCI function by which the control domain talks to the hypervisor, as its processor's exits see it.  Who
// implements it takes note and sends an IPI: no member may wait or work.
#pragma once

#include <cstdint>

namespace hv::control_domain {

/// Where a function is in configuration space [PCI-3.0 §3.2.2.3.2].
struct PciAddress {
    std::uint8_t bus;
    std::uint8_t device;
    std::uint8_t function;
    friend constexpr bool operator==(PciAddress, PciAddress) = default;
};

class ControlFunction {
public:
    /// Configuration space: `size` is 1, 2 or 4.
    virtual std::uint32_t config_read(unsigned offset, unsigned size) = 0;
    virtual void config_write(unsigned offset, unsigned size, std::uint32_t value) = 0;
    /// The register window that ControlDomain::place_window put somewhere: `size` is 1, 2, 4 or 8.
    virtual std::uint64_t bar_read(std::uint64_t offset, unsigned size) = 0;
    virtual void bar_write(std::uint64_t offset, unsigned size, std::uint64_t value) = 0;

protected:
    ~ControlFunction() = default;
};

}  // namespace hv::control_domain
