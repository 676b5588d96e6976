// SPDX-License-Identifier: MIT
//
// A good module broken in one place at a time: each break is refused with its own sentence, at the place in the file
// where it is, with the error that the boundary translates; the unbroken file is accepted.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <ostream>

#include "module_file.hpp"

namespace hv::test {

using loader::Elf64_Ehdr;
using loader::Elf64_Rela;
using loader::Elf64_Shdr;
using loader::Elf64_Sym;

struct Break {
    const char* name;
    std::function<void(ModuleFile&)> change;
    Error error;
    const char* sentence;  ///< part of it
};

void PrintTo(const Break& one, std::ostream* out) { *out << one.name; }

namespace {

using Change = std::function<void(ModuleFile&)>;

Change elf(void (*change)(Elf64_Ehdr&))
{
    return [=](ModuleFile& file) { file.edit<Elf64_Ehdr>(0, change); };
}
Change section(const char* name, void (*change)(Elf64_Shdr&))
{
    return [=](ModuleFile& file) { file.edit<Elf64_Shdr>(file.header_of(name), change); };
}
Change symbol(const char* part, void (*change)(Elf64_Sym&))
{
    return [=](ModuleFile& file) { file.edit<Elf64_Sym>(file.symbol_of(part), change); };
}
Change manifest(void (*change)(abi::Manifest&))
{
    return [=](ModuleFile& file) { file.edit<abi::Manifest>(file.manifest(), change); };
}
Change manifest_pointer(std::uint64_t member, void (*change)(Elf64_Rela&))
{
    return [=](ModuleFile& file) {
        file.edit<Elf64_Rela>(file.relocation_of(HV_MANIFEST_SECTION, member), change);
    };
}
Change hooks(void (*change)(abi::HookTable&))
{
    return [=](ModuleFile& file) { file.edit<abi::HookTable>(file.hooks(), change); };
}
Change hook_pointer(std::uint64_t member, void (*change)(Elf64_Rela&))
{
    return [=](ModuleFile& file) { file.edit<Elf64_Rela>(file.hook_relocation(member), change); };
}
template <typename T>
Change element(const char* table, std::size_t index, void (*change)(T&))
{
    return [=](ModuleFile& file) { file.edit<T>(file.object(table) + index * sizeof(T), change); };
}
Change window(std::size_t index, void (*change)(abi::WindowRequest&))
{
    return element<abi::WindowRequest>("windows_of", index, change);
}
/// The second of the counters.
Change counter(void (*change)(abi::CounterDescription&))
{
    return element<abi::CounterDescription>("counters_of", 1, change);
}
/// The first relocation of text.
Change text_relocation(void (*change)(Elf64_Rela&))
{
    return [=](ModuleFile& file) { file.edit<Elf64_Rela>(file.section(".rela.text").sh_offset, change); };
}
/// Makes the relocation's symbol the one whose name has `part`.
void aim(ModuleFile& file, std::uint64_t relocation, const char* part, std::int64_t addend)
{
    const std::uint64_t index{(file.symbol_of(part) - file.section(".symtab").sh_offset) / sizeof(Elf64_Sym)};
    file.edit<Elf64_Rela>(relocation, [&](Elf64_Rela& entry) {
        entry.r_info = index << 32 | (entry.r_info & 0xffff'ffff);
        entry.r_addend = addend;
    });
}
/// Takes an entry out of a table of relocations: the last one takes its place.
void remove(ModuleFile& file, const char* table, std::uint64_t entry)
{
    const auto header = file.section(table);
    file.put(entry, file.get<Elf64_Rela>(header.sh_offset + header.sh_size - sizeof(Elf64_Rela)));
    file.edit<Elf64_Shdr>(file.header_of(table), [](Elf64_Shdr& s) { s.sh_size -= sizeof(Elf64_Rela); });
}
void lose_hook(ModuleFile& file, std::uint64_t member)
{
    remove(file, ".rela.data.rel.ro", file.hook_relocation(member));
}
void put_type(Elf64_Rela& entry, std::uint32_t type) { entry.r_info = (entry.r_info >> 32) << 32 | type; }

constexpr std::uint64_t host_member{offsetof(abi::Manifest, host)};
constexpr std::uint64_t hooks_member{offsetof(abi::Manifest, hooks)};
constexpr std::uint64_t windows_member{offsetof(abi::Manifest, windows)};

const Break header_breaks[]{
    {"Empty", [](ModuleFile& file) { file.bytes.clear(); }, Error::malformed, "the file has 0 bytes, less than an ELF"},
    {"ShortHeader", [](ModuleFile& file) { file.bytes.resize(63); }, Error::malformed, "63 bytes, less than"},
    {"TooLarge", [](ModuleFile& file) { file.bytes.resize(4 * 1024 * 1024 + 1); }, Error::limit_reached,
     "the file has 4194305 bytes, the limit is 4194304 (at file offset 0x0)"},
    {"Magic", elf([](Elf64_Ehdr& e) { e.e_ident[1] = 'e'; }), Error::malformed, "not an ELF file"},
    {"Class", elf([](Elf64_Ehdr& e) { e.e_ident[4] = 1; }), Error::malformed, "ELF class 1 is not 64-bit"},
    {"Encoding", elf([](Elf64_Ehdr& e) { e.e_ident[5] = 2; }), Error::malformed, "encoding 2 is not little-endian"},
    {"IdentVersion", elf([](Elf64_Ehdr& e) { e.e_ident[6] = 0; }), Error::malformed, "version is not 1 (at file offset 0x6)"},
    {"Version", elf([](Elf64_Ehdr& e) { e.e_version = 2; }), Error::malformed, "version is not 1 (at file offset 0x14)"},
    {"Executable", elf([](Elf64_Ehdr& e) { e.e_type = 2; }), Error::malformed, "type 2 is not a relocatable object"},
    {"SharedObject", elf([](Elf64_Ehdr& e) { e.e_type = 3; }), Error::malformed, "type 3 is not a relocatable object"},
    {"Machine", elf([](Elf64_Ehdr& e) { e.e_machine = 183; }), Error::malformed, "machine 183 is not x86-64"},
    {"Flags", elf([](Elf64_Ehdr& e) { e.e_flags = 1; }), Error::malformed, "flags 0x1 are not zero"},
    {"HeaderSize", elf([](Elf64_Ehdr& e) { e.e_ehsize = 52; }), Error::malformed, "header size 52 is not 64"},
    {"ProgramHeaders", elf([](Elf64_Ehdr& e) { e.e_phnum = 1; }), Error::malformed, "no program headers"},
    {"SectionHeaderSize", elf([](Elf64_Ehdr& e) { e.e_shentsize = 40; }), Error::malformed, "size 40 is not 64"},
    {"NoSections", elf([](Elf64_Ehdr& e) { e.e_shnum = 0; }), Error::malformed, "has no sections"},
    {"ManySections", elf([](Elf64_Ehdr& e) { e.e_shnum = 97; }), Error::limit_reached, "97 sections, the limit is 96"},
    {"SectionHeadersOutside", elf([](Elf64_Ehdr& e) { e.e_shoff += 64; }), Error::malformed, "do not lie inside"},
    {"SectionHeadersWrap", elf([](Elf64_Ehdr& e) { e.e_shoff = ~0ull - 63; }), Error::malformed, "do not lie inside"},
    {"NoNames", elf([](Elf64_Ehdr& e) { e.e_shstrndx = 0; }), Error::malformed, "section of section names (0)"},
    {"NamesIndex", elf([](Elf64_Ehdr& e) { e.e_shstrndx = 99; }), Error::malformed, "section of section names (99)"},
    {"NamesType", elf([](Elf64_Ehdr& e) { e.e_shstrndx = 1; }), Error::malformed, "has type 1, not string table"},
};

const Break section_breaks[]{
    {"NamesOutside", section(".shstrtab", [](Elf64_Shdr& s) { s.sh_offset = 1ull << 40; }), Error::malformed,
     "table of section names does not lie inside the file"},
    {"NameOutside", section(".text", [](Elf64_Shdr& s) { s.sh_name = 0xffff; }), Error::malformed,
     "a section's name (offset 65535) lies outside"},
    {"NameWithoutEnd", [](ModuleFile& file) {
         file.edit<Elf64_Shdr>(file.header_of(".shstrtab"), [](Elf64_Shdr& s) { s.sh_size -= 1; });
         file.edit<Elf64_Shdr>(file.header_of(std::size_t{1}), [&](Elf64_Shdr& s) {
             s.sh_name = static_cast<std::uint32_t>(file.get<Elf64_Shdr>(file.header_of(file.elf().e_shstrndx)).sh_size - 1);
         });
     }, Error::malformed, "a section's name does not end"},
    {"FirstNotNull", [](ModuleFile& file) {
         file.edit<Elf64_Shdr>(file.header_of(std::size_t{0}), [](Elf64_Shdr& s) { s.sh_type = 1; });
     }, Error::malformed, "section 0 has type 1"},
    {"BytesOutside", section(".text", [](Elf64_Shdr& s) { s.sh_size = 1ull << 40; }), Error::malformed,
     "section '.text' (offset 0x40, 1099511627776 bytes) does not lie inside the file"},
    {"BytesWrap", section(".rodata", [](Elf64_Shdr& s) { s.sh_offset = ~0ull; }), Error::malformed,
     "section '.rodata' (offset 0xffffffffffffffff"},
    {"WritableAndExecutable", section(".text", [](Elf64_Shdr& s) { s.sh_flags |= 1; }), Error::permission_denied,
     "section '.text' is writable and executable"},
    {"ExecutableData", section(".hv.manifest", [](Elf64_Shdr& s) { s.sh_flags |= 4; }), Error::permission_denied,
     "section '.hv.manifest' is writable and executable"},
    {"ExecutableWithoutBytes", section(".bss", [](Elf64_Shdr& s) { s.sh_flags = 6; }), Error::malformed,
     "is executable and has no bytes"},
    {"AlignmentOdd", section(".text", [](Elf64_Shdr& s) { s.sh_addralign = 24; }), Error::malformed,
     "alignment 24 is not a power of two"},
    {"AlignmentHuge", section(".data.rel.ro", [](Elf64_Shdr& s) { s.sh_addralign = 8192; }), Error::malformed,
     "alignment 8192 is not a power of two up to 4096"},
    {"HugeBss", section(".bss", [](Elf64_Shdr& s) { s.sh_size = 1ull << 50; }), Error::limit_reached,
     "section '.bss' has 1125899906842624 bytes"},
    {"LargeImage", section(".bss", [](Elf64_Shdr& s) { s.sh_size = 2 * 1024 * 1024; }), Error::limit_reached,
     "with it the image has more than 2097152 bytes"},
    {"Group", section(".bss", [](Elf64_Shdr& s) { s.sh_type = 17; s.sh_size = 0; }), Error::malformed,
     "a section group: link with --force-group-allocation"},
    {"RelWithoutAddend", section(".rela.text", [](Elf64_Shdr& s) { s.sh_type = 9; }), Error::malformed,
     "relocations without addends"},
    {"ExtendedIndices", section(".bss", [](Elf64_Shdr& s) { s.sh_type = 18; s.sh_size = 0; }), Error::malformed,
     "extended section indices"},
    {"Constructors", section(".data.rel.ro", [](Elf64_Shdr& s) { s.sh_type = 14; }), Error::malformed,
     "static constructors and destructors are not run"},
    {"ThreadLocal", section(".bss", [](Elf64_Shdr& s) { s.sh_flags |= 0x400; }), Error::malformed,
     "thread-local data does not exist"},
    {"Compressed", section(".rodata", [](Elf64_Shdr& s) { s.sh_flags |= 0x800; }), Error::malformed,
     "compressed sections are not supported"},
    {"UnknownType", section(".rodata", [](Elf64_Shdr& s) { s.sh_type = 0x6000'0001; }), Error::malformed,
     "type 0x60000001 is unknown and part of the image"},
    {"SymbolsInImage", section(".symtab", [](Elf64_Shdr& s) { s.sh_flags = 2; }), Error::malformed,
     "a table of the linker's cannot be part of the image"},
    {"TwoSymbolTables", section(".strtab", [](Elf64_Shdr& s) { s.sh_type = 2; }), Error::malformed,
     "a second section '.strtab'"},
    {"NoSymbolTable", section(".symtab", [](Elf64_Shdr& s) { s.sh_type = 1; }), Error::malformed,
     "the file has no symbol table"},
    {"TwoManifests", [](ModuleFile& file) {
         const auto name = file.section(HV_MANIFEST_SECTION).sh_name;
         file.edit<Elf64_Shdr>(file.header_of(".rodata"), [=](Elf64_Shdr& s) { s.sh_name = name; });
     }, Error::malformed, "a second section '.hv.manifest'"},
    {"NoManifest", [](ModuleFile& file) {
         const auto name = file.section(".rodata").sh_name;
         file.edit<Elf64_Shdr>(file.header_of(HV_MANIFEST_SECTION), [=](Elf64_Shdr& s) { s.sh_name = name; });
     }, Error::malformed, "no section '.hv.manifest': it is not an extension module"},
    {"ManifestNotInImage", section(".hv.manifest", [](Elf64_Shdr& s) { s.sh_flags = 0; }), Error::malformed,
     "section '.hv.manifest' is not data of the image"},
};

const Break symbol_breaks[]{
    {"TableSize", section(".symtab", [](Elf64_Shdr& s) { s.sh_size -= 1; }), Error::malformed,
     "not a whole number of symbols"},
    {"TableEmpty", section(".symtab", [](Elf64_Shdr& s) { s.sh_size = 0; }), Error::malformed, "symbol table of 0 bytes"},
    {"NamesLink", section(".symtab", [](Elf64_Shdr& s) { s.sh_link = 1; }), Error::malformed,
     "names (section 1) are not a string table"},
    {"NamesLinkOutside", section(".symtab", [](Elf64_Shdr& s) { s.sh_link = 500; }), Error::malformed,
     "names (section 500) are not a string table"},
    {"NamesWithoutEnd", section(".strtab", [](Elf64_Shdr& s) { s.sh_size -= 1; }), Error::malformed,
     "the string table does not end with a NUL"},
    {"NameOutside", symbol("hv_manifest", [](Elf64_Sym& s) { s.st_name = 0xffff'fff0; }), Error::malformed,
     "lies outside the string table"},
    {"Undefined", symbol("memcpy", [](Elf64_Sym& s) { s.st_shndx = 0; }), Error::malformed,
     "symbol 'memcpy' is undefined: a module links against nothing"},
    {"Common", symbol("memcpy", [](Elf64_Sym& s) { s.st_shndx = 0xfff2; }), Error::malformed,
     "symbol 'memcpy' is common"},
    {"ThreadLocal", symbol("memcpy", [](Elf64_Sym& s) { s.st_info = 0x16; }), Error::malformed,
     "symbol 'memcpy' is thread-local"},
    {"Indirect", symbol("memcpy", [](Elf64_Sym& s) { s.st_info = 0x1a; }), Error::malformed,
     "symbol 'memcpy' is an indirect function"},
    {"SectionOutside", symbol("memcpy", [](Elf64_Sym& s) { s.st_shndx = 200; }), Error::malformed,
     "symbol 'memcpy' is defined in section 200"},
    {"ValueOutside", symbol("memcpy", [](Elf64_Sym& s) { s.st_value = 1ull << 33; }), Error::malformed,
     "symbol 'memcpy' (value 0x200000000) lies outside its section '.text'"},
};

const Break relocation_breaks[]{
    {"TargetSection", section(".rela.text", [](Elf64_Shdr& s) { s.sh_info = 99; }), Error::malformed,
     "it relocates section 99"},
    {"NoTargetSection", section(".rela.text", [](Elf64_Shdr& s) { s.sh_info = 0; }), Error::malformed,
     "it relocates section 0"},
    {"WrongSymbols", section(".rela.text", [](Elf64_Shdr& s) { s.sh_link = 2; }), Error::malformed,
     "its symbols (section 2) are not the symbol table"},
    {"TableSize", section(".rela.text", [](Elf64_Shdr& s) { s.sh_size -= 5; }), Error::malformed,
     "not a whole number of relocations"},
    {"OfBss", [](ModuleFile& file) {
         const auto bss = static_cast<std::uint32_t>(file.index_of(".bss"));
         file.edit<Elf64_Shdr>(file.header_of(".rela.text"), [=](Elf64_Shdr& s) { s.sh_info = bss; });
     }, Error::malformed, "relocates a section that has no bytes"},
    {"Got", text_relocation([](Elf64_Rela& r) { put_type(r, 42); }), Error::not_supported,
     "section '.text': relocation type 42 is not one of R_X86_64_64 (1), PC32 (2), PLT32 (4)"},
    {"None", text_relocation([](Elf64_Rela& r) { put_type(r, 0); }), Error::not_supported, "relocation type 0"},
    {"Signed32", text_relocation([](Elf64_Rela& r) { put_type(r, 11); }), Error::not_supported, "relocation type 11"},
    {"OffsetOutside", text_relocation([](Elf64_Rela& r) { r.r_offset = ~0ull; }), Error::malformed,
     "a relocation at 0xffffffffffffffff lies outside"},
    {"StraddlesTheEnd", [](ModuleFile& file) {
         const std::uint64_t size{file.section(".text").sh_size};
         file.edit<Elf64_Rela>(file.section(".rela.text").sh_offset, [=](Elf64_Rela& r) { r.r_offset = size - 3; });
     }, Error::malformed, "lies outside its"},
    {"NoSymbol", text_relocation([](Elf64_Rela& r) { r.r_info &= 0xffff'ffff; }), Error::malformed,
     "a relocation uses symbol 0"},
    {"SymbolOutside", text_relocation([](Elf64_Rela& r) { r.r_info |= 1ull << 62; }), Error::malformed,
     "a relocation uses symbol"},
    {"AbsoluteSymbol", [](ModuleFile& file) {
         const auto entry = file.get<Elf64_Rela>(file.section(".rela.text").sh_offset);
         file.edit<Elf64_Sym>(file.section(".symtab").sh_offset + (entry.r_info >> 32) * 24,
                              [](Elf64_Sym& s) { s.st_shndx = 0xfff1; });
     }, Error::malformed, "which is not part of the image"},
    {"TooFar", text_relocation([](Elf64_Rela& r) { r.r_addend = 1ll << 31; }), Error::malformed,
     "a relocation's distance does not fit into 32 bits"},
    {"FarWrap", text_relocation([](Elf64_Rela& r) { r.r_addend = INT64_MIN; }), Error::malformed,
     "a relocation's distance does not fit into 32 bits"},
};

const Break manifest_breaks[]{
    {"SectionShort", [](ModuleFile& file) {  // without the pointer to counters, which ABI 0.1 did not have
         section(".hv.manifest", [](Elf64_Shdr& s) { s.sh_size = 215; })(file);
         section(".rela.hv.manifest", [](Elf64_Shdr& s) { s.sh_size -= sizeof(Elf64_Rela); })(file);
     }, Error::malformed, "has 215 bytes, a manifest of ABI 0.1 has 216"},
    {"Magic", manifest([](abi::Manifest& m) { m.header.magic ^= 1; }), Error::malformed, "the manifest's magic is 0x4d585649"},
    {"Major", manifest([](abi::Manifest& m) { m.header.major = 1; }), Error::abi_mismatch,
     "the manifest is of extension ABI 1.2, this hypervisor has 0.2"},
    {"MinorZero", manifest([](abi::Manifest& m) { m.header.minor = 0; }), Error::abi_mismatch, "ABI 0.0, which never existed"},
    {"SizeSmall", manifest([](abi::Manifest& m) { m.header.size = 215; }), Error::malformed, "says that it has 215 bytes"},
    {"SizeLarge", manifest([](abi::Manifest& m) { m.header.size = 9999; }), Error::malformed,
     "says that it has 9999 bytes, its section has 232"},
    {"HeaderReserved", manifest([](abi::Manifest& m) { m.header.reserved = 1; }), Error::malformed,
     "the manifest's reserved bytes"},
    {"NameEmpty", manifest([](abi::Manifest& m) { m.name[0] = '\0'; }), Error::invalid_argument, "the module has no name"},
    {"NameUpperCase", manifest([](abi::Manifest& m) { m.name[2] = 'E'; }), Error::invalid_argument,
     "the module's name 'exE' is not of a-z"},
    {"NameDigitFirst", manifest([](abi::Manifest& m) { m.name[0] = '7'; }), Error::invalid_argument, "name '7' is not of"},
    {"NameUnprintable", manifest([](abi::Manifest& m) { m.name[1] = '\x1b'; }), Error::invalid_argument, "name 'e?' is not"},
    {"NameEndless", manifest([](abi::Manifest& m) { std::memset(m.name, 'a', sizeof m.name); }),
     Error::invalid_argument, "the module's name does not end"},
    {"Reserved", manifest([](abi::Manifest& m) { m.reserved = 1; }), Error::malformed, "reserved bytes are not zero"},
    {"Reserved2", manifest([](abi::Manifest& m) { m.reserved_2 = 1; }), Error::malformed, "reserved bytes are not zero"},
    {"Reserved3", manifest([](abi::Manifest& m) { m.reserved_3 = 1; }), Error::malformed, "reserved bytes are not zero"},
    {"CountersTooMany", manifest([](abi::Manifest& m) { m.counter_count = 33; }), Error::limit_reached, "counters"},
    {"CountersWithoutCount", manifest([](abi::Manifest& m) { m.counter_count = 0; }), Error::malformed, "counters"},
    {"Flags", manifest([](abi::Manifest& m) { m.flags = 0x80; }), Error::not_supported, "unknown flags 0x80"},
    {"HypercallPages", manifest([](abi::Manifest& m) { m.hypercall_pages = 5; }), Error::limit_reached,
     "wants 5 hypercall pages, the limit is 4"},
    {"UnknownNeed", manifest([](abi::Manifest& m) { m.needs |= 1ull << 40; }), Error::not_supported,
     "the module, of extension ABI 0.2, needs capability 40, which this hypervisor, of ABI 0.2, does not know"},
    {"NeedNotProvided", manifest([](abi::Manifest& m) { m.needs |= abi::need_mmio; }), Error::not_supported,
     "the module needs capability 'mmio', which this hypervisor does not provide"},
    {"DescriptionEndless", manifest([](abi::Manifest& m) { std::memset(m.description, 'x', sizeof m.description); }),
     Error::malformed, "description does not end"},
    {"DomainBlockLarge", manifest([](abi::Manifest& m) { m.domain_state.size = 65544; }), Error::limit_reached,
     "the domain's state block has 65544 bytes"},
    {"VcpuBlockLarge", manifest([](abi::Manifest& m) { m.vcpu_state.size = 16392; }), Error::limit_reached,
     "the VCPU's state block has 16392 bytes"},
    {"VcpuBlockOdd", manifest([](abi::Manifest& m) { m.vcpu_state.size = 12; }), Error::malformed, "not a multiple of 8"},
    {"WindowsMany", manifest([](abi::Manifest& m) { m.window_count = 17; }), Error::limit_reached,
     "17 windows, the limit is 16"},
    {"WindowsMoreThanThere", manifest([](abi::Manifest& m) { m.window_count = 0; }), Error::malformed,
     "says 0 windows, and has a table of them"},
    {"WindowsNowhere", [](ModuleFile& file) {
         file.edit<Elf64_Rela>(file.relocation_of(HV_MANIFEST_SECTION, windows_member),
                               [](Elf64_Rela& r) { r.r_offset = host_member; });
     }, Error::malformed, "the pointer to the service table is relocated twice"},
    {"WindowsInText", [](ModuleFile& file) {
         aim(file, file.relocation_of(HV_MANIFEST_SECTION, windows_member), "memcpy", 0);
     }, Error::malformed, "the table of windows lies in section '.text', which is not read-only data"},
    {"WindowsPastTheEnd", [](ModuleFile& file) {
         const auto windows = file.get<Elf64_Sym>(file.symbol_of("windows_of")).st_value;
         aim(file, file.relocation_of(HV_MANIFEST_SECTION, windows_member), "windows_of",
             static_cast<std::int64_t>(file.section(".rodata").sh_size - windows - 767));
     }, Error::malformed, "the table of 6 windows lies partly outside section '.rodata'"},
    {"WindowsOutside", manifest_pointer(windows_member, [](Elf64_Rela& r) { r.r_addend = -8192; }), Error::malformed,
     "the pointer to windows leads outside its section"},
    {"HostInText", [](ModuleFile& file) {
         aim(file, file.relocation_of(HV_MANIFEST_SECTION, host_member), "memcpy", 0);
     }, Error::malformed, "the service table does not lie in section '.hv.host'"},
    {"HostSmall", manifest([](abi::Manifest& m) { m.host_size = 15; }), Error::malformed,
     "the service table of 15 bytes does not fit"},
    {"HostLarge", manifest([](abi::Manifest& m) { m.host_size = 609; }), Error::malformed,
     "the service table of 609 bytes does not fit"},
    {"HostMisplaced", manifest_pointer(host_member, [](Elf64_Rela& r) { r.r_addend = 4; }), Error::malformed,
     "does not fit"},
    {"HostNotSealed", section(".hv.host", [](Elf64_Shdr& s) { s.sh_flags = 0; }), Error::malformed,
     "symbol 'hv_host_table', which is not part of the image"},
    {"StrayRelocation", manifest_pointer(windows_member, [](Elf64_Rela& r) { r.r_offset = 16; }), Error::malformed,
     "a relocation changes the manifest where it has no pointer"},
    {"PointerIsPcRelative", manifest_pointer(hooks_member, [](Elf64_Rela& r) { put_type(r, 2); }), Error::malformed,
     "a relocation changes the manifest where it has no pointer"},
    {"PointerIsNumber", [](ModuleFile& file) {
         // The table of relocations loses its entry for the hooks; the bytes there hold a made-up address.
         remove(file, ".rela" HV_MANIFEST_SECTION, file.relocation_of(HV_MANIFEST_SECTION, hooks_member));
         file.edit<abi::Manifest>(file.manifest(), [](abi::Manifest& m) {
             const std::uint64_t address{0xffff'8000'0000'1000};
             std::memcpy(&m.hooks, &address, sizeof address);
         });
     }, Error::malformed, "the pointer to the hook table is a number, not an address of the module"},
    {"PagesWithoutHook", [](ModuleFile& file) { lose_hook(file, offsetof(abi::HookTable, hypercall_page)); },
     Error::malformed, "the module wants hypercall pages and has no hook hypercall_page to fill them"},
    {"ParametersWithoutHook", [](ModuleFile& file) { lose_hook(file, offsetof(abi::HookTable, parameter_set)); },
     Error::malformed, "the module describes parameters and has no hook parameter_set"},
    {"HookRelocatedTwice", [](ModuleFile& file) {
         file.edit<Elf64_Rela>(file.hook_relocation(offsetof(abi::HookTable, hypercall_page)),
                               [](Elf64_Rela& r) { r.r_offset += 8; });
     }, Error::malformed, "the pointer to hypercall is relocated twice"},
};

const Break hook_breaks[]{
    {"Magic", hooks([](abi::HookTable& h) { h.header.magic = 0; }), Error::malformed, "the hook table's magic is 0x00000000"},
    {"Major", hooks([](abi::HookTable& h) { h.header.major = 7; }), Error::abi_mismatch, "the hook table is of extension ABI 7.2"},
    {"SizeSmall", hooks([](abi::HookTable& h) { h.header.size = 16; }), Error::malformed, "the hook table says that it has 16"},
    {"SizeLarge", hooks([](abi::HookTable& h) { h.header.size = 1 << 20; }), Error::malformed, "hook table says that it has 1048576"},
    {"TableInText", [](ModuleFile& file) {
         aim(file, file.relocation_of(HV_MANIFEST_SECTION, hooks_member), "memcpy", 0);
     }, Error::malformed, "the hook table lies in section '.text', which is not read-only data"},
    {"TablePastTheEnd", manifest_pointer(hooks_member, [](Elf64_Rela& r) { r.r_addend += 200; }), Error::malformed,
     "hook table"},
    {"HookInData", [](ModuleFile& file) {
         aim(file, file.hook_relocation(offsetof(abi::HookTable, timer)), "windows_of", 0);
     }, Error::malformed, "the hook timer is not a function of the module: it lies in section '.rodata'"},
    {"HookPastTheEnd", [](ModuleFile& file) {
         const auto text = file.get<Elf64_Sym>(file.symbol_of("memcpy")).st_value;
         aim(file, file.hook_relocation(offsetof(abi::HookTable, timer)), "memcpy",
             static_cast<std::int64_t>(file.section(".text").sh_size - text));
     }, Error::malformed, "the hook timer is not a function of the module"},
    {"HookOutside", hook_pointer(offsetof(abi::HookTable, timer), [](Elf64_Rela& r) { r.r_addend = 1 << 30; }),
     Error::malformed, "the pointer to timer leads outside its section '.text'"},
    {"HookUnaligned", hook_pointer(offsetof(abi::HookTable, timer), [](Elf64_Rela& r) { r.r_offset += 4; }),
     Error::malformed, "a relocation changes the hook table where it has no pointer"},
    {"HookIsNumber", [](ModuleFile& file) {
         lose_hook(file, offsetof(abi::HookTable, exit));
         file.put<std::uint64_t>(file.hooks() + offsetof(abi::HookTable, exit), 0x1234);
     }, Error::malformed, "the pointer to exit is a number"},
    {"LeavesMany", hooks([](abi::HookTable& h) { h.leaf_count = 257; }), Error::limit_reached,
     "257 declared leaves, the limit is 256"},
    {"LeavesMissing", hooks([](abi::HookTable& h) { h.leaf_count = 0; }), Error::malformed, "says 0 declared leaves"},
    {"ExitsMissing", hooks([](abi::HookTable& h) { h.exit_count = 1; }), Error::malformed,
     "says 1 exit subscriptions, and has no table of them"},
    {"LeafOutside", element<abi::DeclaredLeaf>("leaves_of", 0, [](abi::DeclaredLeaf& d) { d.leaf = 4; }), Error::malformed,
     "declared leaf 0x4 lies outside CPUID window 1"},
    {"LeafOfMsrWindow", element<abi::DeclaredLeaf>("leaves_of", 0, [](abi::DeclaredLeaf& d) { d.window = 2; }),
     Error::malformed, "declared leaf 0x0 lies outside CPUID window 2"},
    {"LeafField", element<abi::DeclaredLeaf>("leaves_of", 1, [](abi::DeclaredLeaf& d) { d.field_register = 4; }),
     Error::malformed, "declared leaf 0x1 of window 1: a flag, field"},
    {"ReadOutside", element<abi::DeclaredMsrRead>("msr_reads_of", 0, [](abi::DeclaredMsrRead& d) { d.offset = 0x200; }),
     Error::malformed, "declared MSR read 0x200 lies outside MSR window 2"},
    {"ReadKind", element<abi::DeclaredMsrRead>("msr_reads_of", 0, [](abi::DeclaredMsrRead& d) {
         d.kind = static_cast<abi::MsrReadKind>(99);
     }), Error::malformed, "its kind, argument or condition is out of range"},
    {"ReadPastTheBlock", element<abi::DeclaredMsrRead>("msr_reads_of", 0, [](abi::DeclaredMsrRead& d) {
         d.kind = abi::MsrReadKind::vcpu_state;
         d.argument = 16;
     }), Error::malformed, "its kind, argument or condition is out of range"},
    {"ReadShift", element<abi::DeclaredMsrRead>("msr_reads_of", 0, [](abi::DeclaredMsrRead& d) {
         d.kind = abi::MsrReadKind::scaled_time;
         d.argument = 64;
     }), Error::malformed, "its kind, argument or condition is out of range"},
    {"WriteOutside", element<abi::DeclaredMsrWrite>("msr_writes_of", 0, [](abi::DeclaredMsrWrite& d) { d.window = 9; }),
     Error::malformed, "declared MSR write 0x70 lies outside MSR window 9"},
    {"WriteKind", element<abi::DeclaredMsrWrite>("msr_writes_of", 0, [](abi::DeclaredMsrWrite& d) {
         d.kind = abi::MsrWriteKind::withdrawn;
     }), Error::malformed, "its kind, places or condition is out of range"},
    {"WriteKindOfLater", element<abi::DeclaredMsrWrite>("msr_writes_of", 0, [](abi::DeclaredMsrWrite& d) {
         d.kind = static_cast<abi::MsrWriteKind>(7);
     }), Error::malformed, "its kind, places or condition is out of range"},
    {"WriteDeadlineBeyond", element<abi::DeclaredMsrWrite>("msr_writes_of", 0, [](abi::DeclaredMsrWrite& d) {
         d.kind = abi::MsrWriteKind::deadline;
         d.reserved = abi::as_word({.value_at = 0, .timer_at = 0x8000, .unit_ns = 100});
     }), Error::malformed, "its kind, places or condition is out of range"},
    {"WriteDeadlineOnItself", element<abi::DeclaredMsrWrite>("msr_writes_of", 0, [](abi::DeclaredMsrWrite& d) {
         d.kind = abi::MsrWriteKind::deadline;
         d.reserved = abi::as_word({.value_at = 0, .timer_at = 0, .unit_ns = 100});
     }), Error::malformed, "its kind, places or condition is out of range"},
    {"WritePlacesOfNothing", element<abi::DeclaredMsrWrite>("msr_writes_of", 0, [](abi::DeclaredMsrWrite& d) { d.reserved = 8; }),
     Error::malformed, "its kind, places or condition is out of range"},
};

const Break window_breaks[]{
    {"Kind", window(0, [](abi::WindowRequest& w) { w.kind = static_cast<abi::WindowKind>(42); }), Error::malformed,
     "window 1 is of unknown kind 42"},
    {"Flags", window(0, [](abi::WindowRequest& w) { w.flags = 4; }), Error::malformed, "window 1 has unknown flags 0x4"},
    {"Label", window(0, [](abi::WindowRequest& w) { std::memset(w.label, 'l', sizeof w.label); }), Error::malformed,
     "window 1: its label does not end"},
    {"SameNumber", window(3, [](abi::WindowRequest& w) { w.id = 2; }), Error::malformed, "two windows have the number 2"},
    {"LeavesTooMany", window(0, [](abi::WindowRequest& w) { w.length = 257; }), Error::malformed, "not 257"},
    {"LeafBase", window(0, [](abi::WindowRequest& w) { w.base = 0x4000'0010; }), Error::malformed,
     "leaf 0x40000010 is not 0x40000000 + n * 0x100"},
    {"LeafFixedNowhere", window(0, [](abi::WindowRequest& w) { w.flags = abi::window_fixed; }), Error::malformed,
     "window 1 is fixed and has no base"},
    {"MsrWrap", window(1, [](abi::WindowRequest& w) { w.base = 0xffff'ffff; }), Error::malformed,
     "512 MSRs from 0xffffffff do not fit"},
    {"MsrNone", window(1, [](abi::WindowRequest& w) { w.length = 0; }), Error::malformed, "0 MSRs from"},
    {"Alignment", window(3, [](abi::WindowRequest& w) { w.alignment = 3; }), Error::malformed, "alignment 3 is not"},
    {"Modes", window(2, [](abi::WindowRequest& w) { w.hypercall.modes = 0; }), Error::malformed, "modes 0x0 match nothing"},
    {"ModesUnknown", window(2, [](abi::WindowRequest& w) { w.hypercall.modes = 0x100; }), Error::malformed, "are unknown"},
    {"Cpl", window(2, [](abi::WindowRequest& w) { w.hypercall.maximum_cpl = 4; }), Error::malformed, "CPL 4 does not exist"},
    {"Register", window(2, [](abi::WindowRequest& w) { w.hypercall.operand = 16; }), Error::malformed,
     "general register 16 does not exist"},
    {"ValueOutsideMask", window(2, [](abi::WindowRequest& w) { w.hypercall.value = 1; }), Error::malformed,
     "the value has bits outside of the mask"},
    {"Ports", window(4, [](abi::WindowRequest& w) { w.base = 0xfffe; }), Error::malformed, "4 ports from 0xfffe do not fit"},
    {"MmioUnaligned", window(5, [](abi::WindowRequest& w) { w.length = 100; }), Error::malformed, "not multiples of 4096"},
    {"PciFunction", window(5, [](abi::WindowRequest& w) { w.kind = abi::WindowKind::pci; }), Error::not_supported,
     "PCI functions and ACPI devices are not supported in ABI 0.1"},
    {"ParameterKey", element<abi::ParameterDescription>("parameters_of", 0, [](abi::ParameterDescription& p) { p.key[0] = 0; }),
     Error::malformed, "a parameter's key is empty"},
    {"ParameterKind", element<abi::ParameterDescription>("parameters_of", 0, [](abi::ParameterDescription& p) {
         p.kind = static_cast<abi::ParameterKind>(9);
     }), Error::malformed, "parameter 'features' is of unknown kind 9"},
    {"ParameterRange", element<abi::ParameterDescription>("parameters_of", 0, [](abi::ParameterDescription& p) { p.minimum = 17; }),
     Error::malformed, "the minimum 17 is above the maximum 16"},
    {"CounterName", counter([](abi::CounterDescription& c) { c.name[0] = 0; }), Error::malformed, "a counter's name is empty"},
    {"CounterNameEndless", counter([](abi::CounterDescription& c) { std::memset(c.name, 'x', sizeof c.name); }), Error::malformed,
     "a counter's name is empty or does not end"},
    {"CounterTwice", counter([](abi::CounterDescription& c) { std::memcpy(c.name, "values", 7); }), Error::malformed,
     "two counters have the name 'values'"},
    {"CounterUnaligned", counter([](abi::CounterDescription& c) { c.offset = 4; }), Error::malformed,
     "counter 'timers' is at byte 4 of a VCPU's state block of 16"},
    {"CounterOutside", counter([](abi::CounterDescription& c) { c.offset = 16; }), Error::malformed,
     "counter 'timers' is at byte 16 of a VCPU's state block of 16"},
    {"CounterFarOutside", counter([](abi::CounterDescription& c) { c.offset = 0xffff'fff8; }), Error::malformed,
     "counter 'timers' is at byte 4294967288"},
    {"CounterReserved", counter([](abi::CounterDescription& c) { c.reserved = 1; }), Error::malformed,
     "counter 'timers': a reserved number is not 0"},
};

class BrokenModule : public testing::TestWithParam<Break> {};

TEST_P(BrokenModule, IsRefusedWithItsOwnSentence)
{
    auto file = ModuleFile::built("exerciser");
    GetParam().change(file);
    loader::KeptDiagnostics diagnostics;
    loader::Module module;
    const auto status = module.verify(file.view(), {}, diagnostics);
    ASSERT_FALSE(status.has_value());
    EXPECT_NE(diagnostics.text().find(GetParam().sentence), std::string_view::npos) << diagnostics.text();
    EXPECT_FALSE(diagnostics.text().empty());
    EXPECT_EQ(status.error(), GetParam().error) << diagnostics.text();
    EXPECT_LE(diagnostics.where(), file.bytes.size());
    EXPECT_FALSE(module.verified());
}

constexpr auto name_of = [](const auto& info) { return std::string{info.param.name}; };
INSTANTIATE_TEST_SUITE_P(Header, BrokenModule, testing::ValuesIn(header_breaks), name_of);
INSTANTIATE_TEST_SUITE_P(Section, BrokenModule, testing::ValuesIn(section_breaks), name_of);
INSTANTIATE_TEST_SUITE_P(Symbol, BrokenModule, testing::ValuesIn(symbol_breaks), name_of);
INSTANTIATE_TEST_SUITE_P(Relocation, BrokenModule, testing::ValuesIn(relocation_breaks), name_of);
INSTANTIATE_TEST_SUITE_P(Manifest, BrokenModule, testing::ValuesIn(manifest_breaks), name_of);
INSTANTIATE_TEST_SUITE_P(Hooks, BrokenModule, testing::ValuesIn(hook_breaks), name_of);
INSTANTIATE_TEST_SUITE_P(Window, BrokenModule, testing::ValuesIn(window_breaks), name_of);

TEST(Module, TruncatedAnywhereIsRefused)
{
    const auto whole = ModuleFile::built("minimal");
    for (std::size_t length = 0; length < whole.bytes.size(); ++length) {
        const std::vector<std::byte> part(whole.bytes.begin(), whole.bytes.begin() + static_cast<std::ptrdiff_t>(length));
        loader::KeptDiagnostics diagnostics;
        loader::Module module;
        ASSERT_FALSE(module.verify(part, {}, diagnostics).has_value()) << length;
        ASSERT_FALSE(diagnostics.text().empty()) << length;
    }
}

/// Every single-bit flip of what the loader interprets (all but code and names): it answers, with a sentence or a
/// module, and touches nothing outside the file (the sanitizers watch).
TEST(Module, WithAnyOneBitFlippedIsAnswered)
{
    auto file = ModuleFile::built("minimal");
    std::size_t refused{0};
    const Elf64_Shdr opaque[]{file.section(".text"), file.section(".strtab"), file.section(HV_HOST_TABLE_SECTION)};
    for (std::size_t bit = 0; bit < file.bytes.size() * 8; ++bit) {
        if (std::ranges::any_of(opaque, [&](const Elf64_Shdr& section) {
                return bit / 8 >= section.sh_offset && bit / 8 - section.sh_offset < section.sh_size;
            }))
            continue;
        file.bytes[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
        loader::KeptDiagnostics diagnostics;
        loader::Module module;
        if (!module.verify(file.view(), {}, diagnostics)) {
            ++refused;
            ASSERT_FALSE(diagnostics.text().empty()) << bit;
        }
        file.bytes[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    }
    EXPECT_GT(refused, 1000u);
    loader::KeptDiagnostics diagnostics;
    loader::Module module;
    EXPECT_TRUE(module.verify(file.view(), {}, diagnostics).has_value());
}

}  // namespace
}  // namespace hv::test
