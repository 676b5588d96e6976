// SPDX-License-Identifier: MIT
//
// Malformed modules by the hundred, made by rule: every section, symbol, table of relocations and hook of a good module,
// broken in every way of its kind, one at a time.  Each has a name, is refused with the error and the sentence that
// name it, and no two are refused with the same words.  What is broken by hand is in refusal_test.cpp.
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "hv/loader/names.hpp"
#include "module_file.hpp"

namespace hv::test {
namespace {

using loader::Elf64_Rela;
using loader::Elf64_Shdr;
using loader::Elf64_Sym;

struct Malformed {
    std::string name;
    ModuleFile file;
    Error error;
    std::string sentence;  ///< part of it
};

class Catalogue {
public:
    Catalogue()
    {
        add_sections();
        add_relocation_tables();
        add_symbols();
        add_hooks();
    }
    std::vector<Malformed> all;

private:
    void add(const std::string& name, const std::function<void(ModuleFile&)>& change, const std::string& sentence,
             Error error = Error::malformed)
    {
        all.push_back({name, good, error, sentence});
        change(all.back().file);
    }
    void add_section(std::size_t index, const char* how, const std::function<void(Elf64_Shdr&)>& change,
                     const std::string& sentence, Error error = Error::malformed)
    {
        add(name_of(index) + "." + how,
            [&](ModuleFile& file) { file.edit<Elf64_Shdr>(file.header_of(index), change); }, sentence, error);
    }
    [[nodiscard]] Elf64_Shdr header(std::size_t index) const { return good.get<Elf64_Shdr>(good.header_of(index)); }
    [[nodiscard]] std::string name_of(std::size_t index) const
    {
        const std::uint64_t names{good.get<Elf64_Shdr>(good.header_of(good.elf().e_shstrndx)).sh_offset};
        return reinterpret_cast<const char*>(good.bytes.data() + names + header(index).sh_name);
    }

    void add_sections()
    {
        for (std::size_t index = 1; index < good.elf().e_shnum; ++index) {
            const bool names{index == good.elf().e_shstrndx};
            const std::string start{names ? "the section of section names has type "
                                          : "section '" + name_of(index) + "': "};
            add_section(index, "WithoutAddends", [](Elf64_Shdr& s) { s.sh_type = 9; },
                        start + (names ? "9" : "relocations without addends"));
            add_section(index, "Group", [](Elf64_Shdr& s) { s.sh_type = 17; }, start + (names ? "17" : "a section group"));
            add_section(index, "ExtendedIndices", [](Elf64_Shdr& s) { s.sh_type = 18; },
                        start + (names ? "18" : "extended section indices"));
            add_section(index, "NameOutside",
                        [index](Elf64_Shdr& s) { s.sh_name = static_cast<std::uint32_t>(0x10000 + index); },
                        "a section's name (offset " + std::to_string(0x10000 + index) + ") lies outside");
            if (header(index).sh_type != loader::SHT_NOBITS)
                add_section(index, "Outside", [](Elf64_Shdr& s) { s.sh_offset = 1ull << 40; },
                            names ? "the table of section names does not lie inside the file"
                                  : "section '" + name_of(index) + "' (offset 0x10000000000, ");
            if ((header(index).sh_flags & loader::SHF_ALLOC) != 0)
                add_image_section(index, start);
        }
    }
    void add_image_section(std::size_t index, const std::string& start)
    {
        const std::string subject{"section '" + name_of(index) + "' "};
        add_section(index, "WritableText", [](Elf64_Shdr& s) { s.sh_flags = 7; }, subject + "is writable and executable",
                    Error::permission_denied);
        add_section(index, "OddAlignment", [](Elf64_Shdr& s) { s.sh_addralign = 24; }, start + "alignment 24 is not");
        add_section(index, "HugeAlignment", [](Elf64_Shdr& s) { s.sh_addralign = 8192; }, start + "alignment 8192 is not");
        add_section(index, "ThreadLocal", [](Elf64_Shdr& s) { s.sh_flags |= loader::SHF_TLS; }, start + "thread-local data");
        add_section(index, "Compressed", [](Elf64_Shdr& s) { s.sh_flags |= loader::SHF_COMPRESSED; },
                    start + "compressed sections");
        add_section(index, "UnknownType", [](Elf64_Shdr& s) { s.sh_type = 0x6000'0001; }, start + "type 0x60000001 is unknown");
        add_section(index, "SymbolTable", [](Elf64_Shdr& s) { s.sh_type = 2; }, start + "a table of the linker's");
    }

    void add_relocation_tables()
    {
        for (std::size_t index = 1; index < good.elf().e_shnum; ++index) {
            if (header(index).sh_type != loader::SHT_RELA)
                continue;
            const std::string start{"section '" + name_of(index) + "'"};
            add_section(index, "OfNothing", [](Elf64_Shdr& s) { s.sh_info = 0; }, start + ": it relocates section 0");
            add_section(index, "OfNoSection", [](Elf64_Shdr& s) { s.sh_info = 77; }, start + ": it relocates section 77");
            add_section(index, "OtherSymbols", [](Elf64_Shdr& s) { s.sh_link = 1; }, start + ": its symbols (section 1)");
            add_section(index, "Cut", [](Elf64_Shdr& s) { s.sh_size -= 7; }, "is not a whole number of relocations");
            add_entries(index);
        }
    }
    /// The first and the last relocation of a table.
    void add_entries(std::size_t index)
    {
        const std::string target{"section '" + name_of(header(index).sh_info) + "': "};
        for (const std::uint64_t entry : {std::uint64_t{0}, header(index).sh_size / sizeof(Elf64_Rela) - 1}) {
            const std::uint64_t at{header(index).sh_offset + entry * sizeof(Elf64_Rela)};
            const auto one = [&](const char* how, void (*change)(Elf64_Rela&), const char* sentence, Error error) {
                add(name_of(index) + "." + std::to_string(entry) + "." + how,
                    [&](ModuleFile& file) { file.edit<Elf64_Rela>(at, change); }, target + sentence, error);
            };
            one("Got", [](Elf64_Rela& r) { r.r_info = (r.r_info >> 32) << 32 | 9; }, "relocation type 9 is not", Error::not_supported);
            one("Copy", [](Elf64_Rela& r) { r.r_info = (r.r_info >> 32) << 32 | 5; }, "relocation type 5 is not", Error::not_supported);
            one("Outside", [](Elf64_Rela& r) { r.r_offset = 1ull << 32; }, "a relocation at 0x100000000 lies outside",
                Error::malformed);
            one("NoSymbol", [](Elf64_Rela& r) { r.r_info &= 0xffff'ffff; }, "a relocation uses symbol 0", Error::malformed);
            one("SymbolOutside", [](Elf64_Rela& r) { r.r_info = 9999ull << 32 | (r.r_info & 0xffff'ffff); },
                "a relocation uses symbol 9999", Error::malformed);
        }
    }

    void add_symbols()
    {
        const auto table = good.section(".symtab");
        for (std::uint64_t index = 1; index < table.sh_size / sizeof(Elf64_Sym); ++index) {
            const auto one = [&](const char* how, void (*change)(Elf64_Sym&), const std::string& sentence) {
                add("Symbol" + std::to_string(index) + "." + how,
                    [&](ModuleFile& file) { file.edit<Elf64_Sym>(table.sh_offset + index * sizeof(Elf64_Sym), change); },
                    sentence);
            };
            one("NameOutside", [](Elf64_Sym& s) { s.st_name = 0x10'0000; },
                "symbol " + std::to_string(index) + ": its name (offset 1048576) lies outside");
            one("Undefined", [](Elf64_Sym& s) { s.st_shndx = 0; }, " is undefined");
            one("Common", [](Elf64_Sym& s) { s.st_shndx = 0xfff2; }, " is common");
            one("ThreadLocal", [](Elf64_Sym& s) { s.st_info = 0x16; }, " is thread-local");
            one("Indirect", [](Elf64_Sym& s) { s.st_info = 0x1a; }, " is an indirect function");
            one("SectionOutside", [](Elf64_Sym& s) { s.st_shndx = 90; }, " is defined in section 90, the file has");
            one("ValueOutside", [](Elf64_Sym& s) { s.st_value = 1ull << 40; }, " (value 0x10000000000) lies outside");
        }
    }

    void add_hooks()
    {
        const auto symbols = good.section(".symtab");
        const std::uint64_t data{(good.symbol_of("windows_of") - symbols.sh_offset) / sizeof(Elf64_Sym)};
        for (std::uint32_t hook = 0; hook < abi::hook_count; ++hook) {
            const std::string name{loader::hook_name(hook)};
            const std::uint64_t member{abi::first_hook_offset + std::uint64_t{hook} * 8};
            const auto one = [&](const char* how, const std::function<void(Elf64_Rela&)>& change, const std::string& sentence) {
                add("Hook." + name + "." + how,
                    [&](ModuleFile& file) { file.edit<Elf64_Rela>(file.hook_relocation(member), change); }, sentence);
            };
            one("InData", [data](Elf64_Rela& r) { r.r_info = data << 32 | (r.r_info & 0xffff'ffff); r.r_addend = 0; },
                "the hook " + name + " is not a function of the module: it lies in section '.rodata'");
            one("Outside", [](Elf64_Rela& r) { r.r_addend = 1 << 30; },
                "the pointer to " + name + " leads outside its section '.text'");
            one("Half", [](Elf64_Rela& r) { r.r_offset += 4; }, "a relocation changes the hook table where it has no pointer");
        }
    }

    const ModuleFile good{ModuleFile::built("exerciser")};
};

TEST(MalformedCatalogue, EachIsRefusedInItsOwnWords)
{
    const Catalogue catalogue;
    EXPECT_GE(catalogue.all.size(), 500u);
    std::set<std::string> names, sentences;
    for (const Malformed& one : catalogue.all) {
        loader::KeptDiagnostics diagnostics;
        loader::Module module;
        const auto status = module.verify(one.file.view(), {}, diagnostics);
        ASSERT_FALSE(status.has_value()) << one.name;
        EXPECT_EQ(status.error(), one.error) << one.name << ": " << diagnostics.text();
        EXPECT_NE(diagnostics.text().find(one.sentence), std::string_view::npos)
            << one.name << " expects '" << one.sentence << "': " << diagnostics.text();
        EXPECT_LE(diagnostics.where(), one.file.bytes.size()) << one.name;
        EXPECT_TRUE(names.insert(one.name).second) << one.name;
        EXPECT_TRUE(sentences.emplace(diagnostics.text()).second) << one.name << ": " << diagnostics.text();
    }
    RecordProperty("modules", static_cast<int>(catalogue.all.size()));
    std::printf("%zu malformed modules\n", catalogue.all.size());
}

}  // namespace
}  // namespace hv::test
