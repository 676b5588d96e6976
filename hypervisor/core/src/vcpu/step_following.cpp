// SPDX-License-Identifier: MIT
#include "hv/core/vcpu/step_following.hpp"

#include "hv/core/vcpu/vcpu.hpp"

namespace hv::core {

void follow_steps(Vcpu& vcpu, bool on)
{
    if (vcpu.following.on == on)
        return;
    vcpu.following = {};
    vcpu.following.on = on;
    vcpu.renew_entry_extras();
}

void begin_step(Vcpu& vcpu)
{
    vcpu.following = {.on = true, .begun = true, .came = false, .delivered = false, .rip = vcpu.registers.rip,
                      .counter = vcpu.registers.general[rcx]};
}

bool step_is_over(Vcpu& vcpu)
{
    const StepFollowing& last = vcpu.following;
    if (!last.begun)
        begin_step(vcpu);
    return last.came || vcpu.registers.rip != last.rip || vcpu.registers.general[rcx] != last.counter;
}

}  // namespace hv::core
