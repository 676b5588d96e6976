// SPDX-License-Identifier: MIT
#include "hv/arch/x86/svm/vcpu_state.hpp"

namespace hv::svm {

namespace {

void take_new_address_space(VcpuState& vcpu, std::uint32_t address_spaces)
{
    ProcessorState& processor = *vcpu.processor;
    if (processor.next_address_space == 0 || processor.next_address_space >= address_spaces) {
        ++processor.generation;
        processor.next_address_space = 1;  // 0 is the host's
        vcpu.vmcb->control.tlb_control = TlbControl::flush_all;
    }
    vcpu.vmcb->control.guest_asid = processor.next_address_space++;
    vcpu.generation = processor.generation;
    dirty(vcpu, clean_address_space);
}

}  // namespace

void prepare_entry(VcpuState& vcpu, std::atomic<std::uint64_t>& entered_generation, std::uint64_t nested_generation,
                   std::uint32_t address_spaces, bool flush_by_address_space)
{
    const bool flush = vcpu.flush_wanted || nested_generation != entered_generation.load(std::memory_order_relaxed);
    const bool moved = vcpu.last_processor != vcpu.processor;
    vcpu.attention = false;
    vcpu.flush_wanted = false;
    entered_generation.store(nested_generation, std::memory_order_release);
    if (moved) {
        // This processor may remember the VMCB, and translations of the number, from before the VCPU was
        // elsewhere.
        vcpu.vmcb->control.clean_bits = 0;
        vcpu.last_processor = vcpu.processor;
    }
    if (moved || vcpu.generation != vcpu.processor->generation || (flush && !flush_by_address_space))
        take_new_address_space(vcpu, address_spaces);
    else if (flush)
        vcpu.vmcb->control.tlb_control = TlbControl::flush_address_space;
}

}  // namespace hv::svm
