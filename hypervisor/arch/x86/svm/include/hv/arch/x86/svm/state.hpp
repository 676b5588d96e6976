// SPDX-License-Identifier: MIT
//
// The registers that a VMCB holds: reset state, reading, and writing with all that VMRUN would refuse refused
// first. Pure.  Specification: [APM2-3.41 §15.5.1 (consistency checks), §14.1 (reset)], [SDM3-083 §10.1.1].
#pragma once

#include <cstdint>

#include "hv/arch/x86/svm/features.hpp"
#include "hv/arch/x86/svm/vcpu_state.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/hvm/backend.hpp"
#include "hv/core/hvm/system_registers.hpp"

namespace hv::svm {

/// HvmTable::offer.  The guest's writes of CR4 exit only where the processor would let a bit pass that was not offered: who
/// is shown everything pays nothing.
void offer(VcpuState& vcpu, const core::OfferedBits& bits, const Features& features);

/// True where the guest was not offered a bit of CR4 that the processor would let it set.
[[nodiscard]] inline bool hides_control_4(const VcpuState& vcpu, const Features& features)
{
    return (features.control_4_mask & ~vcpu.offered.cr4) != 0;
}

/// The state after INIT, with the general registers, of a VCPU that has not run.
void reset_registers(VcpuState& vcpu, core::Registers& registers);

void read_context(const VcpuState& vcpu, core::ExecutionContext& out);
void read_system(const VcpuState& vcpu, core::SystemRegisters& out);
/// invalid_argument: the processor would refuse to run it; nothing is changed.
Status write_system(VcpuState& vcpu, const core::SystemRegisters& from, std::uint64_t rflags,
                    const Features& features);

/// As HvmTable::read_msr and write_msr, but for TSC_AUX, which the processor holds.
Expected<std::uint64_t> read_msr(const VcpuState& vcpu, std::uint32_t msr);
Status write_msr(VcpuState& vcpu, std::uint32_t msr, std::uint64_t value);

/// MOV to and from a control register, CR8 included.  invalid_argument: #GP(0); not_supported: #UD.
Status write_control_register(VcpuState& vcpu, unsigned number, std::uint64_t value,
                              const Features& features);
Expected<std::uint64_t> read_control_register(const VcpuState& vcpu, unsigned number);

}  // namespace hv::svm
