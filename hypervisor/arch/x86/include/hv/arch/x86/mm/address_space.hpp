// SPDX-License-Identifier: MIT
//
// The hypervisor's own address space: its image with text executable, constants read-only and data writable,
// all RAM in the direct map (where the image's text and constants are read-only, too), stacks between
// unmapped pages, and devices and firmware tables as they are asked for.
#pragma once

#include <cstdint>
#include <span>

#include "hv/arch/x86/mm/layout.hpp"
#include "hv/arch/x86/mm/page_table.hpp"
#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/boot/memory_map.hpp"
#include "hv/core/memory/frame_allocator.hpp"

namespace hv::x86 {

/// Where the image lies in physical memory, whole pages.
[[nodiscard]] HostRange image_range();

/// Builds the final page tables and goes over to them on this processor.  Fails with no_memory.
Status build_address_space(const core::MemoryMap& memory, core::FrameAllocator& frames, core::Ledger& ledger);
/// The hypervisor's page tables, after that; for CR3 of other processors and for VM host state.
[[nodiscard]] PageTables& host_page_tables();

/// Registers of a device, uncached, readable and writable.  The pointer stays valid for ever.  Fails with
/// invalid_argument (it wraps, or RAM is in it), or no_memory.
Expected<void*> map_device(HostRange range);
/// Firmware tables: read-only, cached.  Fails with invalid_argument, or no_memory.
Expected<const void*> map_firmware(HostRange range);

/// Which stack of a processor.
enum class StackKind : std::uint8_t {
    main,
    nmi,
    double_fault,
    machine_check,
    debug
};
inline constexpr std::uint64_t main_stack_bytes{32 * 1024};
inline constexpr std::uint64_t exception_stack_bytes{8 * 1024};  ///< of each of the others
/// Maps a stack with nothing below or above it; yields its top.  Fails with no_memory.
Expected<std::uint64_t> map_stack(unsigned processor, StackKind kind);
/// True when [address, address + bytes) is a part of a stack that exists: for backtraces.
[[nodiscard]] bool on_a_stack(std::uint64_t address, std::uint64_t bytes);

/// Maps one low page at its own address, readable and executable, for processors that start; and takes it
/// away again.
Status map_start_page(HostPhysical page);
void unmap_start_page(HostPhysical page);

}  // namespace hv::x86
