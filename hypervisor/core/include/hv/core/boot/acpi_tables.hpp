// SPDX-License-Identifier: MIT
//
// What the hypervisor itself wants of ACPI's static tables: the processors, the local APIC's address and the
// power management timer.  Reads, never changes; the control domain's copies are made elsewhere
// (control_domain/acpi_edit.hpp). Specification: [ACPI-6.5 §5.2.5 (RSDP), §5.2.6, §5.2.7, §5.2.8, §5.2.9
// (FADT), §5.2.12 (MADT)].
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "hv/base/address.hpp"
#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/base/static_vector.hpp"
#include "hv/core/control_domain/acpi_edit.hpp"  // FirmwareMemory
#include "hv/core/platform/platform.hpp"

namespace hv::core {

/// Searches the first KiB of the extended BIOS data area and 0xe0000–0xfffff; not_found when there is none.
Expected<HostPhysical> search_rsdp(const FirmwareMemory& memory);

/// A whole table, checked: signature, length, checksum; of several with that signature the one with so many `earlier` ones.
/// Fails with not_found or malformed (and `why`).
Expected<std::span<const std::byte>> find_acpi_table(const FirmwareMemory& memory, HostPhysical rsdp,
                                                     std::string_view signature, TextWriter& why,
                                                     unsigned earlier = 0);

/// What the MADT lists.
struct ProcessorList {
    HostPhysical local_apic;
    /// APIC ids of the processors that are enabled, in the table's order, none twice.
    StaticVector<std::uint32_t, platform::maximum_processors> apic_ids;
    /// Enabled ones that did not fit.
    unsigned left_out;
};
Expected<ProcessorList> parse_madt(std::span<const std::byte> table, TextWriter& why);

/// The I/O port of the power management timer, or not_found.
Expected<std::uint16_t> power_timer_port(std::span<const std::byte> fadt);

}  // namespace hv::core
