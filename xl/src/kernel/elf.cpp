// SPDX-License-Identifier: MIT
//
// ELF headers read field by field.  Offsets are the standard's, for both classes side by side.
#include "kernel/elf.hpp"

#include <array>
#include <string>

#include "hv/base/address.hpp"
#include "kernel/foreign.hpp"

namespace hv::xl {
namespace {

constexpr std::uint8_t ELFCLASS32{1};
constexpr std::uint8_t ELFCLASS64{2};
constexpr std::uint8_t ELFDATA2LSB{1};
constexpr std::uint16_t ET_EXEC{2};
constexpr std::uint16_t ET_DYN{3};
constexpr std::uint16_t EM_386{3};
constexpr std::uint16_t EM_X86_64{62};
/// More than any kernel has; the format's escape for more (PN_XNUM) is above it.
constexpr std::uint16_t most_program_headers{256};

/// Where the fields are, by class.
struct Layout {
    std::uint64_t entry, program_headers, program_header_bytes, program_header_count;
    std::uint64_t header_bytes;  ///< of one program header
    std::uint64_t offset, virtual_address, physical_address, file_bytes, memory_bytes, alignment;
};
constexpr Layout layout_32{24, 28, 42, 44, 32, 4, 8, 12, 16, 20, 28};
constexpr Layout layout_64{24, 32, 54, 56, 56, 8, 16, 24, 32, 40, 48};

std::uint64_t word(const ForeignBytes& file, bool wide, std::uint64_t offset, const char* what)
{
    return wide ? file.read<std::uint64_t>(offset, what) : file.read<std::uint32_t>(offset, what);
}

ElfSegment parse_segment(const ForeignBytes& file, bool wide, std::uint64_t at)
{
    const Layout& layout = wide ? layout_64 : layout_32;
    ElfSegment segment;
    segment.type = file.read<std::uint32_t>(at, "program header");
    segment.virtual_address = word(file, wide, at + layout.virtual_address, "p_vaddr");
    segment.physical_address = word(file, wide, at + layout.physical_address, "p_paddr");
    segment.memory_bytes = word(file, wide, at + layout.memory_bytes, "p_memsz");
    segment.alignment = word(file, wide, at + layout.alignment, "p_align");
    const std::uint64_t offset{word(file, wide, at + layout.offset, "p_offset")};
    const std::uint64_t bytes{word(file, wide, at + layout.file_bytes, "p_filesz")};
    if (segment.type != PT_LOAD && segment.type != PT_NOTE)
        return segment;  // of no interest, so of no consequence
    segment.bytes = file.slice(offset, bytes, "the segment of a program header");
    if (segment.type == PT_LOAD && segment.memory_bytes < bytes)
        refuse_kernel("ELF: a segment has p_memsz below p_filesz");
    return segment;
}

}  // namespace

std::optional<ElfFile> parse_elf(std::span<const std::byte> bytes)
{
    static constexpr std::array magic{std::byte{0x7f}, std::byte{'E'}, std::byte{'L'}, std::byte{'F'}};
    const ForeignBytes file{bytes, "ELF"};
    if (!file.starts_with(magic))
        return std::nullopt;
    const auto elf_class = file.read<std::uint8_t>(4, "EI_CLASS");
    if (elf_class != ELFCLASS32 && elf_class != ELFCLASS64)
        refuse_kernel("ELF: EI_CLASS is neither 32 nor 64 bits");
    if (file.read<std::uint8_t>(5, "EI_DATA") != ELFDATA2LSB)
        refuse_kernel("ELF: the file is not little-endian");
    const auto type = file.read<std::uint16_t>(16, "e_type");
    if (type != ET_EXEC && type != ET_DYN)
        refuse_kernel("ELF: e_type is " + std::to_string(type) + ", not an executable");
    const auto machine = file.read<std::uint16_t>(18, "e_machine");
    if (machine != EM_386 && machine != EM_X86_64)
        refuse_kernel("ELF: e_machine is " + std::to_string(machine) + ", not x86");

    ElfFile elf;
    elf.wide = elf_class == ELFCLASS64;
    const Layout& layout = elf.wide ? layout_64 : layout_32;
    elf.entry = word(file, elf.wide, layout.entry, "e_entry");
    const std::uint64_t table{word(file, elf.wide, layout.program_headers, "e_phoff")};
    const auto entry_bytes = file.read<std::uint16_t>(layout.program_header_bytes, "e_phentsize");
    const auto count = file.read<std::uint16_t>(layout.program_header_count, "e_phnum");
    if (count == 0 || count > most_program_headers)
        refuse_kernel("ELF: e_phnum is " + std::to_string(count) + ", not 1 to " +
                      std::to_string(most_program_headers));
    if (entry_bytes != layout.header_bytes)
        refuse_kernel("ELF: e_phentsize is " + std::to_string(entry_bytes));
    static_cast<void>(file.slice(table, std::uint64_t{count} * entry_bytes, "the program header table"));
    for (std::uint64_t i = 0; i < count; ++i)
        elf.segments.push_back(parse_segment(file, elf.wide, table + i * entry_bytes));
    return elf;
}

std::vector<KernelSegment> loadable_segments(const ElfFile& elf)
{
    std::vector<KernelSegment> result;
    for (const ElfSegment& segment : elf.segments) {
        if (segment.type != PT_LOAD || segment.memory_bytes == 0)
            continue;
        const GuestPhysical begin{segment.physical_address};
        if (!begin.checked_add(segment.memory_bytes))
            refuse_kernel("ELF: a segment wraps around the end of the address space");
        const GuestRange range{begin, segment.memory_bytes};
        for (const KernelSegment& other : result)
            if (range.overlaps({GuestPhysical{other.address}, other.memory_bytes}))
                refuse_kernel("ELF: two segments overlap in memory");
        result.push_back({segment.physical_address, segment.bytes, segment.memory_bytes});
    }
    if (result.empty())
        refuse_kernel("ELF: there is nothing to load");
    return result;
}

}  // namespace hv::xl
