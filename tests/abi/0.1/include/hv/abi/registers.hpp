// SPDX-License-Identifier: MIT
//
// Guest registers as a module sees them: always a copy in the module's own memory, taken before the hook and,
// where the hook may change it, checked and written back after a good verdict.
#pragma once

#include "hv/abi/header.hpp"

namespace hv::abi {

/// Index into `general`: the encoding order of the instruction set [APM3-3.35 §1.4].
enum class GeneralRegister : std::uint32_t {
    rax = 0,
    rcx = 1,
    rdx = 2,
    rbx = 3,
    rsp = 4,
    rbp = 5,
    rsi = 6,
    rdi = 7,
    r8 = 8,
    r9 = 9,
    r10 = 10,
    r11 = 11,
    r12 = 12,
    r13 = 13,
    r14 = 14,
    r15 = 15,
};

/// How wide the code that made the call was: CS.D, CS.L and EFER.LMA taken together.
enum class GuestMode : std::uint32_t {
    real = 0,  ///< CR0.PE clear, or virtual-8086
    protected_16 = 1,
    protected_32 = 2,  ///< also compatibility mode
    long_64 = 3,
};

/// A hypercall: registers at the instruction.  In a mode other than long_64 the upper halves are zero, and
/// what the module writes into them is dropped.  Of the members only `general` and `continuation` are read
/// back, and `rip` where the verdict says verdict_keep_rip; RSP and RFLAGS are not.
struct HypercallFrame {
    std::uint64_t general[16];
    std::uint64_t rip;  ///< of the hypercall instruction
    std::uint64_t rflags;
    std::uint32_t cpl;
    GuestMode mode;
    std::uint32_t window;  ///< the module's number of the window whose rule matched
    std::uint32_t instruction_length;
    std::uint64_t continuation[8];  ///< the module's own words: kept by the core over an `again`, zero at the
                                    ///< first call
};
HV_FROZEN(HypercallFrame, general, 0);
HV_FROZEN(HypercallFrame, rip, 128);
HV_FROZEN(HypercallFrame, rflags, 136);
HV_FROZEN(HypercallFrame, cpl, 144);
HV_FROZEN(HypercallFrame, mode, 148);
HV_FROZEN(HypercallFrame, window, 152);
HV_FROZEN(HypercallFrame, instruction_length, 156);
HV_FROZEN(HypercallFrame, continuation, 160);
HV_FROZEN_SIZE(HypercallFrame, 224);

/// A segment register with its hidden part.  `attributes` has the descriptor's bits 47..40 in 7..0 and 55..52
/// in 11..8, as the VMCB does [APM2-3.41 §15.5.1].
struct SegmentRegister {
    std::uint16_t selector;
    std::uint16_t attributes;
    std::uint32_t limit;
    std::uint64_t base;
};
HV_FROZEN(SegmentRegister, selector, 0);
HV_FROZEN(SegmentRegister, attributes, 2);
HV_FROZEN(SegmentRegister, limit, 4);
HV_FROZEN(SegmentRegister, base, 8);
HV_FROZEN_SIZE(SegmentRegister, 16);

/// Everything that registers_read gives and registers_write takes, by groups.
struct GuestRegisters {
    std::uint64_t general[16];  // group general
    std::uint64_t rip;          // group control flow
    std::uint64_t rflags;
    std::uint64_t cr0, cr2, cr3, cr4, cr8;  // group control
    std::uint64_t efer;
    SegmentRegister es, cs, ss, ds, fs, gs, ldtr, tr, gdtr, idtr;  // group segments
    std::uint64_t dr6, dr7;                                        // group debug
    std::uint64_t kernel_gs_base, star, lstar, cstar, sfmask;      // group system call
    std::uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    std::uint64_t pat;
    std::uint64_t reserved[3];
};
HV_FROZEN(GuestRegisters, rip, 128);
HV_FROZEN(GuestRegisters, cr0, 144);
HV_FROZEN(GuestRegisters, efer, 184);
HV_FROZEN(GuestRegisters, es, 192);
HV_FROZEN(GuestRegisters, idtr, 336);
HV_FROZEN(GuestRegisters, dr6, 352);
HV_FROZEN(GuestRegisters, kernel_gs_base, 368);
HV_FROZEN(GuestRegisters, sysenter_cs, 408);
HV_FROZEN(GuestRegisters, pat, 432);
HV_FROZEN(GuestRegisters, reserved, 440);
HV_FROZEN_SIZE(GuestRegisters, 464);

/// Groups for registers_read and registers_write, ORed.
inline constexpr std::uint32_t registers_general{1};
inline constexpr std::uint32_t registers_control_flow{2};
inline constexpr std::uint32_t registers_control{4};
inline constexpr std::uint32_t registers_segments{8};
inline constexpr std::uint32_t registers_debug{16};
inline constexpr std::uint32_t registers_system_call{32};
inline constexpr std::uint32_t registers_all{63};

/// The answer of a CPUID hook.
struct CpuidResult {
    std::uint32_t eax{}, ebx{}, ecx{}, edx{};
    friend constexpr bool operator==(const CpuidResult&, const CpuidResult&) = default;
};
HV_FROZEN_SIZE(CpuidResult, 16);

}  // namespace hv::abi
