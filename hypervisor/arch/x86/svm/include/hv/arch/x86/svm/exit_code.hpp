// SPDX-License-Identifier: MIT
//
// Exit codes of #VMEXIT.  The intercept bit of a code below c0h is bit (code mod 32) of the vector for its
// row of 32 (intercepts.hpp builds on that).  Specification: [APM2-3.41 appendix C].
#pragma once

#include <cstdint>

namespace hv::svm {

/// Codes that come in runs name the first; the register or vector is added.
enum class ExitCode : std::uint64_t {
    CR0_READ = 0x00,
    CR0_WRITE = 0x10,
    CR8_WRITE = 0x18,
    DR0_READ = 0x20,
    DR0_WRITE = 0x30,
    DR15_WRITE = 0x3f,
    EXCEPTION_FIRST = 0x40,
    EXCEPTION_LAST = 0x5f,
    INTR = 0x60,
    NMI = 0x61,
    SMI = 0x62,
    INIT = 0x63,
    VINTR = 0x64,
    CR0_SEL_WRITE = 0x65,
    RDTSC = 0x6e,
    RDPMC = 0x6f,
    CPUID = 0x72,
    RSM = 0x73,
    IRET = 0x74,
    INVD = 0x76,
    PAUSE = 0x77,
    HLT = 0x78,
    INVLPG = 0x79,
    INVLPGA = 0x7a,
    IOIO = 0x7b,
    MSR = 0x7c,
    TASK_SWITCH = 0x7d,
    FERR_FREEZE = 0x7e,
    SHUTDOWN = 0x7f,
    VMRUN = 0x80,
    VMMCALL = 0x81,
    VMLOAD = 0x82,
    VMSAVE = 0x83,
    STGI = 0x84,
    CLGI = 0x85,
    SKINIT = 0x86,
    RDTSCP = 0x87,
    ICEBP = 0x88,
    WBINVD = 0x89,
    MONITOR = 0x8a,
    MWAIT = 0x8b,
    MWAIT_CONDITIONAL = 0x8c,
    XSETBV = 0x8d,
    RDPRU = 0x8e,
    INVLPGB = 0xa0,
    INVLPGB_ILLEGAL = 0xa1,
    INVPCID = 0xa2,
    MCOMMIT = 0xa3,
    TLBSYNC = 0xa4,
    NPF = 0x400,
    INVALID = ~0ull,
};

constexpr std::uint64_t number(ExitCode code)
{
    return static_cast<std::uint64_t>(code);
}
/// The bit of `code` in its row of the intercept vectors.
constexpr std::uint32_t intercept_bit(ExitCode code)
{
    return 1u << (number(code) % 32);
}

}  // namespace hv::svm
