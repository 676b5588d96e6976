// SPDX-License-Identifier: MIT
//
// What a guest VCPU exits for because somebody asked, laid over what it always exits for.  Several owners share the vectors of
// a VMCB: each asks here what the others want before it takes a bit away.  Pure.  Specification: [APM2-3.41 §15.9, §15.11,
// §15.12].
#pragma once

#include <span>

#include "hv/arch/x86/svm/exit_code.hpp"
#include "hv/arch/x86/svm/features.hpp"
#include "hv/arch/x86/svm/permission_map.hpp"
#include "hv/arch/x86/svm/vcpu_state.hpp"
#include "hv/core/hvm/intercepts.hpp"

namespace hv::svm {

/// HvmTable::intercept; `usual` is the map of a VCPU that has none of its own.
void intercept(VcpuState& vcpu, const core::Intercepts& wanted, HostPhysical usual, const Features& features);

/// True where a subscriber wants the guest's writes of this control register.
[[nodiscard]] inline bool wants_control_write(const VcpuState& vcpu, unsigned number)
{
    return (vcpu.wanted.control_writes >> number & 1) != 0;
}

/// What still exits while the guest's debug registers are in the processor.
[[nodiscard]] inline std::uint32_t wanted_debug_bits(const VcpuState& vcpu)
{
    return vcpu.wanted.debug_reads | std::uint32_t{vcpu.wanted.debug_writes} << 16;
}
/// True where a subscriber wants the access whose exit has this code.
[[nodiscard]] inline bool wants_debug_access(const VcpuState& vcpu, std::uint64_t code)
{
    return (wanted_debug_bits(vcpu) >> (code - number(ExitCode::DR0_READ)) & 1) != 0;
}

/// HvmTable::msr_map_set.
void set_msr_intercepts(MsrPermissionMap& map, std::span<const core::MsrIntercept> wanted);

}  // namespace hv::svm
