// SPDX-License-Identifier: MIT
//
// The part of the ELF64 format that a module may use, as structures to copy bytes into; nothing here is ever
// laid over a file by a cast.  [gABI-4.3 "ELF Header", "Sections", "Symbol Table", "Relocation"],
// [psABI-x86-64-1.0 §4.4].
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace hv::loader {

struct Elf64_Ehdr {
    std::uint8_t e_ident[16];
    std::uint16_t e_type;
    std::uint16_t e_machine;
    std::uint32_t e_version;
    std::uint64_t e_entry;
    std::uint64_t e_phoff;
    std::uint64_t e_shoff;
    std::uint32_t e_flags;
    std::uint16_t e_ehsize;
    std::uint16_t e_phentsize;
    std::uint16_t e_phnum;
    std::uint16_t e_shentsize;
    std::uint16_t e_shnum;
    std::uint16_t e_shstrndx;
};
static_assert(sizeof(Elf64_Ehdr) == 64 && offsetof(Elf64_Ehdr, e_shoff) == 40 &&
              offsetof(Elf64_Ehdr, e_shnum) == 60);

inline constexpr std::uint8_t ELFCLASS64{2};
inline constexpr std::uint8_t ELFDATA2LSB{1};
inline constexpr std::uint8_t EV_CURRENT{1};
inline constexpr std::uint16_t ET_REL{1};
inline constexpr std::uint16_t EM_X86_64{62};

struct Elf64_Shdr {
    std::uint32_t sh_name;
    std::uint32_t sh_type;
    std::uint64_t sh_flags;
    std::uint64_t sh_addr;
    std::uint64_t sh_offset;
    std::uint64_t sh_size;
    std::uint32_t sh_link;
    std::uint32_t sh_info;
    std::uint64_t sh_addralign;
    std::uint64_t sh_entsize;
};
static_assert(sizeof(Elf64_Shdr) == 64 && offsetof(Elf64_Shdr, sh_offset) == 24 &&
              offsetof(Elf64_Shdr, sh_link) == 40);

inline constexpr std::uint32_t SHT_NULL{0};
inline constexpr std::uint32_t SHT_PROGBITS{1};
inline constexpr std::uint32_t SHT_SYMTAB{2};
inline constexpr std::uint32_t SHT_STRTAB{3};
inline constexpr std::uint32_t SHT_RELA{4};
inline constexpr std::uint32_t SHT_NOTE{7};
inline constexpr std::uint32_t SHT_NOBITS{8};
inline constexpr std::uint32_t SHT_REL{9};
inline constexpr std::uint32_t SHT_INIT_ARRAY{14};
inline constexpr std::uint32_t SHT_FINI_ARRAY{15};
inline constexpr std::uint32_t SHT_PREINIT_ARRAY{16};
inline constexpr std::uint32_t SHT_GROUP{17};
inline constexpr std::uint32_t SHT_SYMTAB_SHNDX{18};

inline constexpr std::uint64_t SHF_WRITE{1};
inline constexpr std::uint64_t SHF_ALLOC{2};
inline constexpr std::uint64_t SHF_EXECINSTR{4};
inline constexpr std::uint64_t SHF_TLS{0x400};
inline constexpr std::uint64_t SHF_COMPRESSED{0x800};

struct Elf64_Sym {
    std::uint32_t st_name;
    std::uint8_t st_info;
    std::uint8_t st_other;
    std::uint16_t st_shndx;
    std::uint64_t st_value;
    std::uint64_t st_size;
};
static_assert(sizeof(Elf64_Sym) == 24 && offsetof(Elf64_Sym, st_shndx) == 6 &&
              offsetof(Elf64_Sym, st_value) == 8);

inline constexpr std::uint16_t SHN_UNDEF{0};
inline constexpr std::uint16_t SHN_LORESERVE{0xff00};
inline constexpr std::uint16_t SHN_ABS{0xfff1};
inline constexpr std::uint16_t SHN_COMMON{0xfff2};

inline constexpr std::uint8_t STT_FUNC{2};
inline constexpr std::uint8_t STT_TLS{6};
inline constexpr std::uint8_t STT_GNU_IFUNC{10};

struct Elf64_Rela {
    std::uint64_t r_offset;
    std::uint64_t r_info;
    std::int64_t r_addend;
};
static_assert(sizeof(Elf64_Rela) == 24);

inline constexpr std::uint32_t R_X86_64_NONE{0};
inline constexpr std::uint32_t R_X86_64_64{1};
inline constexpr std::uint32_t R_X86_64_PC32{2};
inline constexpr std::uint32_t R_X86_64_PLT32{4};

}  // namespace hv::loader
