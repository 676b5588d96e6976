// SPDX-License-Identifier: MIT
//
// The VCPUs of one domain stand still, so that its stack can be changed in place: no hook of the domain is entered by a guest,
// and nobody but timers' callbacks, which take locks, looks at its bindings.  By the control server.  The guest's time goes on.
#pragma once

#include "hv/core/domain/domain.hpp"

namespace hv::core {

class [[nodiscard]] Standstill {
public:
    /// Returns when every VCPU is out of the guest and off its processor; `why` is what holds it there.
    explicit Standstill(Domain& domain, Blocker why = Blocker::swapping);
    /// Each VCPU looks at what waits for its extensions before its next instruction.
    ~Standstill();
    Standstill(const Standstill&) = delete;
    Standstill& operator=(const Standstill&) = delete;

private:
    Domain& domain_;
    Blocker why_;
};

/// An error, and words for it, unless the domain has a guest that runs or is paused.
Status check_running(const Domain& domain, TextWriter& why);

}  // namespace hv::core
