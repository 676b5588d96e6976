// SPDX-License-Identifier: MIT
//
// XMM registers of a guest VCPU, wherever they are: in the processor that carries it, or in its save area.
#pragma once

#include <cstddef>
#include <span>

#include "hv/arch/x86/svm/features.hpp"
#include "hv/arch/x86/svm/vcpu_state.hpp"

namespace hv::svm {

/// Registers from `first` on, 16 bytes each; those named exist (0 to 15).  Where the VCPU is loaded, on its own processor.
void read_vectors(VcpuState& vcpu, const Features& features, unsigned first, std::span<std::byte> bytes);
void write_vectors(VcpuState& vcpu, const Features& features, unsigned first, std::span<const std::byte> bytes);

}  // namespace hv::svm
