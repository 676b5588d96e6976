// SPDX-License-Identifier: MIT
//
// The decoder's mode for the code that a VCPU is executing: the one place where the back end's view of a code segment meets
// the decoder's.
#pragma once

#include "hv/core/emulate/decode.hpp"
#include "hv/core/hvm/system_registers.hpp"

namespace hv::core::emulate {

/// By CS.L in long mode, else by CS.D.
[[nodiscard]] constexpr Mode mode_of(const ExecutionContext& context)
{
    switch (context.code_bits()) {
    case 64: return Mode::bits64;
    case 32: return Mode::bits32;
    default: return Mode::bits16;
    }
}

}  // namespace hv::core::emulate
