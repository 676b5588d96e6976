// SPDX-License-Identifier: MIT
//
// Memory operands of instructions that the core carries out.  Called by the processor that runs the VCPU.
#pragma once

#include <cstdint>

#include "hv/base/address.hpp"
#include "hv/core/emulate/decode.hpp"
#include "hv/core/emulate/mmio.hpp"
#include "hv/core/hvm/system_registers.hpp"

namespace hv::core {

class Vcpu;

enum class AccessOutcome : std::uint8_t {
    done,
    fault,    ///< the guest is to get #GP
    settled,  ///< the guest has got what it is to get
};

/// In 64-bit mode zeros, unless the operand is in FS or GS.
[[nodiscard]] emulate::Segments segments_of(Vcpu& vcpu, const ExecutionContext& context,
                                            const emulate::Instruction& instruction);

/// Reads RAM or a device into `value`, or writes that, by the guest's own tables; `size` is 1, 2, 4 or 8.
AccessOutcome access_linear(Vcpu& vcpu, const ExecutionContext& context, GuestLinear linear, unsigned size, bool write,
                            std::uint64_t& value);

}  // namespace hv::core
