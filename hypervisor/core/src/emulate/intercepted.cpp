// SPDX-License-Identifier: MIT
//
// Which decoded instruction is which intercepted one: a table of their opcodes [APM3-3.35 §3, §4, §A.1].
#include "hv/core/emulate/intercepted.hpp"

namespace hv::core::emulate {

namespace {

enum class Operand : std::uint8_t {
    any,
    memory,
    registers,
};

/// An encoding of an intercepted instruction: the opcode, and ModRM where it says which instruction this is.
struct Encoding {
    Intercepted which;
    OpcodeMap map;
    std::uint8_t opcode;
    std::uint8_t opcode_mask{0xff};
    std::uint8_t modrm{};
    std::uint8_t modrm_mask{};
    Operand operand{Operand::any};
};

using enum OpcodeMap;
using I = Intercepted;

/// Group 7 with register operands: ModRM is the third opcode byte.
constexpr Encoding group7(Intercepted which, std::uint8_t modrm)
{
    return {which, legacy_0f, 0x01, 0xff, modrm, 0xff, Operand::registers};
}

/// Groups 6 and 7: ModRM.reg names the instruction.
constexpr Encoding by_reg(Intercepted which, std::uint8_t opcode, unsigned reg, Operand operand)
{
    return {which, legacy_0f, opcode, 0xff, static_cast<std::uint8_t>(reg << 3), 0x38, operand};
}

constexpr Encoding encodings[]{
    {I::cpuid, legacy_0f, 0xa2},
    {I::rdmsr, legacy_0f, 0x32},
    {I::wrmsr, legacy_0f, 0x30},
    {I::hlt, primary, 0xf4},
    group7(I::vmmcall, 0xd9),
    {I::rdtsc, legacy_0f, 0x31},
    group7(I::rdtscp, 0xf9),
    {I::rdpmc, legacy_0f, 0x33},
    by_reg(I::invlpg, 0x01, 7, Operand::memory),
    {I::invd, legacy_0f, 0x08},
    {I::wbinvd, legacy_0f, 0x09},
    group7(I::xsetbv, 0xd1),
    {I::read_cr, legacy_0f, 0x20},
    {I::write_cr, legacy_0f, 0x22},
    {I::read_dr, legacy_0f, 0x21},
    {I::write_dr, legacy_0f, 0x23},
    {I::clts, legacy_0f, 0x06},
    by_reg(I::lmsw, 0x01, 6, Operand::any),
    by_reg(I::smsw, 0x01, 4, Operand::any),
    {I::pause, primary, 0x90},
    group7(I::monitor, 0xc8),
    group7(I::mwait, 0xc9),
    group7(I::monitorx, 0xfa),
    group7(I::mwaitx, 0xfb),
    group7(I::rdpru, 0xfd),
    group7(I::invlpga, 0xdf),
    group7(I::invlpgb, 0xfe),
    group7(I::tlbsync, 0xff),
    {I::invpcid, legacy_0f38, 0x82},
    group7(I::vmrun, 0xd8),
    group7(I::vmload, 0xda),
    group7(I::vmsave, 0xdb),
    group7(I::stgi, 0xdc),
    group7(I::clgi, 0xdd),
    group7(I::skinit, 0xde),
    by_reg(I::sgdt, 0x01, 0, Operand::memory),
    by_reg(I::sidt, 0x01, 1, Operand::memory),
    by_reg(I::lgdt, 0x01, 2, Operand::memory),
    by_reg(I::lidt, 0x01, 3, Operand::memory),
    by_reg(I::sldt, 0x00, 0, Operand::any),
    by_reg(I::str, 0x00, 1, Operand::any),
    by_reg(I::lldt, 0x00, 2, Operand::any),
    by_reg(I::ltr, 0x00, 3, Operand::any),
    {I::pushf, primary, 0x9c},
    {I::popf, primary, 0x9d},
    {I::iret, primary, 0xcf},
    {I::rsm, legacy_0f, 0xaa},
    {I::int_n, primary, 0xcd},
    {I::int3, primary, 0xcc},
    {I::into, primary, 0xce},
    {I::icebp, primary, 0xf1},
    {I::in, primary, 0xe4, 0xf6},   // E4, E5, EC, ED
    {I::out, primary, 0xe6, 0xf6},  // E6, E7, EE, EF
    {I::ins, primary, 0x6c, 0xfe},
    {I::outs, primary, 0x6e, 0xfe},
};

constexpr bool is_indexed_by_intercepted()
{
    for (std::size_t i = 0; i < std::size(encodings); ++i)
        if (static_cast<std::size_t>(encodings[i].which) != i)
            return false;
    return std::size(encodings) == static_cast<std::size_t>(Intercepted::end);
}
static_assert(is_indexed_by_intercepted());

constexpr bool matches(const Encoding& encoding, const Instruction& instruction)
{
    if (instruction.map != encoding.map || (instruction.opcode & encoding.opcode_mask) != encoding.opcode ||
        (instruction.modrm & encoding.modrm_mask) != encoding.modrm)
        return false;
    const bool has_registers{instruction.mod() == 3};
    return encoding.operand == Operand::any || (encoding.operand == Operand::registers) == has_registers;
}

/// Prefixes make other instructions of a few: PAUSE is F3 90, but with REX.B it is XCHG [APM3-3.35 "PAUSE"];
/// in group 7 F3 and F2 select the SNP, MCOMMIT and VMGEXIT instructions.
constexpr bool prefixes_fit(Intercepted which, const Instruction& instruction)
{
    constexpr std::uint8_t repeats{prefix::rep | prefix::repne};
    switch (which) {
    case Intercepted::pause:
        return (instruction.prefixes & prefix::rep) != 0 && (instruction.rex & rex::b) == 0;
    case Intercepted::monitorx:
    case Intercepted::invlpgb:
    case Intercepted::tlbsync: return (instruction.prefixes & repeats) == 0;
    default: return true;
    }
}

}  // namespace

Expected<Instruction> decode_intercepted(Intercepted which, std::span<const std::byte> bytes, Mode mode)
{
    if (which >= Intercepted::end)
        return Error::invalid_argument;
    const Expected<Instruction> instruction{decode(bytes, mode)};
    if (!instruction)
        return instruction.error();
    if (!matches(encodings[static_cast<std::size_t>(which)], instruction.value()) ||
        !prefixes_fit(which, instruction.value()))
        return Error::conflict;
    return instruction;
}

}  // namespace hv::core::emulate
