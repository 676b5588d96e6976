// SPDX-License-Identifier: MIT
//
// The control domain's view of the firmware's ACPI tables: a new RSDP and XSDT that name the firmware's tables where they
// lie, but for the MADT, which is replaced by one that lists the control domain's processor alone, and for the tables that
// describe what is not its own (IVRS, DMAR, SRAT, SLIT).  A damaged table is left out with a warning that names it; without
// a good MADT there is no way on.  Nothing of the firmware's is changed in place.
// Specification: [ACPI-6.5 §5.2.5, §5.2.7, §5.2.8, §5.2.12].
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/base/address.hpp"
#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"

namespace hv::core {

/// How table bytes are read: `length` bytes of firmware memory at a host-physical address, or nothing when that range is
/// not known to be memory.
struct FirmwareMemory {
    void* context;
    std::span<const std::byte> (*view)(void* context, HostPhysical address, std::uint64_t length);

    [[nodiscard]] std::span<const std::byte> at(HostPhysical address, std::uint64_t length) const
    {
        return view(context, address, length);
    }
};

/// Bytes that edit_acpi_tables may write at most.
inline constexpr std::uint64_t edited_acpi_capacity{8 * page_size};

/// Builds RSDP, XSDT and MADT into `out`, which will lie at `out_address`; the RSDP comes first.  `own_apic_id` is the local
/// APIC that stays listed.  Fails with malformed (a checksum or length of the roots or the MADT), not_found (no MADT, or the own processor is not
/// in it) or out_of_range (too many tables); `why` then holds one sentence.
Status edit_acpi_tables(const FirmwareMemory& memory, HostPhysical rsdp, std::uint32_t own_apic_id,
                        std::span<std::byte> out, HostPhysical out_address, TextWriter& why);

}  // namespace hv::core
