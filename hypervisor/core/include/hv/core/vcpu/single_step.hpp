// SPDX-License-Identifier: MIT
//
// One instruction of a guest, carried out by the processor, that comes back when it is done: for a VCPU that somebody follows step
// by step, and for an access to pages that are otherwise watched, which are let through for this VCPU alone and so long.  RFLAGS.TF
// brings it back, and what TF leaves behind is put right before the guest can look: in RFLAGS, in the image that PUSHF stores, in
// R11 and SFMASK around SYSCALL and SYSRET, in DR6; with the guest's own TF, breakpoints and #DB as they would be.  Called by the
// processor that runs the VCPU.
//
// The delivery of an event is no instruction, and INT n, INT3 and INTO would store TF: where steps are followed they end at the
// handler's first instruction (stepped_delivery.hpp); else the pages stay open to this VCPU until its next exit, and nothing
// brings it back.  So they do after an `untraced` instruction.  MOV SS and POP SS come back after the instruction behind them.  STI is
// carried out here: an emulated processor would do the same with it.
#pragma once

#include <cstdint>

#include "hv/base/address.hpp"
#include "hv/core/vcpu/stepped_delivery.hpp"
#include "hv/core/vcpu/stepped_instruction.hpp"

namespace hv::core {

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
    SteppedDelivery delivery{};
};

/// The access of this exit, to a page that is watched, is to be made by the guest itself.
void let_access_through(Vcpu& vcpu, GuestPhysical page);

/// The last thing before an entry, where a step is wanted or followed.  False: the step has been taken without one.
[[nodiscard]] bool arm_step(Vcpu& vcpu);
/// The first thing after an exit that arm_step() came before.  True: the instruction or the delivery is done, and the exit has no
/// other reason.
bool finish_step(Vcpu& vcpu);
/// A step that has not been armed, or is over, is none any more.
void end_step(Vcpu& vcpu);

/// While TF is not the guest's no exception is delivered by the processor itself, which would store it.
void intercept_for_step(Vcpu& vcpu, bool stepping);

}  // namespace hv::core
