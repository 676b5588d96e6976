// SPDX-License-Identifier: MIT
//
// A module file in a test's hands: a real one, built as every extension is, with accessors that find a field
// by what it is, so that a test can break exactly one thing.
#pragma once

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "hv/loader/load.hpp"

namespace hv::test {

class ModuleFile {
public:
    static ModuleFile built(const std::string& name)
    {
        std::ifstream stream{std::string{HVX_FOLDER} + "/" + name + "/" + name + ".hvx", std::ios::binary};
        ModuleFile file;
        for (std::istreambuf_iterator<char> at{stream}, end; at != end; ++at)
            file.bytes.push_back(static_cast<std::byte>(*at));
        if (file.bytes.empty())
            throw std::runtime_error{"no module " + name};
        return file;
    }

    template <typename T>
    [[nodiscard]] T get(std::uint64_t offset) const
    {
        T value;
        std::memcpy(&value, &bytes.at(offset + sizeof value - 1) - (sizeof value - 1), sizeof value);
        return value;
    }
    template <typename T>
    void put(std::uint64_t offset, T value)
    {
        std::memcpy(&bytes.at(offset + sizeof value - 1) - (sizeof value - 1), &value, sizeof value);
    }
    /// Changes a structure of the file in place.
    template <typename T, typename Change>
    void edit(std::uint64_t offset, Change change)
    {
        T value{get<T>(offset)};
        change(value);
        put(offset, value);
    }

    [[nodiscard]] loader::Elf64_Ehdr elf() const { return get<loader::Elf64_Ehdr>(0); }
    [[nodiscard]] std::uint64_t header_of(std::size_t section) const
    {
        return elf().e_shoff + section * sizeof(loader::Elf64_Shdr);
    }
    [[nodiscard]] std::size_t index_of(const std::string& name) const
    {
        const auto names = get<loader::Elf64_Shdr>(header_of(elf().e_shstrndx));
        for (std::size_t section = 0; section < elf().e_shnum; ++section) {
            const auto header = get<loader::Elf64_Shdr>(header_of(section));
            if (text_at(names.sh_offset + header.sh_name) == name)
                return section;
        }
        throw std::runtime_error{"no section " + name};
    }
    [[nodiscard]] std::uint64_t header_of(const std::string& name) const { return header_of(index_of(name)); }
    [[nodiscard]] loader::Elf64_Shdr section(const std::string& name) const
    {
        return get<loader::Elf64_Shdr>(header_of(name));
    }
    [[nodiscard]] std::uint64_t symbol_of(const std::string& part) const
    {
        const auto table = section(".symtab");
        const auto names = section(".strtab");
        for (std::uint64_t at = 24; at < table.sh_size; at += 24)
            if (text_at(names.sh_offset + get<std::uint32_t>(table.sh_offset + at)).find(part) !=
                std::string::npos)
                return table.sh_offset + at;
        throw std::runtime_error{"no symbol " + part};
    }
    /// The entry that relocates `offset` of a section.
    [[nodiscard]] std::uint64_t relocation_of(const std::string& section_name, std::uint64_t offset) const
    {
        const auto table = section(".rela" + section_name);
        for (std::uint64_t at = 0; at < table.sh_size; at += 24)
            if (get<std::uint64_t>(table.sh_offset + at) == offset)
                return table.sh_offset + at;
        throw std::runtime_error{"no relocation of " + section_name};
    }
    [[nodiscard]] std::uint64_t manifest() const { return section(HV_MANIFEST_SECTION).sh_offset; }
    /// Where in the file an object lies that a symbol names.
    [[nodiscard]] std::uint64_t object(const std::string& part) const
    {
        const auto symbol = get<loader::Elf64_Sym>(symbol_of(part));
        return get<loader::Elf64_Shdr>(header_of(symbol.st_shndx)).sh_offset + symbol.st_value;
    }
    [[nodiscard]] std::uint64_t hooks() const { return object("hook_table"); }
    /// The relocation of a member of the hook table.
    [[nodiscard]] std::uint64_t hook_relocation(std::uint64_t member) const
    {
        const auto symbol = get<loader::Elf64_Sym>(symbol_of("hook_table"));
        return relocation_of(".data.rel.ro", symbol.st_value + member);
    }

    [[nodiscard]] std::span<const std::byte> view() const { return bytes; }

    std::vector<std::byte> bytes;

private:
    [[nodiscard]] std::string text_at(std::uint64_t offset) const
    {
        std::string text;
        while (bytes.at(offset) != std::byte{0})
            text += static_cast<char>(bytes[offset++]);
        return text;
    }
};

}  // namespace hv::test
