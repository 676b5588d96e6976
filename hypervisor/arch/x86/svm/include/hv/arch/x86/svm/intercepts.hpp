// SPDX-License-Identifier: MIT
//
// Which instructions and events leave guest mode, for the two kinds of VCPU.  Specification: [APM2-3.41
// §15.9, appendix B].
#pragma once

#include <cstdint>
#include <initializer_list>

#include "hv/arch/x86/svm/exit_code.hpp"
#include "hv/arch/x86/svm/features.hpp"
#include "hv/core/hvm/backend.hpp"
#include "hv/x86/exceptions.hpp"

namespace hv::svm {

/// The intercept vectors of a VMCB, in its order.
struct Intercepts {
    std::uint32_t cr, dr, exceptions, instructions, svm, more;
};

constexpr std::uint32_t intercept_bits(std::initializer_list<ExitCode> codes)
{
    std::uint32_t bits{0};
    for (const ExitCode code : codes)
        bits |= intercept_bit(code);
    return bits;
}

/// Instructions that belong to the hypervisor: every VCPU runs with EFER.SVME set, so each must exit to
/// become #UD.
inline constexpr std::uint32_t svm_instructions{
    intercept_bits({ExitCode::VMRUN, ExitCode::VMMCALL, ExitCode::VMLOAD, ExitCode::VMSAVE, ExitCode::STGI,
                    ExitCode::CLGI, ExitCode::SKINIT})};

/// All accesses to debug registers; taken away while the guest's are in the processor.
inline constexpr std::uint32_t all_debug_registers{0xffff'ffff};

/// #DB and #AC can raise themselves for ever during their own delivery; each round must pass through here.
inline constexpr std::uint32_t guest_exceptions{1u << static_cast<unsigned>(x86::Exception::DB) |
                                                1u << static_cast<unsigned>(x86::Exception::AC) |
                                                1u << static_cast<unsigned>(x86::Exception::MC)};

/// Where the processor counts a guest's PAUSEs.
inline constexpr std::uint16_t pauses_before_exit{3000};

constexpr Intercepts intercepts_for(core::VcpuKind kind, bool pause_filter)
{
    if (kind == core::VcpuKind::control)
        return {.cr = 0,
                .dr = 0,
                .exceptions = 0,
                .instructions =
                    intercept_bits({ExitCode::NMI, ExitCode::INIT, ExitCode::CPUID, ExitCode::INVLPGA,
                                    ExitCode::IOIO, ExitCode::MSR, ExitCode::SHUTDOWN}),
                .svm = svm_instructions,
                .more = 0};
    return {.cr = 0,
            .dr = all_debug_registers,
            .exceptions = guest_exceptions,
            .instructions =
                intercept_bits({ExitCode::INTR, ExitCode::NMI, ExitCode::INIT, ExitCode::RDPMC,
                                ExitCode::CPUID, ExitCode::RSM, ExitCode::INVD, ExitCode::HLT,
                                ExitCode::INVLPGA, ExitCode::IOIO, ExitCode::MSR, ExitCode::SHUTDOWN}) |
                (pause_filter ? intercept_bit(ExitCode::PAUSE) : 0),
            .svm = svm_instructions | intercept_bits({ExitCode::WBINVD, ExitCode::MONITOR, ExitCode::MWAIT,
                                                      ExitCode::XSETBV, ExitCode::RDPRU}),
            .more = 0};
}

}  // namespace hv::svm
