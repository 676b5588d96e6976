// SPDX-License-Identifier: MIT
//
// Stage 5: where each section lies in the image.  Text, read-only data and writable data each get whole
// pages, in this order in one run of addresses, so that every distance is known before the image's address
// is.
#include "stages.hpp"

#include "hv/base/address.hpp"
#include "hv/base/checked.hpp"

namespace hv::loader {

namespace {

/// Puts the sections of one place one after the other from `start`; the region's length is whole pages.
Expected<Region> lay_out_region(SectionTable& sections, SectionPlace place, std::uint64_t start,
                                Diagnostics& diagnostics)
{
    std::uint64_t end{start};
    for (Section& section : sections.sections) {
        if (section.place != place)
            continue;
        // Neither sum can wrap: sizes and alignments have limits, and the image is held to its own here.
        section.image_offset = *checked_align_up(end, section.alignment);
        end = section.image_offset + section.size;
        if (end > maximum_image_bytes)
            return refused(diagnostics, Error::limit_reached, section.header, "section ",
                           ShownName{section.name}, ": with it the image has more than ", maximum_image_bytes,
                           " bytes");
    }
    return Region{start, *checked_align_up(end, page_size) - start};
}

}  // namespace

Expected<ImageLayout> lay_out(SectionTable& sections, Diagnostics& diagnostics)
{
    ImageLayout layout{};
    layout.text = HV_TRY(lay_out_region(sections, SectionPlace::text, 0, diagnostics));
    layout.rodata = HV_TRY(lay_out_region(sections, SectionPlace::rodata, layout.text.bytes, diagnostics));
    layout.data = HV_TRY(lay_out_region(sections, SectionPlace::data,
                                        layout.rodata.offset + layout.rodata.bytes, diagnostics));
    return layout;
}

Status check_distances(File file, const SectionTable& sections, const SymbolTable& symbols,
                       const RelocationTable&, Diagnostics& diagnostics)
{
    Status status{Done{}};
    for_each_relocation(file, sections, symbols, [&](const Relocation& relocation) {
        if (relocation.type == R_X86_64_64)
            return true;
        const Section& from = sections.sections[relocation.at.section];
        const Section& to = sections.sections[relocation.target.section];
        const auto distance = static_cast<std::int64_t>(to.image_offset + relocation.target.offset) -
                              static_cast<std::int64_t>(from.image_offset + relocation.at.offset);
        std::int64_t value{};
        if (__builtin_add_overflow(distance, relocation.addend, &value) ||
            value != static_cast<std::int32_t>(value)) {
            status = refused(diagnostics, Error::malformed, relocation.file_offset, "section ",
                             ShownName{from.name}, ": a relocation's distance does not fit into 32 bits");
            return false;
        }
        return true;
    });
    return status;
}

}  // namespace hv::loader
