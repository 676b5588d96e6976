// SPDX-License-Identifier: MIT
//
// Where a Linux bzImage keeps what its loader needs: the setup header and the fields of the boot parameters ("zero
// page").  Parsing only; nothing is placed here.  Specification: [BOOT-6.1 "The Real-Mode Kernel Header", "64-bit Boot
// Protocol"], the text Documentation/x86/boot.rst of Linux 6.1, and zero-page.rst beside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"

namespace hv::core {

/// Offsets in the file, and, since the header is copied to the same place, in the boot parameters.
namespace linux_boot {
inline constexpr std::uint32_t ext_ramdisk_image{0x0c0};
inline constexpr std::uint32_t ext_ramdisk_size{0x0c4};
inline constexpr std::uint32_t ext_cmd_line_ptr{0x0c8};
inline constexpr std::uint32_t acpi_rsdp_addr{0x070};
inline constexpr std::uint32_t e820_entries{0x1e8};
inline constexpr std::uint32_t setup_sects{0x1f1};
inline constexpr std::uint32_t boot_flag{0x1fe};
inline constexpr std::uint32_t jump{0x200};
inline constexpr std::uint32_t header{0x202};
inline constexpr std::uint32_t version{0x206};
inline constexpr std::uint32_t type_of_loader{0x210};
inline constexpr std::uint32_t loadflags{0x211};
inline constexpr std::uint32_t ramdisk_image{0x218};
inline constexpr std::uint32_t ramdisk_size{0x21c};
inline constexpr std::uint32_t cmd_line_ptr{0x228};
inline constexpr std::uint32_t kernel_alignment{0x230};
inline constexpr std::uint32_t relocatable_kernel{0x234};
inline constexpr std::uint32_t xloadflags{0x236};
inline constexpr std::uint32_t cmdline_size{0x238};
inline constexpr std::uint32_t pref_address{0x258};
inline constexpr std::uint32_t init_size{0x260};
inline constexpr std::uint32_t e820_table{0x2d0};
inline constexpr std::uint32_t parameters_size{0x1000};
inline constexpr unsigned e820_capacity{128};
inline constexpr std::uint32_t entry_64{0x200};  ///< offset of the 64-bit entry from the load address
}  // namespace linux_boot

/// The proof that a file is a bzImage with a 64-bit entry, and what its header says.
struct LinuxImage {
    std::span<const std::byte> header;   ///< the setup header, file offsets header_begin …
    std::span<const std::byte> payload;  ///< the protected-mode kernel, to the end of the file
    std::uint64_t preferred_address;
    std::uint64_t alignment;
    std::uint32_t memory_size;  ///< bytes needed from the load address on, until the kernel has unpacked itself
    std::uint32_t command_line_limit;
    bool relocatable;

    static constexpr std::uint32_t header_begin{linux_boot::setup_sects};
};

/// Checks every field before it is believed.  Fails with malformed, or not_supported where the kernel is too old or has
/// no 64-bit entry; `why` then holds one sentence.
Expected<LinuxImage> parse_linux_image(std::span<const std::byte> file, TextWriter& why);

}  // namespace hv::core
