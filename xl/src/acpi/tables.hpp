// SPDX-License-Identifier: MIT
//
// A guest's ACPI tables.  They describe the virtual PC whose numbers are in hv/protocol/platform_layout.hpp:
// a PC with fixed ACPI hardware (not hardware-reduced), two PICs, a PIT, an RTC, one UART, one I/O APIC, and
// a processor per VCPU with ACPI id = VCPU number = APIC id.  Specification: [ACPI-6.5 §5.2].
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hv::xl {

/// Where the parts lie.  RSDP and FACS are small and lie where no OS reclaims memory; the rest may be
/// reclaimed.
struct AcpiPlacement {
    std::uint64_t rsdp{};    ///< a multiple of 16, between 0xe0000 and 0xfffff
    std::uint64_t facs{};    ///< a multiple of 64, below 4 GiB
    std::uint64_t tables{};  ///< a multiple of 16, below 4 GiB
};

struct AcpiImage {
    std::vector<std::byte> rsdp;
    std::vector<std::byte> facs;
    std::vector<std::byte> tables;  ///< DSDT, FADT, MADT, XSDT
};

/// The number of bytes of `tables` does not depend on the placement.
[[nodiscard]] AcpiImage acpi_image(std::uint32_t vcpus, const AcpiPlacement& placement);

/// The DSDT alone, for tests.
[[nodiscard]] std::vector<std::byte> acpi_dsdt(std::uint32_t vcpus);

}  // namespace hv::xl
