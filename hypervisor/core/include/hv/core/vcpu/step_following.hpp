// SPDX-License-Identifier: MIT
//
// Whether a VCPU that somebody follows step by step has come to another boundary between two instructions: a note of where the
// last one was, and the question whether it is another by now.  How an instruction is made to end there is single_step.hpp's
// matter; who looks, the extension framework's.  Called by the processor that runs the VCPU.
#pragma once

#include <cstdint>

namespace hv::core {

class Vcpu;

struct StepFollowing {
    bool on{};         ///< somebody wants to see each step
    bool begun{};      ///< there is a last boundary
    bool came{};       ///< the processor has told of another one
    bool delivered{};  ///< the delivery of an event led to it
    std::uint64_t rip{};      ///< of the last boundary
    std::uint64_t counter{};  ///< rCX there: a repeated instruction that is emulated moves nothing else
};

/// From the next entry on, or no more.
void follow_steps(Vcpu& vcpu, bool on);
/// Where the VCPU stands now is a boundary that needs not be looked at.
void begin_step(Vcpu& vcpu);
/// It stands at another boundary than the last one.  The first look only begins.
[[nodiscard]] bool step_is_over(Vcpu& vcpu);

}  // namespace hv::core
