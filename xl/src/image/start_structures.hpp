// SPDX-License-Identifier: MIT
//
// What each kind of kernel finds in memory about its machine: Linux's zero page, PVH's start info,
// multiboot's information.  Pure encoders; where things lie is decided before.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/byte_buffer.hpp"
#include "image/guest_layout.hpp"
#include "kernel/kernel.hpp"

namespace hv::xl {

/// Addresses that a start structure names; 0 is none.
struct StartAddresses {
    std::uint64_t kernel{};  ///< where a Linux kernel is loaded
    std::uint64_t cmdline{};
    std::uint64_t ramdisk{};
    std::uint64_t ramdisk_bytes{};
    std::uint64_t rsdp{};
};

inline constexpr std::size_t zero_page_bytes{4096};
/// boot_params of Linux [BOOT-6.1 "The Real-Mode Kernel Header", zero-page].
[[nodiscard]] ByteBuffer zero_page(const LinuxSetup& setup, const StartAddresses& addresses,
                                   const std::vector<MemoryMapEntry>& map);

/// hvm_start_info version 1 with its module list and memory map behind it, all at `address` (PVH boot ABI).
[[nodiscard]] ByteBuffer pvh_start_info(std::uint64_t address, const StartAddresses& addresses,
                                        const std::vector<MemoryMapEntry>& map);

/// Multiboot information with memory map, module and texts behind it, all at `address` [MB1-0.6.96 §3.3].
/// Command lines are written behind it, too: `addresses.cmdline` is not used.
[[nodiscard]] ByteBuffer multiboot_information(std::uint64_t address, const StartAddresses& addresses,
                                               const std::vector<MemoryMapEntry>& map,
                                               const std::string& cmdline, const std::string& module_text);

}  // namespace hv::xl
