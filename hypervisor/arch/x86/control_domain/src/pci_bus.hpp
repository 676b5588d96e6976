// SPDX-License-Identifier: MIT
//
// The machine's PCI configuration mechanism #1: the address latch at port 0xcf8, data at 0xcfc–0xcff [PCI-3.0
// §3.2.2.3.2].
#pragma once

#include <cstdint>
#include <optional>

#include "hv/arch/x86/control_domain/control_function.hpp"
#include "hv/base/field.hpp"

namespace hv::control_domain {

inline constexpr std::uint16_t pci_address_port{0xcf8};
inline constexpr std::uint16_t pci_data_port{0xcfc};
inline constexpr std::uint16_t pci_data_ports{4};

struct PciLatch {
    using Enable = Bit<31>;
    using Bus = Field<23, 16, std::uint8_t>;
    using Device = Field<15, 11, std::uint8_t>;
    using Function = Field<10, 8, std::uint8_t>;
    using Register = Field<7, 2, unsigned>;

    static constexpr PciAddress address(std::uint64_t latch)
    {
        return {Bus::get(latch), Device::get(latch), Function::get(latch)};
    }
    static constexpr std::uint32_t make(PciAddress address, unsigned offset)
    {
        return static_cast<std::uint32_t>(Enable::mask | Bus::make(address.bus) |
                                          Device::make(address.device) | Function::make(address.function) |
                                          Register::make(offset / 4));
    }
};
static_assert(PciLatch::make({0, 31, 0}, 4) == 0x8000'f804);

/// A device number of bus 0 that nobody answers for, the highest; before the control domain runs.
[[nodiscard]] std::optional<PciAddress> find_free_place();

}  // namespace hv::control_domain
