// SPDX-License-Identifier: MIT
//
// Reading memory that firmware and loader filled, for the portable parsers.
#pragma once

#include "hv/core/boot/memory_map.hpp"
#include "hv/core/control_domain/acpi_edit.hpp"

namespace hv::x86 {

/// While the boot page tables are in use: anything below 4 GiB.
[[nodiscard]] core::FirmwareMemory boot_memory_view();
/// Afterwards: what the memory map names, whatever its type, and the first MiB; mapped read-only as needed.
/// `map` outlives the view.
[[nodiscard]] core::FirmwareMemory firmware_memory_view(const core::MemoryMap& map);

}  // namespace hv::x86
