// SPDX-License-Identifier: MIT
//
// Where a Linux bzImage and the boot parameters ("zero page") keep what a loader needs.  The hypervisor starts
// the control domain by it, xl the guests; what each of them believes of a file is its own.  Specification:
// [BOOT-6.1 "The Real-Mode Kernel Header", "64-bit Boot Protocol"], and zero-page.rst beside it.
#pragma once

#include <cstdint>

namespace hv::protocol::linux_boot {

/// Offsets in the boot parameters; from setup_sects on also in the file, whose header is copied to the same
/// place.
inline constexpr std::uint32_t acpi_rsdp_addr{0x070};
inline constexpr std::uint32_t ext_ramdisk_image{0x0c0};
inline constexpr std::uint32_t ext_ramdisk_size{0x0c4};
inline constexpr std::uint32_t ext_cmd_line_ptr{0x0c8};
inline constexpr std::uint32_t e820_entries{0x1e8};
inline constexpr std::uint32_t setup_sects{0x1f1};  ///< the setup header begins here
inline constexpr std::uint32_t syssize{0x1f4};
inline constexpr std::uint32_t boot_flag{0x1fe};
inline constexpr std::uint32_t jump{0x200};
inline constexpr std::uint32_t jump_length{0x201};  ///< the header ends that many bytes behind `header`
inline constexpr std::uint32_t header{0x202};
inline constexpr std::uint32_t version{0x206};
inline constexpr std::uint32_t type_of_loader{0x210};
inline constexpr std::uint32_t loadflags{0x211};
inline constexpr std::uint32_t code32_start{0x214};
inline constexpr std::uint32_t ramdisk_image{0x218};
inline constexpr std::uint32_t ramdisk_size{0x21c};
inline constexpr std::uint32_t cmd_line_ptr{0x228};
inline constexpr std::uint32_t initrd_addr_max{0x22c};
inline constexpr std::uint32_t kernel_alignment{0x230};
inline constexpr std::uint32_t relocatable_kernel{0x234};
inline constexpr std::uint32_t xloadflags{0x236};
inline constexpr std::uint32_t cmdline_size{0x238};
inline constexpr std::uint32_t pref_address{0x258};
inline constexpr std::uint32_t init_size{0x260};
inline constexpr std::uint32_t header_limit{0x290};  ///< where the next structure of the boot parameters begins
inline constexpr std::uint32_t e820_table{0x2d0};
inline constexpr std::uint32_t parameters_size{0x1000};
inline constexpr unsigned e820_capacity{128};

inline constexpr std::uint16_t boot_flag_value{0xaa55};
inline constexpr std::uint32_t header_magic{0x5372'6448};  ///< "HdrS"
inline constexpr std::uint8_t LOADED_HIGH{1 << 0};         ///< in loadflags
inline constexpr std::uint16_t XLF_KERNEL_64{1 << 0};      ///< in xloadflags: there is a 64-bit entry
inline constexpr std::uint32_t sector{512};
inline constexpr std::uint32_t sectors_for_zero{4};  ///< what 0 in setup_sects means
inline constexpr std::uint32_t entry_64{0x200};      ///< of the 64-bit entry, from the load address

/// Where the protected-mode kernel begins in the file: behind the boot sector and the setup code.
constexpr std::uint64_t payload_begin(std::uint8_t setup_sectors)
{
    return (std::uint64_t{setup_sectors == 0 ? sectors_for_zero : setup_sectors} + 1) * sector;
}

}  // namespace hv::protocol::linux_boot
