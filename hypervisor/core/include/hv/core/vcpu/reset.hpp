// SPDX-License-Identifier: MIT
//
// The states in which a VCPU begins: reset and INIT, and the real-mode start of a SIPI.  [SDM3-083 §10.1.1, §9.4.4].
#pragma once

#include <cstdint>

#include "hv/core/vcpu/vcpu.hpp"

namespace hv::core {

/// All registers as after INIT.  By the processor that runs the VCPU, or while nobody does.
void reset_registers(Vcpu& vcpu);
/// CS base and RIP of a startup message: real mode at page `vector`.
void start_real_mode(Vcpu& vcpu, std::uint8_t vector);

}  // namespace hv::core
