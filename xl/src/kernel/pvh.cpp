// SPDX-License-Identifier: MIT
//
// ELF files with the PVH note: name "Xen", type 18, and a 32-bit physical entry address as its description
// (the file may be of 32 or 64 bits, the description of 4 or 8 bytes).  Specification: [gABI-4.3 "Note
// Section"] for the form of notes, Xen's public/elfnote.h for the number.
#include <cstring>

#include "hv/base/checked.hpp"
#include "kernel/elf.hpp"
#include "kernel/foreign.hpp"

namespace hv::xl {
namespace {

constexpr std::uint32_t XEN_ELFNOTE_PHYS32_ENTRY{18};
constexpr std::string_view note_name{"Xen"};
constexpr std::uint64_t note_header{12};

/// The description of the PVH note in one note segment.
std::optional<std::span<const std::byte>> find_note(const ElfSegment& segment)
{
    const ForeignBytes notes{segment.bytes, "ELF note"};
    const std::uint64_t alignment{segment.alignment == 8 ? 8u : 4u};
    std::uint64_t at{0};
    while (notes.size() - at >= note_header) {
        const std::uint64_t name_bytes{notes.read<std::uint32_t>(at, "n_namesz")};
        const std::uint64_t description_bytes{notes.read<std::uint32_t>(at + 4, "n_descsz")};
        const auto type = notes.read<std::uint32_t>(at + 8, "n_type");
        const auto name = notes.slice(at + note_header, name_bytes, "a note's name");
        const auto description_at = *checked_align_up(at + note_header + name_bytes, alignment);
        const auto description = notes.slice(description_at, description_bytes, "a note's description");
        if (type == XEN_ELFNOTE_PHYS32_ENTRY && name_bytes == note_name.size() + 1 &&
            std::memcmp(name.data(), note_name.data(), name_bytes) == 0)
            return description;
        at = *checked_align_up(description_at + description_bytes, alignment);
        if (at > notes.size())
            break;  // the last note need not be padded
    }
    return std::nullopt;
}

std::uint64_t entry_of(std::span<const std::byte> description)
{
    const ForeignBytes bytes{description, "ELF note"};
    if (description.size() != 4 && description.size() != 8)
        refuse_kernel("ELF: the PVH note's description has " + std::to_string(description.size()) +
                      " bytes, not 4 or 8");
    const std::uint64_t entry{description.size() == 4 ? bytes.read<std::uint32_t>(0, "entry")
                                                      : bytes.read<std::uint64_t>(0, "entry")};
    if (entry > 0xffff'ffff)
        refuse_kernel("ELF: the PVH note's entry address does not fit 32 bits");
    return entry;
}

}  // namespace

std::optional<Kernel> parse_pvh(std::span<const std::byte> file)
{
    const auto elf = parse_elf(file);
    if (!elf)
        return std::nullopt;
    for (const ElfSegment& segment : elf->segments) {
        if (segment.type != PT_NOTE)
            continue;
        const auto description = find_note(segment);
        if (!description)
            continue;
        Kernel kernel;
        kernel.kind = KernelKind::pvh;
        kernel.segments = loadable_segments(*elf);
        kernel.entry = entry_of(*description);
        return kernel;
    }
    return std::nullopt;
}

}  // namespace hv::xl
