// SPDX-License-Identifier: MIT
//
// What a single step must know of the instruction that it is about to let the guest execute: whether it shows RFLAGS.TF to the
// guest, or changes it, and how it is to be stepped then.  By the bytes that are there now.
#pragma once

#include <cstdint>

#include "hv/core/hvm/system_registers.hpp"

namespace hv::core {

class Vcpu;

enum class SteppedInstruction : std::uint8_t {
    plain,
    stores_flags,   ///< PUSHF
    loads_flags,    ///< POPF, IRET
    system_call,    ///< SYSCALL
    system_return,  ///< SYSRET
    reads_status,   ///< MOV from DR6, or whatever may be one
    writes_status,  ///< MOV to DR6, or whatever may be one
    sets_interrupt_flag,  ///< STI that sets IF, with no fault
    software_interrupt,  ///< INT n, INT3, or INTO that interrupts: what it is can be injected as well
    untraced,  ///< one that would show TF and cannot be injected: INT1; INT n in virtual-8086 mode, or one with MOV SS before it
};

struct NextInstruction {
    SteppedInstruction kind{};
    std::uint8_t length{};  ///< of a software interrupt or STI
    std::uint8_t vector{};  ///< of a software interrupt
};

/// MOV SS and POP SS are one with the instruction behind them, whose kind is theirs [SDM3-083 §18.3.1.4].  What cannot be read
/// faults, and is plain.
[[nodiscard]] NextInstruction next_instruction(Vcpu& vcpu, const ExecutionContext& context);

}  // namespace hv::core
