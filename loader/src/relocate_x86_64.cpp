// SPDX-License-Identifier: MIT
//
// Stage 7, for each instance: copy the sections to their place and apply the relocations.  Everything was
// proved by the stages before: nothing here can fail.  S + A for R_X86_64_64, S + A - P for PC32 and for
// PLT32, whose symbol is always in the image [psABI-x86-64-1.0 §4.4.1].
#include <cstring>

#include "stages.hpp"

namespace hv::loader {

namespace {

constexpr int text_padding{0xcc};  // INT3: a jump into the space between functions stops at once

void copy_sections(File file, const SectionTable& sections, const ImageLayout& layout,
                   std::span<std::byte> image)
{
    std::memset(image.data(), text_padding, layout.text.bytes);
    std::memset(image.data() + layout.rodata.offset, 0, image.size() - layout.rodata.offset);
    for (const Section& section : sections.sections)
        if (section.place != SectionPlace::none && section.type != SHT_NOBITS && section.size != 0)
            std::memcpy(image.data() + section.image_offset, file.data() + section.offset, section.size);
}

}  // namespace

void Module::relocate(const Placement& placement) const
{
    copy_sections(file_, sections_, layout_, placement.bytes);
    for_each_relocation(file_, sections_, symbols_, [&](const Relocation& relocation) {
        const std::uint64_t at{sections_.sections[relocation.at.section].image_offset + relocation.at.offset};
        const std::uint64_t symbol{placement.address +
                                   sections_.sections[relocation.target.section].image_offset +
                                   relocation.target.offset};
        std::uint64_t value{symbol + static_cast<std::uint64_t>(relocation.addend)};
        if (relocation.type != R_X86_64_64)
            value -= placement.address + at;
        const std::uint64_t width{relocation_width(relocation.type)};
        HV_ASSERT(at + width <= placement.bytes.size());
        std::memcpy(placement.bytes.data() + at, &value, width);
        return true;
    });
}

}  // namespace hv::loader
