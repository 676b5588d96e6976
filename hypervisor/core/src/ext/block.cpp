// SPDX-License-Identifier: MIT
//
// How a module keeps a VCPU from running: counted pauses, and a block that ends with an event or a deadline.
// A block that an interrupt ends is a halt to the scheduler; one that it does not end is a hold like a pause.
#include "hv/core/machine.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

bool has_wake_event(const Schedulable& self)
{
    const auto& vcpu = static_cast<const Vcpu&>(self);
    return vcpu.has_requests() || vcpu.nmi_waiting || vcpu.external_waiting ||
           vcpu.apic.highest_requested().has_value();
}

void deadline_came(Timer& timer)
{
    auto& self = static_cast<BlockTimer&>(timer);
    if (!self.vcpu.vcpu.domain.time.running())
        return;  // thaw() arms it again
    self.firing.fetch_add(1);  // before it counts as not armed: who cancels it waits for this to end
    self.armed.store(false);
    wake_vcpu(self.vcpu);
    self.firing.fetch_sub(1);
}

/// True where the deadline lies ahead and the timer now stands for it.
bool arm(BlockTimer& timer, std::uint64_t deadline_ns)
{
    const GuestTime& time = timer.vcpu.vcpu.domain.time;
    if (time.nanoseconds(platform::ticks()) >= deadline_ns)
        return false;
    timer.deadline_ns = deadline_ns;
    timer.armed.store(true);
    if (time.running())
        machine().arm_here(timer, time.host_tick_of(deadline_ns));
    return true;
}

}  // namespace

BlockTimer::BlockTimer(VcpuBinding& owner) : Timer{deadline_came}, vcpu{owner} {}

void update_hold(Vcpu& vcpu)
{
    ExtensionStack::Implementation& stack = vcpu.domain.extensions->implementation();
    const LockGuard guard{stack.locks.holds};
    bool wanted{};
    for (Binding* const binding : stack.bindings) {
        const VcpuBinding& own = binding->of(vcpu);
        wanted = wanted || own.pauses.load() != 0 || own.held.load();
    }
    if (wanted)
        machine().scheduler.block(vcpu, Blocker::extension);
    else
        machine().scheduler.unblock(vcpu, Blocker::extension);
}

void block_vcpu(VcpuBinding& own)
{
    const std::uint32_t wake = own.wake != 0 ? own.wake : abi::wake_interrupt | abi::wake_kick;
    own.wake = 0;
    const bool has_deadline = (wake & abi::wake_deadline) != 0;
    if ((wake & abi::wake_interrupt) != 0) {
        if (!has_deadline || arm(own.block_timer, own.wake_deadline_ns))
            machine().scheduler.block_unless(own.vcpu, Blocker::halted, has_wake_event);
        return;
    }
    own.held.store(true);  // before the deadline can come
    update_hold(own.vcpu);
    if (has_deadline && !arm(own.block_timer, own.wake_deadline_ns))
        wake_vcpu(own);
}

void wake_vcpu(VcpuBinding& own)
{
    if (own.held.exchange(false))
        update_hold(own.vcpu);
    own.vcpu.request(VcpuRequest::look);
}

}  // namespace hv::core
