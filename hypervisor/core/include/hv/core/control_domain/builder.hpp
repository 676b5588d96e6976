// SPDX-License-Identifier: MIT
//
// Puts the control domain's stock Linux kernel into its memory, 1:1: kernel, initramfs, command line, boot parameters
// with its own memory map and ACPI tables, and the page tables that the 64-bit entry wants.  Runs once, at boot, before
// the control domain does.  Specification: [BOOT-6.1 "64-bit Boot Protocol"].
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "hv/base/address.hpp"
#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/control_domain/acpi_edit.hpp"

namespace hv::core {

/// Types of the memory map that Linux is given [BOOT-6.1, ACPI-6.5 §15.4 table 15.1].
enum class E820Type : std::uint32_t { ram = 1, reserved = 2, acpi_tables = 3, acpi_nvs = 4, unusable = 5 };

struct E820Entry {
    std::uint64_t begin;
    std::uint64_t bytes;
    E820Type type;
};

struct ControlDomainPlan {
    std::span<const std::byte> kernel;     ///< a bzImage
    std::span<const std::byte> initramfs;  ///< may be empty
    std::string_view command_line;         ///< the operator's; what Graft needs is appended
    std::span<const E820Entry> memory;     ///< ascending, disjoint; `ram` is the control domain's, nobody else's
    FirmwareMemory firmware;
    HostPhysical rsdp;
    std::uint32_t apic_id;                 ///< of the processor that the control domain runs on
};

/// Where the processor starts; every other register follows from the boot protocol (see builder.cpp, entry state).
struct ControlDomainEntry {
    std::uint64_t rip;             ///< the kernel's 64-bit entry
    std::uint64_t boot_parameters; ///< for RSI
    std::uint64_t page_table;      ///< for CR3: identity, the first 4 GiB
    std::uint64_t gdt;             ///< 0x10 flat 64-bit code, 0x18 flat data
    std::uint16_t gdt_limit;
};

/// Appended to the control domain's command line: it must not look for processors that are not its own.
inline constexpr std::string_view control_domain_arguments{" nr_cpus=1 no_ipi_broadcast=1"};

/// Memory is written through platform::to_pointer.  Fails with malformed, not_supported, no_memory (the RAM ranges
/// cannot hold it) or out_of_range (the command line, the memory map); `why` then holds one sentence and nothing is
/// started, though RAM of the control domain may have been written.
Expected<ControlDomainEntry> build_control_domain(const ControlDomainPlan& plan, TextWriter& why);

}  // namespace hv::core
