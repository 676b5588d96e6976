// SPDX-License-Identifier: MIT
//
// Instructions on system registers that exit: MOV to and from control registers, XSETBV, and the guest's use
// of debug registers.  Specification: [APM2-3.41 §15.8, §15.9], [APM3-3.35 "MOV CRn", "XSETBV"].
#pragma once

#include <cstddef>
#include <span>

#include "hv/arch/x86/svm/features.hpp"
#include "hv/arch/x86/svm/vcpu_state.hpp"
#include "hv/base/expected.hpp"

namespace hv::svm {

/// `bytes` is the instruction, a MOV with a control register.  invalid_argument: #GP(0); not_supported: #UD.
Status move_control_register(VcpuState& vcpu, core::Registers& registers, std::span<const std::byte> bytes,
                             const Features& features);
/// The same for a MOV with a debug register; conflict: #DB, DR6 and DR7 say why.
Status move_debug_register(VcpuState& vcpu, core::Registers& registers, std::span<const std::byte> bytes);
/// XSETBV; the caller then gives `extended_control` to the processor.
Status set_extended_control(VcpuState& vcpu, const core::Registers& registers);

/// The guest's debug address registers go into the processor, and its accesses no longer exit; and the
/// reverse.
void pass_debug_registers(VcpuState& vcpu);
void take_debug_registers(VcpuState& vcpu);
/// DR0–DR3 wherever they are: in the processor, or kept here.
void read_debug_addresses(const VcpuState& vcpu, std::uint64_t (&to)[4]);
void write_debug_addresses(VcpuState& vcpu, const std::uint64_t (&from)[4]);

}  // namespace hv::svm
