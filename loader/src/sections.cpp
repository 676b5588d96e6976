// SPDX-License-Identifier: MIT
//
// Stage 2: every section's bytes, name, type and protection.  No section is both writable and executable;
// what is written only by relocation (.data.rel.ro, .hv.*) becomes read-only.  [gABI-4.3 "Sections"].
#include "stages.hpp"

#include "hv/base/checked.hpp"

namespace hv::loader {

namespace {

struct Context {
    File file;
    Diagnostics& diagnostics;
};

bool written_once(std::string_view name)
{
    return name == HV_MANIFEST_SECTION || name == HV_HOST_TABLE_SECTION || name.starts_with(".data.rel.ro");
}

Expected<std::string_view> section_name(const Context& context, const Elf64_Shdr& names,
                                        const Elf64_Shdr& header, std::uint64_t where)
{
    const auto table = HV_TRY(ByteReader{context.file}.slice(names.sh_offset, names.sh_size));
    if (header.sh_name >= table.size())
        return refused(context.diagnostics, Error::malformed, where, "a section's name (offset ",
                       header.sh_name, ") lies outside the table of section names of ", table.size(),
                       " bytes");
    std::size_t length{0};
    while (header.sh_name + length < table.size() && table[header.sh_name + length] != std::byte{0})
        ++length;
    if (header.sh_name + length == table.size())
        return refused(context.diagnostics, Error::malformed, where, "a section's name does not end");
    const auto* const text =
        reinterpret_cast<const char*>(table.data() + header.sh_name);  // bytes as characters
    return std::string_view{text, length};
}

/// The table of names itself: inside the file, and a string table.
Expected<Elf64_Shdr> names_header(const Context& context, const CheckedHeader& header)
{
    const std::uint64_t where{header.section_headers +
                              std::uint64_t{header.name_section} * sizeof(Elf64_Shdr)};
    const auto names = HV_TRY(ByteReader{context.file}.read<Elf64_Shdr>(where));
    if (names.sh_type != SHT_STRTAB)
        return refused(context.diagnostics, Error::malformed, where, "the section of section names has type ",
                       names.sh_type, ", not string table (3)");
    if (!ByteReader{context.file}.slice(names.sh_offset, names.sh_size))
        return refused(context.diagnostics, Error::malformed, where,
                       "the table of section names does not lie inside the file");
    return names;
}

Status check_type(const Context& context, const Elf64_Shdr& header, const Section& section)
{
    const bool in_image = (header.sh_flags & SHF_ALLOC) != 0;
    const auto no = [&](std::string_view why) {
        return refused(context.diagnostics, Error::malformed, section.header, "section ",
                       ShownName{section.name}, ": ", why);
    };
    switch (header.sh_type) {
    case SHT_REL: return no("relocations without addends (SHT_REL) are not of x86-64");
    case SHT_GROUP: return no("a section group: link with --force-group-allocation");
    case SHT_SYMTAB_SHNDX: return no("extended section indices are not supported");
    case SHT_INIT_ARRAY:
    case SHT_FINI_ARRAY:
    case SHT_PREINIT_ARRAY:
        if (header.sh_size == 0)
            return Done{};
        return no("static constructors and destructors are not run in a module");
    case SHT_SYMTAB:
    case SHT_STRTAB:
    case SHT_RELA:
        if (in_image && header.sh_type != SHT_RELA)
            return no("a table of the linker's cannot be part of the image");
        return Done{};
    case SHT_PROGBITS:
    case SHT_NOTE:
    case SHT_NOBITS: break;
    default:
        if (in_image)
            return refused(context.diagnostics, Error::malformed, section.header, "section ",
                           ShownName{section.name}, ": type ", Hex{header.sh_type},
                           " is unknown and part of the image");
        return Done{};
    }
    if ((header.sh_flags & SHF_TLS) != 0)
        return no("thread-local data does not exist in a module");
    if (in_image && (header.sh_flags & SHF_COMPRESSED) != 0)
        return no("compressed sections are not supported");
    return Done{};
}

Expected<SectionPlace> place_of(const Context& context, const Elf64_Shdr& header, const Section& section)
{
    const bool writable = (header.sh_flags & SHF_WRITE) != 0;
    const bool executable = (header.sh_flags & SHF_EXECINSTR) != 0;
    const bool bytes =
        header.sh_type == SHT_PROGBITS || header.sh_type == SHT_NOBITS || header.sh_type == SHT_NOTE;
    if ((header.sh_flags & SHF_ALLOC) == 0 || !bytes)
        return SectionPlace::none;
    if (writable && executable)
        return refused(context.diagnostics, Error::permission_denied, section.header, "section ",
                       ShownName{section.name}, " is writable and executable");
    if (executable && header.sh_type == SHT_NOBITS && header.sh_size != 0)
        return refused(context.diagnostics, Error::malformed, section.header, "section ",
                       ShownName{section.name}, " is executable and has no bytes in the file");
    if (executable)
        return SectionPlace::text;
    return writable && !written_once(section.name) ? SectionPlace::data : SectionPlace::rodata;
}

Expected<Section> read_section(const Context& context, const Elf64_Shdr& names, std::uint64_t where)
{
    const auto header = HV_TRY(ByteReader{context.file}.read<Elf64_Shdr>(where));
    Section section{.name = HV_TRY(section_name(context, names, header, where)),
                    .header = where,
                    .offset = header.sh_offset,
                    .size = header.sh_size,
                    .alignment = header.sh_addralign == 0 ? 1 : header.sh_addralign,
                    .image_offset = 0,
                    .type = header.sh_type,
                    .link = header.sh_link,
                    .info = header.sh_info,
                    .place = SectionPlace::none};
    if (header.sh_type == SHT_NULL)
        return section;
    HV_TRY(check_type(context, header, section));
    if (header.sh_type != SHT_NOBITS && !ByteReader{context.file}.slice(header.sh_offset, header.sh_size))
        return refused(context.diagnostics, Error::malformed, where, "section ", ShownName{section.name},
                       " (offset ", Hex{header.sh_offset}, ", ", header.sh_size,
                       " bytes) does not lie inside the file of ", context.file.size(), " bytes");
    section.place = HV_TRY(place_of(context, header, section));
    if (section.place == SectionPlace::none)
        return section;
    if (!is_power_of_two(section.alignment) || section.alignment > maximum_alignment)
        return refused(context.diagnostics, Error::malformed, where, "section ", ShownName{section.name},
                       ": alignment ", section.alignment, " is not a power of two up to ", maximum_alignment);
    if (section.size > maximum_image_bytes)
        return refused(context.diagnostics, Error::limit_reached, where, "section ", ShownName{section.name},
                       " has ", section.size, " bytes, the limit of an image is ", maximum_image_bytes);
    return section;
}

/// Notes the sections that there must be exactly one of.
Status note_section(const Context& context, SectionTable& table, std::size_t index)
{
    const Section& section = table.sections[index];
    std::size_t* const kept{section.type == SHT_SYMTAB              ? &table.symbols
                            : section.name == HV_MANIFEST_SECTION   ? &table.manifest
                            : section.name == HV_HOST_TABLE_SECTION ? &table.host_table
                                                                    : nullptr};
    if (kept == nullptr || section.type == SHT_NULL || section.type == SHT_RELA)
        return Done{};
    if (*kept != 0)
        return refused(context.diagnostics, Error::malformed, section.header, "a second section ",
                       ShownName{section.name});
    *kept = index;
    return Done{};
}

}  // namespace

Status read_sections(File file, const CheckedHeader& header, Diagnostics& diagnostics, SectionTable& table)
{
    const Context context{file, diagnostics};
    const auto names = HV_TRY(names_header(context, header));
    for (std::uint16_t index = 0; index < header.section_count; ++index) {
        const std::uint64_t where{header.section_headers + std::uint64_t{index} * sizeof(Elf64_Shdr)};
        const auto section = HV_TRY(read_section(context, names, where));
        if (index == 0 && section.type != SHT_NULL)
            return refused(diagnostics, Error::malformed, where, "section 0 has type ", section.type,
                           ", not null");
        HV_ASSERT(table.sections.push_back(section));  // stage 1 has held the count against the capacity
        HV_TRY(note_section(context, table, index));
    }
    if (table.symbols == 0)
        return refused(diagnostics, Error::malformed, 40, "the file has no symbol table");
    if (table.manifest == 0)
        return refused(diagnostics, Error::malformed, 40,
                       "the file has no section '" HV_MANIFEST_SECTION "': it is not an extension module");
    const Section& manifest = table.sections[table.manifest];
    if (manifest.place != SectionPlace::rodata || manifest.type != SHT_PROGBITS)
        return refused(diagnostics, Error::malformed, manifest.header,
                       "section '" HV_MANIFEST_SECTION "' is not data of the image");
    return Done{};
}

}  // namespace hv::loader
