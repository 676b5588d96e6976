// SPDX-License-Identifier: MIT
//
// Stage 1: is this an ELF64 relocatable object for x86-64, and do its section headers lie inside the file?
// [gABI-4.3 "ELF Header"].
#include "stages.hpp"

namespace hv::loader {

namespace {

Status check_identification(const Elf64_Ehdr& elf, Diagnostics& diagnostics)
{
    if (elf.e_ident[0] != 0x7f || elf.e_ident[1] != 'E' || elf.e_ident[2] != 'L' || elf.e_ident[3] != 'F')
        return refused(diagnostics, Error::malformed, 0, "not an ELF file");
    if (elf.e_ident[4] != ELFCLASS64)
        return refused(diagnostics, Error::malformed, 4, "ELF class ", elf.e_ident[4], " is not 64-bit (2)");
    if (elf.e_ident[5] != ELFDATA2LSB)
        return refused(diagnostics, Error::malformed, 5, "ELF data encoding ", elf.e_ident[5],
                       " is not little-endian (1)");
    if (elf.e_ident[6] != EV_CURRENT || elf.e_version != EV_CURRENT)
        return refused(diagnostics, Error::malformed, elf.e_ident[6] != EV_CURRENT ? 6 : 20,
                       "ELF version is not 1");
    if (elf.e_type != ET_REL)
        return refused(diagnostics, Error::malformed, 16, "ELF type ", elf.e_type,
                       " is not a relocatable object (1): link the module with `ld -r`");
    if (elf.e_machine != EM_X86_64)
        return refused(diagnostics, Error::malformed, 18, "ELF machine ", elf.e_machine,
                       " is not x86-64 (62)");
    if (elf.e_flags != 0)
        return refused(diagnostics, Error::malformed, 48, "ELF flags ", Hex{elf.e_flags}, " are not zero");
    if (elf.e_ehsize != sizeof(Elf64_Ehdr))
        return refused(diagnostics, Error::malformed, 52, "ELF header size ", elf.e_ehsize, " is not 64");
    return Done{};
}

Status check_section_headers(const Elf64_Ehdr& elf, std::uint64_t file_bytes, Diagnostics& diagnostics)
{
    if (elf.e_phnum != 0)
        return refused(diagnostics, Error::malformed, 56,
                       "a relocatable object has no program headers, this one says ", elf.e_phnum);
    if (elf.e_shentsize != sizeof(Elf64_Shdr))
        return refused(diagnostics, Error::malformed, 58, "section header size ", elf.e_shentsize,
                       " is not 64");
    if (elf.e_shnum < 2)
        return refused(diagnostics, Error::malformed, 60, "the file has no sections");
    if (elf.e_shnum > maximum_sections)
        return refused(diagnostics, Error::limit_reached, 60, "the file has ", elf.e_shnum,
                       " sections, the limit is ", maximum_sections);
    if (elf.e_shoff > file_bytes ||
        file_bytes - elf.e_shoff < std::uint64_t{elf.e_shnum} * sizeof(Elf64_Shdr))
        return refused(diagnostics, Error::malformed, 40, "the section headers (offset ", Hex{elf.e_shoff},
                       ", ", elf.e_shnum, " of 64 bytes) do not lie inside the file of ", file_bytes,
                       " bytes");
    if (elf.e_shstrndx == 0 || elf.e_shstrndx >= elf.e_shnum)
        return refused(diagnostics, Error::malformed, 62, "the section of section names (", elf.e_shstrndx,
                       ") is not one of the ", elf.e_shnum, " sections");
    return Done{};
}

}  // namespace

Expected<CheckedHeader> check_header(const AdmittedFile& admitted, Diagnostics& diagnostics)
{
    const File file{admitted.bytes()};
    if (file.size() > maximum_file_bytes)
        return refused(diagnostics, Error::limit_reached, 0, "the file has ", file.size(),
                       " bytes, the limit is ", maximum_file_bytes);
    const auto elf = ByteReader{file}.read<Elf64_Ehdr>(0);
    if (!elf)
        return refused(diagnostics, Error::malformed, 0, "the file has ", file.size(),
                       " bytes, less than an ELF header");
    HV_TRY(check_identification(elf.value(), diagnostics));
    HV_TRY(check_section_headers(elf.value(), file.size(), diagnostics));
    return CheckedHeader{elf.value().e_shoff, elf.value().e_shnum, elf.value().e_shstrndx};
}

}  // namespace hv::loader
