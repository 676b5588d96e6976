// SPDX-License-Identifier: MIT
//
// The main loop of a guest processor: timers, the control server's slices, and the VCPU whose turn it is.
#pragma once

#include <cstdint>

namespace hv::core {

/// Work of the hypervisor itself that guest processors do between VCPUs, in bounded slices.
class BackgroundWork {
public:
    /// Does a bounded amount; true: there is more.  One processor at a time.
    virtual bool step() = 0;

protected:
    ~BackgroundWork() = default;
};

/// Never returns.  `work` is shared by all guest processors; announce_work() says that there is some.
[[noreturn]] void run_processor(BackgroundWork& work);
/// Makes a guest processor call the work's step() soon.  Any processor, an exit of the control domain's too.
void announce_work();
/// The same without hurry: at the next turn of any guest processor, or when a VCPU next looks around.
void announce_work_soon();

/// One turn of the main loop, for tests: true when a VCPU was run.
bool run_one_turn(BackgroundWork& work);

}  // namespace hv::core
