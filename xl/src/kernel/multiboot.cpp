// SPDX-License-Identifier: MIT
//
// Multiboot, version 1: a header in the first 8 KiB, and either an ELF32 file or load addresses in the header
// itself. Specification: [MB1-0.6.96 §3.1 "OS image format"].
#include <algorithm>
#include <string>

#include "hv/base/address.hpp"
#include "kernel/elf.hpp"
#include "kernel/foreign.hpp"

namespace hv::xl {
namespace {

constexpr std::uint32_t header_magic{0x1bad'b002};
constexpr std::uint64_t search_bytes{8192};

// Flags of the header.  Of bits 0 to 15 a loader must know all that are set.
constexpr std::uint32_t PAGE_ALIGN{1u << 0};
constexpr std::uint32_t MEMORY_INFO{1u << 1};
constexpr std::uint32_t AOUT_KLUDGE{1u << 16};
constexpr std::uint32_t mandatory{0xffff};

struct Header {
    std::uint64_t at;
    std::uint32_t flags;
};

std::optional<Header> find_header(const ForeignBytes& file)
{
    const std::uint64_t end{std::min(file.size(), search_bytes)};
    for (std::uint64_t at = 0; at + 12 <= end; at += 4) {
        if (file.read<std::uint32_t>(at, "magic") != header_magic)
            continue;
        const auto flags = file.read<std::uint32_t>(at + 4, "flags");
        const auto checksum = file.read<std::uint32_t>(at + 8, "checksum");
        if (header_magic + flags + checksum == 0)
            return Header{at, flags};
    }
    return std::nullopt;
}

/// The segment that the header's address fields describe, and the entry.
void load_by_addresses(const ForeignBytes& file, const Header& header, Kernel& kernel)
{
    const std::uint64_t header_address{file.read<std::uint32_t>(header.at + 12, "header_addr")};
    const std::uint64_t load_address{file.read<std::uint32_t>(header.at + 16, "load_addr")};
    const std::uint64_t load_end{file.read<std::uint32_t>(header.at + 20, "load_end_addr")};
    const std::uint64_t bss_end{file.read<std::uint32_t>(header.at + 24, "bss_end_addr")};
    kernel.entry = file.read<std::uint32_t>(header.at + 28, "entry_addr");
    if (load_address > header_address || header_address - load_address > header.at)
        refuse_kernel("multiboot: load_addr and header_addr do not agree with where the header is");
    const std::uint64_t file_offset{header.at - (header_address - load_address)};
    if (load_end != 0 && load_end < load_address)
        refuse_kernel("multiboot: load_end_addr is below load_addr");
    const std::uint64_t bytes{load_end == 0 ? file.size() - file_offset : load_end - load_address};
    const auto data = file.slice(file_offset, bytes, "what is loaded (load_addr to load_end_addr)");
    if (bss_end != 0 && bss_end < load_address + bytes)
        refuse_kernel("multiboot: bss_end_addr is below the end of what is loaded");
    kernel.segments.push_back({load_address, data, bss_end == 0 ? bytes : bss_end - load_address});
}

void load_elf(std::span<const std::byte> file, Kernel& kernel)
{
    const auto elf = parse_elf(file);
    if (!elf)
        refuse_kernel("multiboot: the file is not ELF, and its header has no address fields (flag bit 16)");
    if (elf->wide)
        refuse_kernel("multiboot: a 64-bit ELF file needs address fields in the header (flag bit 16)");
    kernel.segments = loadable_segments(*elf);
    kernel.entry = elf->entry;
    // e_entry of a kernel that is linked high is a virtual address.
    for (const ElfSegment& segment : elf->segments)
        if (segment.type == PT_LOAD && elf->entry >= segment.virtual_address &&
            elf->entry - segment.virtual_address < segment.memory_bytes)
            kernel.entry = segment.physical_address + (elf->entry - segment.virtual_address);
}

}  // namespace

std::optional<Kernel> parse_multiboot(std::span<const std::byte> bytes)
{
    const ForeignBytes file{bytes, "multiboot"};
    const auto header = find_header(file);
    if (!header)
        return std::nullopt;
    const std::uint32_t unknown{header->flags & mandatory & ~(PAGE_ALIGN | MEMORY_INFO)};
    if (unknown != 0)
        refuse_kernel("multiboot: the kernel requires what is not there (header flags " +
                      std::to_string(unknown) + "; a video mode is flag 4)");
    Kernel kernel;
    kernel.kind = KernelKind::multiboot;
    kernel.align_modules = (header->flags & PAGE_ALIGN) != 0;
    if ((header->flags & AOUT_KLUDGE) != 0)
        load_by_addresses(file, *header, kernel);
    else
        load_elf(bytes, kernel);
    return kernel;
}

}  // namespace hv::xl
