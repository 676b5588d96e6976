// SPDX-License-Identifier: MIT
//
// The length of an instruction that caused an exit, for processors that do not save the next RIP.  The exit
// says which instruction it was; these functions check that the bytes in memory still are that instruction
// (another processor of the guest may have changed them since) and say how long it is.  No operand is
// interpreted: who needs the register of a MOV CR gets the decoded instruction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/core/emulate/decode.hpp"

namespace hv::core::emulate {

/// Instructions whose execution can be intercepted [APM2-3.41 §15.9–15.10].
enum class Intercepted : std::uint8_t {
    cpuid,
    rdmsr,
    wrmsr,
    hlt,
    vmmcall,
    rdtsc,
    rdtscp,
    rdpmc,
    invlpg,
    invd,
    wbinvd,  ///< and WBNOINVD
    xsetbv,
    read_cr,  ///< MOV r, CRn
    write_cr,
    read_dr,
    write_dr,
    clts,
    lmsw,
    smsw,
    pause,
    monitor,
    mwait,
    monitorx,
    mwaitx,
    rdpru,
    invlpga,
    invlpgb,
    tlbsync,
    invpcid,
    vmrun,
    vmload,
    vmsave,
    stgi,
    clgi,
    skinit,
    sgdt,
    sidt,
    lgdt,
    lidt,
    sldt,
    str,
    lldt,
    ltr,
    pushf,
    popf,
    iret,
    rsm,
    int_n,
    int3,
    into,
    icebp,
    in,
    out,
    ins,
    outs,
    end,  ///< not an instruction: their count
};

/// The usual encoding of an intercepted instruction, without prefixes.
struct UsualEncoding {
    std::uint32_t bytes;  ///< as loaded from memory
    std::uint32_t mask;   ///< of those that matter; 0: there is none whose length is fixed
    std::uint32_t length;
};

/// By Intercepted [APM3-3.35 §3, §4].
inline constexpr UsualEncoding usual_encodings[]{
    {0xa20f, 0xffff, 2},      // cpuid
    {0x320f, 0xffff, 2},      // rdmsr
    {0x300f, 0xffff, 2},      // wrmsr
    {0xf4, 0xff, 1},          // hlt
    {0xd9010f, 0xffffff, 3},  // vmmcall
    {0x310f, 0xffff, 2},      // rdtsc
    {0xf9010f, 0xffffff, 3},  // rdtscp
    {0x330f, 0xffff, 2},      // rdpmc
    {0, 0, 0},                // invlpg
    {0x080f, 0xffff, 2},      // invd
    {0x090f, 0xffff, 2},      // wbinvd
    {0xd1010f, 0xffffff, 3},  // xsetbv
    {0x200f, 0xffff, 3},      // read_cr
    {0x220f, 0xffff, 3},      // write_cr
    {0x210f, 0xffff, 3},      // read_dr
    {0x230f, 0xffff, 3},      // write_dr
    {0x060f, 0xffff, 2},      // clts
    {0xf0010f, 0xf8ffff, 3},  // lmsw
    {0xe0010f, 0xf8ffff, 3},  // smsw
    {0x90f3, 0xffff, 2},      // pause
    {0xc8010f, 0xffffff, 3},  // monitor
    {0xc9010f, 0xffffff, 3},  // mwait
    {0xfa010f, 0xffffff, 3},  // monitorx
    {0xfb010f, 0xffffff, 3},  // mwaitx
    {0xfd010f, 0xffffff, 3},  // rdpru
    {0xdf010f, 0xffffff, 3},  // invlpga
    {0xfe010f, 0xffffff, 3},  // invlpgb
    {0xff010f, 0xffffff, 3},  // tlbsync
    {0, 0, 0},                // invpcid
    {0xd8010f, 0xffffff, 3},  // vmrun
    {0xda010f, 0xffffff, 3},  // vmload
    {0xdb010f, 0xffffff, 3},  // vmsave
    {0xdc010f, 0xffffff, 3},  // stgi
    {0xdd010f, 0xffffff, 3},  // clgi
    {0xde010f, 0xffffff, 3},  // skinit
    {0, 0, 0},                // sgdt
    {0, 0, 0},                // sidt
    {0, 0, 0},                // lgdt
    {0, 0, 0},                // lidt
    {0, 0, 0},                // sldt
    {0, 0, 0},                // str
    {0, 0, 0},                // lldt
    {0, 0, 0},                // ltr
    {0x9c, 0xff, 1},          // pushf
    {0x9d, 0xff, 1},          // popf
    {0xcf, 0xff, 1},          // iret
    {0xaa0f, 0xffff, 2},      // rsm
    {0xcd, 0xff, 2},          // int_n
    {0xcc, 0xff, 1},          // int3
    {0, 0, 0},                // into
    {0xf1, 0xff, 1},          // icebp
    {0, 0, 0},                // in
    {0, 0, 0},                // out
    {0, 0, 0},                // ins
    {0, 0, 0},                // outs
};
static_assert(sizeof usual_encodings / sizeof usual_encodings[0] ==
              static_cast<std::size_t>(Intercepted::end));

/// The length of `which` where the bytes, four of them or more, are its usual encoding; else 0.
[[nodiscard]] inline std::uint8_t usual_length(Intercepted which, const std::byte* bytes)
{
    std::uint32_t word;
    __builtin_memcpy(&word, bytes, sizeof word);  // a load; freestanding std::memcpy would be a call
    const UsualEncoding& usual{usual_encodings[static_cast<std::size_t>(which)]};
    return usual.mask != 0 && (word & usual.mask) == usual.bytes ? static_cast<std::uint8_t>(usual.length)
                                                                 : std::uint8_t{0};
}

/// Decodes the instruction and checks that it is `which`.  Fails as decode() does, and with Error::conflict
/// when the bytes are another instruction: in all of these cases the caller lets the guest execute what is
/// there now.
[[nodiscard]] Expected<Instruction> decode_intercepted(Intercepted which, std::span<const std::byte> bytes,
                                                       Mode mode);

/// The length of `which`, whose bytes, prefixes included, start at `bytes[0]`.  The usual encodings cost a
/// load and a compare.  Fails as decode_intercepted() does.  An RDTSCP that the processor reports as RDTSC is
/// a conflict.
[[nodiscard]] inline Expected<unsigned> instruction_length(Intercepted which,
                                                           std::span<const std::byte> bytes, Mode mode)
{
    if (bytes.size() >= sizeof UsualEncoding::bytes) [[likely]]
        if (const std::uint8_t usual{usual_length(which, bytes.data())}; usual != 0) [[likely]]
            return unsigned{usual};
    const Expected<Instruction> instruction{decode_intercepted(which, bytes, mode)};
    if (!instruction)
        return instruction.error();
    return unsigned{instruction.value().length};
}

}  // namespace hv::core::emulate
