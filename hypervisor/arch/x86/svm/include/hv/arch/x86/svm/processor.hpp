// SPDX-License-Identifier: MIT
//
// What the back end does to the processor that it runs on, and nothing else does: a link-time seam.  The
// target's definitions are processor.cpp and run.S; the host tests link a model of the processor that keeps
// stale translations and believes clean bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hv/base/address.hpp"
#include "hv/core/hvm/backend.hpp"
#include "hv/core/vcpu/registers.hpp"
#include "hv/x86/cpuid.hpp"

extern "C" void hv_svm_run(hv::core::Registers* registers, std::uint64_t vmcb, std::uint64_t host_vmcb);

namespace hv::svm::processor {

/// CLGI and STGI: between the two not even an NMI comes.  hv_svm_run ends with the latter.
void hold_events();
void release_events();

/// CLGI, VMLOAD, VMRUN, VMSAVE of the guest, VMLOAD of the host, STGI [APM2-3.41 §15.5, §15.6, §15.17]. Loads
/// and stores the general registers but RAX and RSP, which are in the VMCB.  Physical interrupts end guest
/// mode; they are still pending afterwards, NMIs are taken.  Returns `context`.
inline core::VcpuContext& run_guest(core::VcpuContext& context, HostPhysical vmcb, HostPhysical host_vmcb)
{
#if __STDC_HOSTED__  // the tests' model of a processor
    hv_svm_run(&context.registers, vmcb.raw(), host_vmcb.raw());
    return context;
#else  // run.S keeps no register but RDI, RBP and RSP: whoever calls it saves what it needs, once
    static_assert(offsetof(core::VcpuContext, registers) == 0);
    auto* at = &context;
    auto control = vmcb.raw(), host = host_vmcb.raw();
    asm volatile("call hv_svm_run"
                 : "+D"(at), "+a"(control), "+d"(host)
                 :
                 : "rbx", "rcx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory");
    return *at;
#endif
}

[[nodiscard]] x86::CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf);
[[nodiscard]] std::uint64_t read_msr(std::uint32_t msr);
void write_msr(std::uint32_t msr, std::uint64_t value);

/// VMSAVE: what hv_svm_run brings back after each run.
void save_host_state(HostPhysical host_vmcb);

/// CR4.OSXSAVE and XCR0, on a processor that has XSAVE.
void enable_extended_state(std::uint64_t mask);
/// XSAVE or, with mask 0, FXSAVE; `area` is aligned to 64 bytes.  Leaves XCR0 at `mask`.
void save_extended_state(void* area, std::uint64_t mask);
/// The reverse; afterwards XCR0 is the guest's.
void load_extended_state(const void* area, std::uint64_t mask, std::uint64_t guest_control);
void write_extended_control(std::uint64_t value);
/// XCR0 as it is; only where the processor has XSAVE.
std::uint64_t read_extended_control();

void save_debug_addresses(std::uint64_t (&addresses)[4]);
void load_debug_addresses(const std::uint64_t (&addresses)[4]);

}  // namespace hv::svm::processor
