// SPDX-License-Identifier: MIT
//
// Stage 4: every relocation is one of the three kinds that a module needs, changes bytes of its section, and
// refers to a symbol that is part of the image.  [gABI-4.3 "Relocation"], [psABI-x86-64-1.0 §4.4].
#include "stages.hpp"

namespace hv::loader {

namespace {

std::uint32_t type_of(const Elf64_Rela& entry)
{
    return static_cast<std::uint32_t>(entry.r_info & 0xffff'ffff);
}
std::uint64_t symbol_of(const Elf64_Rela& entry)
{
    return entry.r_info >> 32;
}

Status check_table(const SectionTable& sections, const Section& table, Diagnostics& diagnostics)
{
    if (table.info == 0 || table.info >= sections.sections.size())
        return refused(diagnostics, Error::malformed, table.header, "section ", ShownName{table.name},
                       ": it relocates section ", table.info, ", the file has ", sections.sections.size());
    if (sections.sections[table.info].place == SectionPlace::none)
        return Done{};  // of debug information, say: never looked at
    if (table.link != sections.symbols)
        return refused(diagnostics, Error::malformed, table.header, "section ", ShownName{table.name},
                       ": its symbols (section ", table.link, ") are not the symbol table");
    if (table.size % sizeof(Elf64_Rela) != 0)
        return refused(diagnostics, Error::malformed, table.header, "section ", ShownName{table.name}, " of ",
                       table.size, " bytes is not a whole number of relocations of 24");
    if (sections.sections[table.info].type == SHT_NOBITS && table.size != 0)
        return refused(diagnostics, Error::malformed, table.header, "section ", ShownName{table.name},
                       " relocates a section that has no bytes");
    return Done{};
}

Status check_entry(File file, const SectionTable& sections, const SymbolTable& symbols, const Section& table,
                   std::uint64_t where, Diagnostics& diagnostics)
{
    const Elf64_Rela entry{HV_TRY(ByteReader{file}.read<Elf64_Rela>(where))};
    const Section& target = sections.sections[table.info];
    const std::uint32_t type{type_of(entry)};
    if (type != R_X86_64_64 && type != R_X86_64_PC32 && type != R_X86_64_PLT32)
        return refused(
            diagnostics, Error::not_supported, where, "section ", ShownName{target.name},
            ": relocation type ", type,
            " is not one of R_X86_64_64 (1), PC32 (2), PLT32 (4): see hv_add_extension for the flags");
    if (entry.r_offset > target.size || target.size - entry.r_offset < relocation_width(type))
        return refused(diagnostics, Error::malformed, where, "section ", ShownName{target.name},
                       ": a relocation at ", Hex{entry.r_offset}, " lies outside its ", target.size,
                       " bytes");
    if (symbol_of(entry) == 0 || symbol_of(entry) >= symbols.count)
        return refused(diagnostics, Error::malformed, where, "section ", ShownName{target.name},
                       ": a relocation uses symbol ", symbol_of(entry), ", the file has ", symbols.count);
    const Elf64_Sym symbol{symbol_at(ByteReader{file}, symbols, symbol_of(entry))};
    if (symbol.st_shndx >= sections.sections.size() ||
        sections.sections[symbol.st_shndx].place == SectionPlace::none)
        return refused(diagnostics, Error::malformed, where, "section ", ShownName{target.name},
                       ": a relocation uses symbol ", ShownName{symbol_name(file, symbols, symbol)},
                       ", which is not part of the image");
    return Done{};
}

}  // namespace

Relocation resolve(File file, const SymbolTable& symbols, std::size_t target_section,
                   std::uint64_t entry_offset)
{
    const auto entry = ByteReader{file}.read<Elf64_Rela>(entry_offset);
    HV_ASSERT(entry.has_value());
    const Elf64_Sym symbol{symbol_at(ByteReader{file}, symbols, symbol_of(entry.value()))};
    return {.at = {target_section, entry.value().r_offset},
            .target = {symbol.st_shndx, symbol.st_value},
            .addend = entry.value().r_addend,
            .type = type_of(entry.value()),
            .file_offset = entry_offset};
}

Expected<RelocationTable> check_relocations(File file, const SectionTable& sections,
                                            const SymbolTable& symbols, Diagnostics& diagnostics)
{
    RelocationTable relocations{};
    for (const Section& table : sections.sections) {
        if (table.type != SHT_RELA)
            continue;
        HV_TRY(check_table(sections, table, diagnostics));
        if (sections.sections[table.info].place == SectionPlace::none)
            continue;
        relocations.count += table.size / sizeof(Elf64_Rela);
        if (relocations.count > maximum_relocations)
            return refused(diagnostics, Error::limit_reached, table.header, "the file has more than ",
                           maximum_relocations, " relocations");
        for (std::uint64_t at = 0; at < table.size; at += sizeof(Elf64_Rela))
            HV_TRY(check_entry(file, sections, symbols, table, table.offset + at, diagnostics));
    }
    return relocations;
}

}  // namespace hv::loader
