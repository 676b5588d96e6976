// SPDX-License-Identifier: MIT
#include "output/core_file.hpp"

#include <elf.h>

#include <cstring>
#include <span>

namespace hv::xl {
namespace {

/// Linux's struct elf_prstatus for x86-64, as the notes of its core files have it.
struct ProcessStatus {
    std::int32_t signal_number, signal_code, signal_errno;
    std::int16_t current_signal;
    std::int16_t padding;
    std::uint64_t pending, held;
    std::int32_t process, parent, group, session;
    std::uint64_t times[8];
    std::uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, original_rax;
    std::uint64_t rip, cs, rflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
    std::int32_t has_floating_point;
    std::int32_t padding_at_end;
};
static_assert(sizeof(ProcessStatus) == 336);

constexpr char note_name[8]{"CORE"};
constexpr std::uint64_t note_bytes{sizeof(Elf64_Nhdr) + sizeof note_name + sizeof(ProcessStatus)};
constexpr std::uint64_t page{4096};

std::int16_t signal_of(std::uint32_t vector)
{
    constexpr std::int16_t illegal{4}, trap{5}, arithmetic{8}, segment{11};
    switch (vector) {
    case 0: return arithmetic;
    case 1:
    case 3: return trap;
    case 6:
    case 7: return illegal;
    default: return segment;
    }
}

ProcessStatus status_of(const std::optional<CoreRegisters>& from)
{
    ProcessStatus to{};
    to.process = 1;
    to.cs = 0x33;  // Linux's selectors of 64-bit code and its data: how debuggers know the mode
    to.ss = to.ds = to.es = 0x2b;
    if (!from)
        return to;
    std::uint64_t* const in_order[]{&to.rax, &to.rcx, &to.rdx, &to.rbx, &to.rsp, &to.rbp, &to.rsi, &to.rdi,
                                    &to.r8,  &to.r9,  &to.r10, &to.r11, &to.r12, &to.r13, &to.r14, &to.r15};
    for (std::size_t index = 0; index < std::size(in_order); ++index)
        *in_order[index] = from->general[index];
    to.rip = from->rip;
    to.rflags = from->rflags;
    to.signal_number = to.current_signal = signal_of(from->vector);
    return to;
}

template <typename T>
void put(std::vector<std::byte>& bytes, const T& value)
{
    const auto raw = std::as_bytes(std::span{&value, 1});
    bytes.insert(bytes.end(), raw.begin(), raw.end());
}

Elf64_Ehdr file_header(std::size_t program_headers)
{
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_CORE;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_phoff = sizeof header;
    header.e_ehsize = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = static_cast<std::uint16_t>(program_headers);
    return header;
}

}  // namespace

std::vector<std::byte> core_file(const std::vector<CoreSegment>& segments, const std::optional<CoreRegisters>& registers)
{
    std::vector<std::byte> bytes;
    put(bytes, file_header(1 + segments.size()));
    std::uint64_t offset{sizeof(Elf64_Ehdr) + (1 + segments.size()) * sizeof(Elf64_Phdr)};
    put(bytes, Elf64_Phdr{PT_NOTE, 0, offset, 0, 0, note_bytes, 0, 4});
    offset = (offset + note_bytes + page - 1) / page * page;
    const std::uint64_t first{offset};
    for (const CoreSegment& one : segments) {
        const auto flags = static_cast<std::uint32_t>(PF_R | (one.writable ? PF_W : 0) | (one.executable ? PF_X : 0));
        put(bytes, Elf64_Phdr{PT_LOAD, flags, offset, one.address, 0, one.bytes.size(), one.bytes.size(), page});
        offset += (one.bytes.size() + page - 1) / page * page;
    }
    put(bytes, Elf64_Nhdr{5, sizeof(ProcessStatus), NT_PRSTATUS});
    put(bytes, note_name);
    put(bytes, status_of(registers));
    bytes.resize(first);
    for (const CoreSegment& one : segments) {
        bytes.insert(bytes.end(), one.bytes.begin(), one.bytes.end());
        bytes.resize((bytes.size() + page - 1) / page * page);
    }
    return bytes;
}

}  // namespace hv::xl
