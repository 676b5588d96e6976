// SPDX-License-Identifier: MIT
#include "hv/arch/x86/svm/guest_intercepts.hpp"

#include "hv/arch/x86/svm/event.hpp"
#include "hv/arch/x86/svm/intercepts.hpp"
#include "hv/arch/x86/svm/state.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::svm {
namespace {

void put(std::uint32_t& bits, std::uint32_t mask, bool wanted)
{
    bits = wanted ? bits | mask : bits & ~mask;
}

/// Beyond what subscribers want: for bits of CR4 that were not offered, and a task priority that decides over a waiting interrupt.
std::uint32_t own_control_bits(const VcpuState& vcpu, const Features& features)
{
    std::uint32_t bits{0};
    put(bits, 1u << (number(ExitCode::CR0_WRITE) + 4), hides_control_4(vcpu, features));
    put(bits, 1u << number(ExitCode::CR8_WRITE), watches_task_priority(vcpu));
    return bits;
}

/// Bits 15..0 are reads, 31..16 writes [APM2-3.41 §B.1].
std::uint32_t control_bits(const core::Intercepts& wanted)
{
    return wanted.control_reads | std::uint32_t{wanted.control_writes} << 16;
}

}  // namespace

void intercept(VcpuState& vcpu, const core::Intercepts& wanted, HostPhysical usual, const Features& features)
{
    VmcbControlArea& control = vcpu.vmcb->control;
    vcpu.wanted = wanted;
    vcpu.watch.subscribed = wants_control_write(vcpu, 8);
    control.intercept_cr = control_bits(wanted) | own_control_bits(vcpu, features);
    control.intercept_dr = vcpu.debug_loaded ? wanted_debug_bits(vcpu) : all_debug_registers;
    control.intercept_exceptions = guest_exceptions | wanted.exceptions;
    put(control.intercept_instructions, intercept_bit(ExitCode::RDTSC), wanted.read_tsc);
    put(control.intercept_instructions, intercept_bit(ExitCode::INVLPG), wanted.invalidate_page);
    put(control.intercept_instructions, intercept_bit(ExitCode::PAUSE), wanted.pause || features.pause_filter);
    put(control.intercept_svm, intercept_bit(ExitCode::RDTSCP), wanted.read_tsc);
    control.pause_filter_count = features.pause_filter && !wanted.pause ? pauses_before_exit : 0;
    control.msrpm_base = wanted.msr_map != nullptr ? core::platform::to_physical(wanted.msr_map) : usual;
    dirty(vcpu, clean_intercepts | clean_permissions);
}

void set_msr_intercepts(MsrPermissionMap& map, std::span<const core::MsrIntercept> wanted)
{
    for (const x86::Msr passed : passed_guest_msrs) {
        const auto number = static_cast<std::uint32_t>(passed);
        bool reads{}, writes{passed == x86::Msr::TSC};
        for (const core::MsrIntercept& range : wanted) {
            const bool covers = number - range.first <= range.last - range.first;
            reads = reads || (covers && range.reads);
            writes = writes || (covers && range.writes);
        }
        map.set(number, reads, writes);
    }
}

}  // namespace hv::svm
