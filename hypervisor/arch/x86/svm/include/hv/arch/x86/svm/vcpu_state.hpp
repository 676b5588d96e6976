// SPDX-License-Identifier: MIT
//
// The back end's own state of a VCPU and of a processor, and the rules that go with every change of a VMCB:
// which clean bit it dirties, when a guest gets a new address space.  Pure.  Specification: [APM2-3.41
// §15.15, §15.16].
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "hv/arch/x86/svm/vmcb.hpp"
#include "hv/base/address.hpp"
#include "hv/core/hvm/backend.hpp"

namespace hv::svm {

/// One physical processor.  Address-space numbers (ASIDs) are handed out upwards and never again within a
/// generation; a new generation begins with a flush of the whole TLB, and every VCPU then needs a new number.
struct ProcessorState {
    HostPhysical host_vmcb{};  ///< the host's FS, GS, TR, LDTR, SYSCALL and SYSENTER registers
    std::uint64_t generation{1};
    std::uint32_t next_address_space{};  ///< at the limit: the first VCPU begins a new generation
    bool enabled{};
};

/// Why the guest's writes of CR8 must exit; two bytes that are looked at as one.
struct alignas(2) TaskPriorityWatch {
    std::uint8_t window_class;  ///< of the interrupt that an interrupt window is wanted for, else 0
    bool subscribed;

    [[nodiscard]] bool any() const { return std::bit_cast<std::uint16_t>(*this) != 0; }
};

/// One VCPU; lies at the beginning of a block of frames, the extended-state area behind it.
struct VcpuState {
    Vmcb* vmcb;
    HostPhysical vmcb_address;
    ProcessorState* processor;  ///< that it is loaded on, else null
    HostPhysical host_vmcb;     ///< that processor's
    bool attention;             ///< prepare_entry() has something to do
    bool flush_wanted;
    TaskPriorityWatch watch;
    bool nmi_masked;            ///< an NMI was injected and its IRET not seen
    bool nmi_return_pending;    ///< that IRET, at nmi_return_rip, was seen but has not been carried out yet
    bool debug_loaded;          ///< DR0–DR3 are in the processor, accesses pass
    std::uint64_t generation;   ///< of the address space
    const ProcessorState* last_processor;  ///< that it ran on
    std::uint64_t nmi_return_rip;
    std::uint64_t debug_addresses[4];
    std::uint64_t extended_control;  ///< the guest's XCR0
    core::OfferedBits offered;       ///< bits that it may set there, in CR4 and in EFER
    core::Intercepts wanted;  ///< beyond the usual exits: guest_intercepts.hpp
    std::uint64_t tsc_aux;
    void* extended_area;
    HostPhysical block;
    unsigned block_order;
    std::uint64_t cr2_before;  ///< the intercepted exception
    bool exception_queued;     ///< it is what is queued
};

/// Says that fields of a group were changed since the last run.
inline void dirty(VcpuState& vcpu, std::uint32_t groups)
{
    vcpu.vmcb->control.clean_bits &= ~groups;
}

/// What is left to do before an entry when `attention` is set or the nested generation has moved: flushes,
/// address space, and distrust of everything that this processor may have kept of this VMCB.
void prepare_entry(VcpuState& vcpu, std::atomic<std::uint64_t>& entered_generation, std::uint64_t nested_generation,
                   std::uint32_t address_spaces, bool flush_by_address_space);

}  // namespace hv::svm
