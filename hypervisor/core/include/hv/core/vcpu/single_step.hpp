// SPDX-License-Identifier: MIT
//
// One instruction of a guest, carried out by the processor on pages that are otherwise watched: they are let through for this
// VCPU alone, RFLAGS.TF brings it back after the instruction, and what TF leaves behind is put right before the guest can look:
// in RFLAGS, in the image that PUSHF stores, in R11 and SFMASK around SYSCALL and SYSRET, in DR6; with the guest's own TF, breakpoints
// and #DB as they would be.  Called by the processor that runs the VCPU.
//
// An event is delivered without TF, and so are INT n, INT3, INTO and INT1: there the pages stay open to this VCPU until its
// next exit.  MOV SS and POP SS come back after the instruction behind them [SDM3-083 §18.3.1.4].
#pragma once

#include <cstdint>

#include "hv/base/address.hpp"

namespace hv::core {

class Vcpu;

/// What of an instruction under TF is to be put right afterwards.
enum class SteppedInstruction : std::uint8_t {
    plain,
    stores_flags,   ///< PUSHF
    loads_flags,    ///< POPF, IRET
    system_call,    ///< SYSCALL
    system_return,  ///< SYSRET
    writes_status,  ///< MOV to DR6, or whatever may be one
    software_interrupt,
};

struct SingleStep {
    bool wanted{};    ///< pages are let through for what is at `rip`
    bool armed{};     ///< the guest was entered so
    bool delivers{};  ///< it is the delivery of an event, not an instruction
    bool own_trap{};  ///< the guest's own TF
    bool with_trap{};  ///< entered with TF
    SteppedInstruction kind{};
    std::uint64_t rip{};
    std::uint64_t dr6{};
    std::uint64_t sfmask{};
    std::uint64_t r11{};
};

/// The access of this exit, to a page that is watched, is to be made by the guest itself.
void let_access_through(Vcpu& vcpu, GuestPhysical page);

/// The last thing before an entry, where a step is wanted.
void arm_step(Vcpu& vcpu);
/// The first thing after an exit that armed_step() came before.  True: the instruction is done, and the exit has no other reason.
bool finish_step(Vcpu& vcpu);
/// A step that has not been armed, or is over, is none any more.
void end_step(Vcpu& vcpu);

}  // namespace hv::core
