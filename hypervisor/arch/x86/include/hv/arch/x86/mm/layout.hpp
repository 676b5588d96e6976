// SPDX-License-Identifier: MIT
//
// Where things are in the hypervisor's own linear address space.  The lower half is an isolated module's, where the space
// of one is loaded, and else nobody's; the upper half is the same on every processor.  The linker script and the assembly files
// repeat image_base.
#pragma once

#include <cstdint>

#include "hv/base/address.hpp"

namespace hv::x86 {

using HostLinear = Address<struct HostLinearTag>;

/// All RAM, and what map_device() and map_firmware() add, at its physical address plus this.
inline constexpr std::uint64_t direct_map_base{0xffff'8000'0000'0000};
/// What the direct map has room for: half of the upper half.
inline constexpr std::uint64_t direct_map_bytes{64ull << 40};
/// Images of extension modules, each at addresses of its own.
inline constexpr std::uint64_t module_area_base{0xffff'd000'0000'0000};
inline constexpr std::uint64_t module_area_bytes{1ull << 40};
/// Where an isolated instance's addresses begin, in a space of its own.
inline constexpr std::uint64_t isolated_area_base{0x0000'4000'0000'0000};
/// The image: linked at this plus its physical address.
inline constexpr std::uint64_t image_base{0xffff'ffff'8000'0000};
/// Stacks, with nothing mapped between them.
inline constexpr std::uint64_t stack_area_base{0xffff'ffff'c000'0000};
/// What the boot page tables map of the direct map.
inline constexpr std::uint64_t boot_mapped_bytes{4ull << 30};

}  // namespace hv::x86
