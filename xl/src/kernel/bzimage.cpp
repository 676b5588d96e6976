// SPDX-License-Identifier: MIT
//
// Linux's own file format: boot sector, setup code with the setup header in it, and the protected-mode
// kernel.  Only what is loaded high (every bzImage is) can be entered without firmware.  Specification:
// [BOOT-6.1 "The Real-Mode Kernel Header", "Details of Header Fields", "64-bit Boot Protocol"].
#include <bit>
#include <string>

#include "hv/protocol/linux_boot.hpp"
#include "kernel/foreign.hpp"
#include "kernel/kernel.hpp"

namespace hv::xl {
namespace {

using namespace protocol::linux_boot;

constexpr std::uint64_t high_load_address{0x10'0000};
constexpr std::uint16_t oldest_version{0x0202};

/// What the protocol's newer versions added, with what holds for older ones.
void read_newer_fields(const ForeignBytes& file, LinuxSetup& setup)
{
    const auto since = [&](std::uint16_t needed) { return setup.version >= needed; };
    setup.ramdisk_limit =
        std::uint64_t{since(0x0203) ? file.read<std::uint32_t>(initrd_addr_max, "initrd_addr_max")
                                    : 0x37ff'ffff} +
        1;
    setup.kernel_alignment =
        since(0x0205) ? file.read<std::uint32_t>(kernel_alignment, "kernel_alignment") : 0;
    setup.relocatable =
        since(0x0205) && file.read<std::uint8_t>(relocatable_kernel, "relocatable_kernel") != 0;
    setup.command_line_bytes = since(0x0206) ? file.read<std::uint32_t>(cmdline_size, "cmdline_size") : 255;
    setup.load_flags_64 =
        since(0x020c) ? file.read<std::uint16_t>(xloadflags, "xloadflags") : std::uint16_t{0};
    setup.preferred_address = since(0x020a) ? file.read<std::uint64_t>(pref_address, "pref_address")
                                            : high_load_address;
    setup.memory_bytes = since(0x020a) ? file.read<std::uint32_t>(init_size, "init_size") : 0;
    if (setup.relocatable && !std::has_single_bit(setup.kernel_alignment))
        refuse_kernel("bzImage: kernel_alignment is not a power of two");
    if (setup.command_line_bytes == 0)
        refuse_kernel("bzImage: cmdline_size is 0");
}

}  // namespace

std::optional<Kernel> parse_bzimage(std::span<const std::byte> bytes)
{
    const ForeignBytes file{bytes, "bzImage"};
    if (file.size() < header + 4 || file.read<std::uint16_t>(boot_flag, "boot_flag") != boot_flag_value ||
        file.read<std::uint32_t>(header, "header") != header_magic)
        return std::nullopt;

    Kernel kernel;
    LinuxSetup& setup = kernel.linux_setup;
    setup.version = file.read<std::uint16_t>(version, "version");
    if (setup.version < oldest_version)
        refuse_kernel("bzImage: the boot protocol is older than 2.02");
    if ((file.read<std::uint8_t>(loadflags, "loadflags") & LOADED_HIGH) == 0)
        refuse_kernel("bzImage: the kernel is not loaded high (a zImage), and is not supported");
    const std::uint64_t header_end{header + file.read<std::uint8_t>(jump_length, "the jump over the header")};
    if (header_end > header_limit)
        refuse_kernel("bzImage: the setup header is longer than the zero page has room for");
    setup.setup_header = file.slice(setup_sects, header_end - setup_sects, "the setup header");
    read_newer_fields(file, setup);

    const std::uint64_t payload{payload_begin(file.read<std::uint8_t>(setup_sects, "setup_sects"))};
    const std::uint64_t payload_bytes{std::uint64_t{file.read<std::uint32_t>(syssize, "syssize")} * 16};
    if (payload_bytes == 0)
        refuse_kernel("bzImage: syssize is 0");
    setup.payload = file.slice(payload, payload_bytes, "the protected-mode kernel (setup_sects and syssize)");
    if (setup.memory_bytes < payload_bytes)
        setup.memory_bytes = payload_bytes;

    kernel.kind = (setup.load_flags_64 & XLF_KERNEL_64) != 0 ? KernelKind::linux_64 : KernelKind::linux_32;
    kernel.entry = kernel.kind == KernelKind::linux_64 ? entry_64 : 0;
    if (payload_bytes <= kernel.entry)
        refuse_kernel("bzImage: the 64-bit entry lies outside the protected-mode kernel");
    return kernel;
}

}  // namespace hv::xl
