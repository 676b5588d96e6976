// SPDX-License-Identifier: MIT
//
// Where the ModRM byte decides whether there is an instruction: opcode groups, x87, and opcodes that take
// memory alone or registers alone [APM3-3.35 §A.1.1, §A.1.3] [SDM2-083 §A.4, §A.5].  An opcode that has no
// row here takes any ModRM byte.  Also: which instructions may have a LOCK prefix.  Private to the decoder.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>

#include "hv/core/emulate/decode.hpp"

namespace hv::core::emulate {

/// A legal set of ModRM bytes.  An opcode's rows are alternatives.
struct ModrmRule {
    OpcodeMap map;
    std::uint8_t opcode;
    std::uint8_t prefixes;    ///< mandatory prefixes that the row is for: 1 none, 2 66, 4 F3, 8 F2
    std::uint8_t memory;      ///< mod 0–2: bit n allows reg n
    std::uint64_t registers;  ///< mod 3: bit 8·reg + rm
    std::uint8_t modes{3};    ///< 1: 16 and 32 bits, 2: 64 bits
};

/// All of the register forms whose reg is in the set.
consteval std::uint64_t rows(std::uint8_t regs)
{
    std::uint64_t result{};
    for (unsigned reg = 0; reg < 8; ++reg)
        if ((regs >> reg & 1) != 0)
            result |= 0xffull << (8 * reg);
    return result;
}

/// One register form, by its ModRM byte (C0–FF).
consteval std::uint64_t at(std::uint8_t modrm)
{
    return 1ull << (modrm & 0x3f);
}

namespace rules {
inline constexpr std::uint64_t none{0};
inline constexpr std::uint64_t all{~0ull};
inline constexpr std::uint8_t long_mode{2};
using enum OpcodeMap;

// clang-format off
inline constexpr ModrmRule table[]{
    // map        opcode pfx  memory      registers
    {primary,     0x62, 0xf, 0xff,        none},  // BOUND
    {primary,     0x8c, 0xf, 0b0011'1111, rows(0b0011'1111)},  // MOV from Sreg
    {primary,     0x8d, 0xf, 0xff,        none},  // LEA
    {primary,     0x8e, 0xf, 0b0011'1101, rows(0b0011'1101)},  // MOV to Sreg
    {primary,     0x8f, 0xf, 0b0000'0001, rows(1)},  // group 1A: POP
    {primary,     0xc4, 0xf, 0xff,        none},  // LES
    {primary,     0xc5, 0xf, 0xff,        none},  // LDS
    {primary,     0xc6, 0xf, 0b0000'0001, rows(1) | at(0xf8)},  // group 11: MOV, XABORT
    {primary,     0xc7, 0xf, 0b0000'0001, rows(1) | at(0xf8)},  //           MOV, XBEGIN
    {primary,     0xd9, 0xf, 0b1111'1101, rows(0b0000'0011) | at(0xd0) | rows(1 << 3) | at(0xe0) | at(0xe1)
                                              | at(0xe4) | at(0xe5) | (rows(1 << 5) & ~at(0xef))
                                              | rows(0b1100'0000)},
    {primary,     0xda, 0xf, 0xff,        rows(0b0000'1111) | at(0xe9)},
    {primary,     0xdb, 0xf, 0b1010'1111, rows(0b0110'1111) | at(0xe0) | at(0xe1) | at(0xe2) | at(0xe3) | at(0xe4)},
    {primary,     0xdd, 0xf, 0b1101'1111, rows(0b0011'1111)},
    {primary,     0xde, 0xf, 0xff,        rows(0b1111'0111) | at(0xd9)},
    {primary,     0xdf, 0xf, 0xff,        rows(0b0110'1111) | at(0xe0)},
    {primary,     0xfe, 0xf, 0b0000'0011, rows(0b0000'0011)},  // group 4
    {primary,     0xff, 0xf, 0b0111'1111, rows(0b0101'0111)},  // group 5

    {legacy_0f,   0x00, 0xf, 0b0011'1111, rows(0b0011'1111)},  // group 6
    {legacy_0f,   0x01, 0xf, 0b1101'1111, rows(0b0101'0000)},  // group 7: SGDT … INVLPG
    {legacy_0f,   0x01, 0x4, 0b0010'0000, at(0xe8) | at(0xea)},  // RSTORSSP, SETSSBSY, SAVEPREVSSP
    {legacy_0f,   0x01, 0x1, 0,           at(0xc0) | at(0xc1) | at(0xc2) | at(0xc3) | at(0xc4) | at(0xc5)  // VMX …
                                              | at(0xc8) | at(0xc9) | at(0xca) | at(0xcb) | at(0xcf)  // MONITOR …
                                              | at(0xd0) | at(0xd1) | at(0xd4) | at(0xd5) | at(0xd6) | at(0xd7)
                                              | at(0xe8) | at(0xee) | at(0xef)},  // SERIALIZE, RDPKRU, WRPKRU
    {legacy_0f,   0x01, 0x2, 0,           at(0xcc)},  // TDCALL
    {legacy_0f,   0x01, 0x2, 0,           at(0xcd) | at(0xce) | at(0xcf), long_mode},  // SEAMRET, SEAMOPS, SEAMCALL
    {legacy_0f,   0x01, 0x8, 0,           at(0xe8) | at(0xe9)},  // XSUSLDTRK, XRESLDTRK
    {legacy_0f,   0x01, 0x4, 0,           at(0xec) | at(0xed) | at(0xee) | at(0xef), long_mode},  // user interrupts
    {legacy_0f,   0x01, 0xf, 0,           rows(1 << 3)},  // SVM
    {legacy_0f,   0x01, 0xf, 0,           at(0xf8), long_mode},  // SWAPGS
    {legacy_0f,   0x01, 0xf, 0,           at(0xf9)},  // RDTSCP
    {legacy_0f,   0x01, 0x5, 0,           at(0xfa)},  // MONITORX, MCOMMIT
    {legacy_0f,   0x01, 0x1, 0,           at(0xfb) | at(0xfe) | at(0xff)},  // MWAITX, INVLPGB, TLBSYNC
    {legacy_0f,   0x01, 0xf, 0,           at(0xfc) | at(0xfd)},  // CLZERO, RDPRU
    {legacy_0f,   0x01, 0xc, 0,           at(0xfe) | at(0xff), long_mode},  // RMPADJUST …, PSMASH
    {legacy_0f,   0x01, 0x8, 0,           at(0xff)},  // PVALIDATE
    {legacy_0f,   0x12, 0xd, 0xff,        all},
    {legacy_0f,   0x12, 0x2, 0xff,        none},  // MOVLPD
    {legacy_0f,   0x13, 0x3, 0xff,        none},
    {legacy_0f,   0x16, 0x5, 0xff,        all},
    {legacy_0f,   0x16, 0x2, 0xff,        none},  // MOVHPD
    {legacy_0f,   0x17, 0x3, 0xff,        none},
    {legacy_0f,   0x2b, 0xf, 0xff,        none},  // MOVNTPS …
    {legacy_0f,   0x50, 0x3, 0,           all},  // MOVMSKPS
    {legacy_0f,   0x71, 0x3, 0,           rows(0b0101'0100)},  // group 12
    {legacy_0f,   0x72, 0x3, 0,           rows(0b0101'0100)},  // group 13
    {legacy_0f,   0x73, 0x1, 0,           rows(0b0100'0100)},  // group 14
    {legacy_0f,   0x73, 0x2, 0,           rows(0b1100'1100)},
    {legacy_0f,   0x78, 0x1, 0xff,        all},  // VMREAD
    {legacy_0f,   0x78, 0x2, 0,           rows(1)},  // EXTRQ
    {legacy_0f,   0x78, 0x8, 0,           all},  // INSERTQ
    {legacy_0f,   0x79, 0x1, 0xff,        all},  // VMWRITE
    {legacy_0f,   0x79, 0xa, 0,           all},
    {legacy_0f,   0xae, 0x1, 0xff,        rows(0b1110'0000)},  // group 15: FXSAVE … SFENCE
    {legacy_0f,   0xae, 0x2, 0b1100'0000, rows(1 << 6)},  // CLWB, CLFLUSHOPT, TPAUSE
    {legacy_0f,   0xae, 0x4, 0b0101'0000, rows(0b0111'0000)},  // PTWRITE, CLRSSBSY, INCSSP …
    {legacy_0f,   0xae, 0x4, 0,           rows(0b0000'1111), long_mode},  // RDFSBASE …
    {legacy_0f,   0xae, 0x8, 0,           rows(1 << 6)},  // UMWAIT
    {legacy_0f,   0xb2, 0xf, 0xff,        none},  // LSS
    {legacy_0f,   0xb4, 0xf, 0xff,        none},  // LFS
    {legacy_0f,   0xb5, 0xf, 0xff,        none},  // LGS
    {legacy_0f,   0xba, 0xf, 0b1111'0000, rows(0b1111'0000)},  // group 8
    {legacy_0f,   0xc3, 0x1, 0xff,        none},  // MOVNTI
    {legacy_0f,   0xc5, 0x3, 0,           all},  // PEXTRW
    {legacy_0f,   0xc7, 0xf, 0b0000'0010, none},  // group 9: CMPXCHG8B
    {legacy_0f,   0xc7, 0x1, 0b1111'1000, rows(0b1100'0000)},  // XRSTORS … VMPTRST, RDRAND
    {legacy_0f,   0xc7, 0x2, 0b0100'0000, rows(0b1100'0000)},  // VMCLEAR
    {legacy_0f,   0xc7, 0x4, 0b0100'0000, rows(1 << 7)},  // VMXON, RDPID
    {legacy_0f,   0xc7, 0x4, 0,           rows(1 << 6), long_mode},  // SENDUIPI
    {legacy_0f,   0xd6, 0x2, 0xff,        all},
    {legacy_0f,   0xd6, 0xc, 0,           all},  // MOVQ2DQ, MOVDQ2Q
    {legacy_0f,   0xd7, 0x3, 0,           all},  // PMOVMSKB
    {legacy_0f,   0xe7, 0x3, 0xff,        none},  // MOVNTQ, MOVNTDQ
    {legacy_0f,   0xf0, 0x8, 0xff,        none},  // LDDQU
    {legacy_0f,   0xf7, 0x3, 0,           all},  // MASKMOVQ

    {legacy_0f38, 0x2a, 0x2, 0xff,        none},  // MOVNTDQA
    {legacy_0f38, 0x80, 0x2, 0xff,        none},  // INVEPT
    {legacy_0f38, 0x81, 0x2, 0xff,        none},  // INVVPID
    {legacy_0f38, 0x82, 0x2, 0xff,        none},  // INVPCID
    {legacy_0f38, 0xd8, 0x4, 0b0000'1111, none},  // AESENCWIDE128KL …
    {legacy_0f38, 0xdc, 0x2, 0xff,        all},
    {legacy_0f38, 0xdc, 0x4, 0xff,        all},  // AESENC128KL, LOADIWKEY
    {legacy_0f38, 0xdd, 0x2, 0xff,        all},
    {legacy_0f38, 0xdd, 0x4, 0xff,        none},
    {legacy_0f38, 0xde, 0x2, 0xff,        all},
    {legacy_0f38, 0xde, 0x4, 0xff,        none},
    {legacy_0f38, 0xdf, 0x2, 0xff,        all},
    {legacy_0f38, 0xdf, 0x4, 0xff,        none},
    {legacy_0f38, 0xf0, 0x3, 0xff,        none},  // MOVBE
    {legacy_0f38, 0xf0, 0x8, 0xff,        all},  // CRC32
    {legacy_0f38, 0xf1, 0x3, 0xff,        none},
    {legacy_0f38, 0xf1, 0x8, 0xff,        all},
    {legacy_0f38, 0xf5, 0x2, 0xff,        none},  // WRUSS
    {legacy_0f38, 0xf6, 0x1, 0xff,        none},  // WRSS
    {legacy_0f38, 0xf6, 0x6, 0xff,        all},  // ADCX, ADOX
    {legacy_0f38, 0xf8, 0xe, 0xff,        none},  // MOVDIR64B, ENQCMD
    {legacy_0f38, 0xf9, 0x1, 0xff,        none},  // MOVDIRI
    {legacy_0f38, 0xfa, 0x4, 0,           all},  // ENCODEKEY128
    {legacy_0f38, 0xfb, 0x4, 0,           all},
    {legacy_0f3a, 0xf0, 0x4, 0,           at(0xc0)},  // HRESET

    {vex_0f,      0x13, 0x3, 0xff,        none},
    {vex_0f,      0x17, 0x3, 0xff,        none},
    {vex_0f,      0x2b, 0x3, 0xff,        none},
    {vex_0f,      0x71, 0x2, 0,           rows(0b0101'0100)},
    {vex_0f,      0x72, 0x2, 0,           rows(0b0101'0100)},
    {vex_0f,      0x73, 0x2, 0,           rows(0b1100'1100)},
    {vex_0f,      0xae, 0x1, 0b0000'1100, none},
    {vex_0f,      0xe7, 0x2, 0xff,        none},
    {vex_0f,      0xf0, 0x8, 0xff,        none},
    {vex_0f38,    0xf3, 0x1, 0b0000'1110, rows(0b0000'1110)},  // group 17: BLSR, BLSMSK, BLSI
    {xop_9,       0x01, 0x1, 0b1111'1110, rows(0b1111'1110)},  // TBM
    {xop_9,       0x02, 0x1, 0b0100'0010, rows(0b0100'0010)},
    {xop_9,       0x12, 0x1, 0,           rows(0b0000'0011)},  // LWP
    {xop_a,       0x12, 0x1, 0b0000'0011, rows(0b0000'0011)},
};
// clang-format on
static_assert(std::size(table) < 255);
static_assert(std::is_sorted(std::begin(table), std::end(table), [](const ModrmRule& a, const ModrmRule& b) {
    return a.map != b.map ? a.map < b.map : a.opcode < b.opcode;
}));

/// Where the rows of an opcode start, plus one; 0 for an opcode without rows.
inline constexpr auto first_row{[] {
    std::array<std::array<std::uint8_t, 256>, 10> first{};
    for (unsigned i = std::size(table); i-- > 0;)
        first[static_cast<unsigned>(table[i].map)][table[i].opcode] = static_cast<std::uint8_t>(i + 1);
    return first;
}()};
}  // namespace rules

/// Whether there is an instruction with this ModRM byte.  `prefix_bit` is 1, 2, 4 or 8, `long_mode`
/// Mode::bits64.
constexpr bool modrm_is_legal(const Instruction& instruction, unsigned prefix_bit)
{
    const auto map = static_cast<unsigned>(instruction.map);
    if (map >= rules::first_row.size())
        return true;  // EVEX: the place in the map decides
    const unsigned first{rules::first_row[map][instruction.opcode]};
    if (first == 0) [[likely]]
        return true;
    const unsigned mode_bit{instruction.mode == Mode::bits64 ? 2u : 1u};
    for (const ModrmRule* rule = &rules::table[first - 1];
         rule != std::end(rules::table) && rule->map == instruction.map && rule->opcode == instruction.opcode;
         ++rule) {
        if ((rule->prefixes & prefix_bit) == 0 || (rule->modes & mode_bit) == 0)
            continue;
        if (instruction.mod() == 3 ? (rule->registers >> (instruction.modrm & 0x3f) & 1) != 0
                                   : (rule->memory >> instruction.reg() & 1) != 0)
            return true;
    }
    return false;
}

/// Opcodes that may be locked when their destination is memory, by ModRM.reg [APM3-3.35 §1.2.5].
struct LockRule {
    OpcodeMap map;
    std::uint8_t first;
    std::uint8_t last;
    std::uint8_t regs;
};
inline constexpr LockRule lock_rules[]{
    {OpcodeMap::primary, 0x00, 0x01, 0xff},          {OpcodeMap::primary, 0x08, 0x09, 0xff},
    {OpcodeMap::primary, 0x10, 0x11, 0xff},          {OpcodeMap::primary, 0x18, 0x19, 0xff},
    {OpcodeMap::primary, 0x20, 0x21, 0xff},          {OpcodeMap::primary, 0x28, 0x29, 0xff},
    {OpcodeMap::primary, 0x30, 0x31, 0xff},          {OpcodeMap::primary, 0x80, 0x83, 0b0111'1111},
    {OpcodeMap::primary, 0x86, 0x87, 0xff},          {OpcodeMap::primary, 0xf6, 0xf7, 0b0000'1100},
    {OpcodeMap::primary, 0xfe, 0xff, 0b0000'0011},   {OpcodeMap::legacy_0f, 0xab, 0xab, 0xff},
    {OpcodeMap::legacy_0f, 0xb0, 0xb1, 0xff},        {OpcodeMap::legacy_0f, 0xb3, 0xb3, 0xff},
    {OpcodeMap::legacy_0f, 0xba, 0xba, 0b1110'0000}, {OpcodeMap::legacy_0f, 0xbb, 0xbb, 0xff},
    {OpcodeMap::legacy_0f, 0xc0, 0xc1, 0xff},        {OpcodeMap::legacy_0f, 0xc7, 0xc7, 0b0000'0010},
};

/// Whether the instruction may have the LOCK prefix that it has.
constexpr bool may_be_locked(const Instruction& instruction)
{
    if (!instruction.has_modrm || instruction.mod() == 3)
        return false;
    for (const LockRule& rule : lock_rules)
        if (rule.map == instruction.map && instruction.opcode >= rule.first &&
            instruction.opcode <= rule.last)
            return (rule.regs >> instruction.reg() & 1) != 0;
    return false;
}

}  // namespace hv::core::emulate
