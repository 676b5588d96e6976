// SPDX-License-Identifier: MIT
//
// Stage 3: every symbol has a name that ends and is defined in a section of the file; a module links against
// nothing. [gABI-4.3 "Symbol Table", "String Table"].
#include "stages.hpp"

namespace hv::loader {

Elf64_Sym symbol_at(const ByteReader& file, const SymbolTable& symbols, std::uint64_t index)
{
    HV_ASSERT(index < symbols.count);
    auto symbol = file.read<Elf64_Sym>(symbols.offset + index * sizeof(Elf64_Sym));
    HV_ASSERT(symbol.has_value());
    return symbol.value();
}

std::string_view symbol_name(File file, const SymbolTable& symbols, const Elf64_Sym& symbol)
{
    HV_ASSERT(symbol.st_name < symbols.names_bytes);
    const auto* const text = reinterpret_cast<const char*>(file.data() + symbols.names + symbol.st_name);
    const std::uint64_t most{symbols.names_bytes - symbol.st_name};
    std::size_t length{0};
    while (length < most && text[length] != '\0')
        ++length;
    return {text, length};
}

namespace {

Status check_string_table(File file, const SectionTable& sections, const Section& symtab,
                          Diagnostics& diagnostics)
{
    if (symtab.link == 0 || symtab.link >= sections.sections.size() ||
        sections.sections[symtab.link].type != SHT_STRTAB)
        return refused(diagnostics, Error::malformed, symtab.header, "the symbol table's names (section ",
                       symtab.link, ") are not a string table");
    const Section& names = sections.sections[symtab.link];
    if (names.size == 0 || file[names.offset + names.size - 1] != std::byte{0})
        return refused(diagnostics, Error::malformed, names.header,
                       "the string table does not end with a NUL");
    return Done{};
}

Status check_symbol(File file, const SectionTable& sections, const SymbolTable& symbols, std::uint64_t index,
                    Diagnostics& diagnostics)
{
    const Elf64_Sym symbol{symbol_at(ByteReader{file}, symbols, index)};
    const std::uint64_t where{symbols.offset + index * sizeof(Elf64_Sym)};
    if (symbol.st_name >= symbols.names_bytes)
        return refused(diagnostics, Error::malformed, where, "symbol ", index, ": its name (offset ",
                       symbol.st_name, ") lies outside the string table of ", symbols.names_bytes, " bytes");
    const ShownName name{symbol_name(file, symbols, symbol)};
    const std::uint8_t type{static_cast<std::uint8_t>(symbol.st_info & 0xf)};
    if (symbol.st_shndx == SHN_UNDEF)
        return refused(diagnostics, Error::malformed, where, "symbol ", name,
                       " is undefined: a module links against nothing");
    if (symbol.st_shndx == SHN_COMMON)
        return refused(diagnostics, Error::malformed, where, "symbol ", name,
                       " is common: compile with -fno-common");
    if (type == STT_TLS || type == STT_GNU_IFUNC)
        return refused(diagnostics, Error::malformed, where, "symbol ", name,
                       type == STT_TLS ? " is thread-local" : " is an indirect function");
    if (symbol.st_shndx == SHN_ABS)
        return Done{};
    if (symbol.st_shndx >= sections.sections.size())
        return refused(diagnostics, Error::malformed, where, "symbol ", name, " is defined in section ",
                       symbol.st_shndx, ", the file has ", sections.sections.size());
    const Section& section = sections.sections[symbol.st_shndx];
    if (symbol.st_value > section.size)
        return refused(diagnostics, Error::malformed, where, "symbol ", name, " (value ",
                       Hex{symbol.st_value}, ") lies outside its section ", ShownName{section.name}, " of ",
                       section.size, " bytes");
    return Done{};
}

}  // namespace

Expected<SymbolTable> read_symbols(File file, const SectionTable& sections, Diagnostics& diagnostics)
{
    const Section& symtab = sections.sections[sections.symbols];
    if (symtab.size % sizeof(Elf64_Sym) != 0 || symtab.size == 0)
        return refused(diagnostics, Error::malformed, symtab.header, "the symbol table of ", symtab.size,
                       " bytes is not a whole number of symbols of 24");
    HV_TRY(check_string_table(file, sections, symtab, diagnostics));
    const Section& names = sections.sections[symtab.link];
    const SymbolTable symbols{symtab.offset, symtab.size / sizeof(Elf64_Sym), names.offset, names.size};
    if (symbols.count > maximum_symbols)
        return refused(diagnostics, Error::limit_reached, symtab.header, "the file has ", symbols.count,
                       " symbols, the limit is ", maximum_symbols);
    for (std::uint64_t index = 1; index < symbols.count; ++index)
        HV_TRY(check_symbol(file, sections, symbols, index, diagnostics));
    return symbols;
}

}  // namespace hv::loader
