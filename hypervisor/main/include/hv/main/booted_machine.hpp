// SPDX-License-Identifier: MIT
//
// The machine as it came up: what main.cpp found and made, for those who go on from there.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "hv/base/address.hpp"
#include "hv/core/boot/boot_information.hpp"
#include "hv/core/boot/boot_options.hpp"
#include "hv/core/boot/memory_map.hpp"
#include "hv/core/control_domain/acpi_edit.hpp"
#include "hv/core/memory/frame_allocator.hpp"
#include "hv/core/memory/heap.hpp"
#include "hv/core/memory/ledger.hpp"

namespace hv {

inline constexpr std::string_view graft_version{"0.1.0"};

struct BootedMachine {
    core::BootInformation boot;  ///< memory map, modules, command lines, RSDP (the address of rsdp_copy)
    core::BootOptions options;
    core::MemorySplit split;        ///< the control domain's memory map
    core::FrameAllocator* frames;   ///< all frames that are not the control domain's
    core::Ledger* ledger;           ///< the hypervisor's own
    core::Heap* heap;               ///< over that ledger
    core::FirmwareMemory firmware;  ///< reads ACPI tables and boot modules
    HostPhysical start_page;        ///< processors start in it: not the control domain's
    std::array<std::byte, core::rsdp_bytes> rsdp_copy;

    /// Where the raw boot modules lie now; they belong to nobody, so not to the frame allocator either, until
    /// release_boot_modules().
    [[nodiscard]] core::HostRanges module_ranges() const;
};

[[nodiscard]] BootedMachine& booted_machine();

/// Gives the memory of all boot modules to the frame allocator, once nobody reads them any more; boot.modules
/// is empty then.
void release_boot_modules(BootedMachine& machine);

/// What processor 0 does when everybody is up.
[[noreturn]] void control_domain_main(BootedMachine& machine);

}  // namespace hv
