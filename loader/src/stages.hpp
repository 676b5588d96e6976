// SPDX-License-Identifier: MIT
//
// The stages of the loader, one function and one file each, in their order.  Internal to the loader: callers
// use Module (hv/loader/load.hpp).
#pragma once

#include "hv/loader/load.hpp"

namespace hv::loader {

using File = std::span<const std::byte>;

[[nodiscard]] Expected<CheckedHeader> check_header(const AdmittedFile& admitted, Diagnostics& diagnostics);

[[nodiscard]] Status read_sections(File file, const CheckedHeader& header, Diagnostics& diagnostics,
                                   SectionTable& table);

[[nodiscard]] Expected<SymbolTable> read_symbols(File file, const SectionTable& sections,
                                                 Diagnostics& diagnostics);

[[nodiscard]] Expected<RelocationTable> check_relocations(File file, const SectionTable& sections,
                                                          const SymbolTable& symbols,
                                                          Diagnostics& diagnostics);

/// Gives each section its place in the image; fails where the image would be too large or a distance does not
/// fit.
[[nodiscard]] Expected<ImageLayout> lay_out(SectionTable& sections, Diagnostics& diagnostics);
[[nodiscard]] Status check_distances(File file, const SectionTable& sections, const SymbolTable& symbols,
                                     const RelocationTable& relocations, Diagnostics& diagnostics);

/// Judges the manifest, the hook table and the arrays that they name.
[[nodiscard]] Status judge_manifest(File file, const SectionTable& sections, const SymbolTable& symbols,
                                    const RelocationTable& relocations, const Policy& policy,
                                    Diagnostics& diagnostics, JudgedManifest& judged);

/// Judges each element of the arrays, once their place is known.
[[nodiscard]] Status judge_tables(File file, const SectionTable& sections, Diagnostics& diagnostics,
                                  const JudgedManifest& judged);

/// An element of an array that stage 6 has found to lie inside the file.
template <typename T>
[[nodiscard]] T read_element(File file, const SectionTable& sections, const ConstTable& table,
                             std::uint32_t index)
{
    HV_ASSERT(index < table.count);
    const Section& section = sections.sections[table.at.section];
    auto element =
        ByteReader{file}.read<T>(section.offset + table.at.offset + std::uint64_t{index} * sizeof(T));
    HV_ASSERT(element.has_value());
    return element.value();
}

/// Where in the file an element is, for diagnostics.
template <typename T>
[[nodiscard]] std::uint64_t element_offset(const SectionTable& sections, const ConstTable& table,
                                           std::uint32_t index)
{
    return sections.sections[table.at.section].offset + table.at.offset + std::uint64_t{index} * sizeof(T);
}

/// One relocation entry as the file has it, resolved; the entry has been checked by check_relocations.
[[nodiscard]] Relocation resolve(File file, const SymbolTable& symbols, std::size_t target_section,
                                 std::uint64_t entry_offset);

/// Calls `visit(relocation)` for each one of the image; stops where it returns false.
template <typename Visit>
void for_each_relocation(File file, const SectionTable& sections, const SymbolTable& symbols, Visit visit)
{
    for (const Section& table : sections.sections) {
        if (table.type != SHT_RELA || sections.sections[table.info].place == SectionPlace::none)
            continue;
        for (std::uint64_t at = 0; at < table.size; at += sizeof(Elf64_Rela))
            if (!visit(resolve(file, symbols, table.info, table.offset + at)))
                return;
    }
}

/// The same for those that change one section.
template <typename Visit>
void for_each_relocation_of(File file, const SectionTable& sections, const SymbolTable& symbols,
                            std::size_t section, Visit visit)
{
    for (const Section& table : sections.sections) {
        if (table.type != SHT_RELA || table.info != section)
            continue;
        for (std::uint64_t at = 0; at < table.size; at += sizeof(Elf64_Rela))
            if (!visit(resolve(file, symbols, table.info, table.offset + at)))
                return;
    }
}

/// How many bytes of the image a relocation of this kind changes.
[[nodiscard]] constexpr std::uint64_t relocation_width(std::uint32_t type)
{
    return type == R_X86_64_64 ? 8 : 4;
}

}  // namespace hv::loader
