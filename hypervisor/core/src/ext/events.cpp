// SPDX-License-Identifier: MIT
//
// What happens to a stack between exits: kicks, expired timers and open hypercalls before an entry, resets,
// and the guest's time that stands still and goes on.
#include "hook_call.hpp"
#include "hv/core/machine.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

constexpr bool asked(std::uint32_t pending, VcpuBinding::Pending what)
{
    return (pending & static_cast<std::uint32_t>(what)) != 0;
}

void deliver_timers(VcpuBinding& own)
{
    TimerExpiry expiry{};
    while (own.binding.timers.take_expiry(own, expiry))
        settle(own, call_hook(own, Hook::timer, own.binding.hooks.timer, expiry.handle, expiry.cookie,
                              expiry.missed));
}

void serve(VcpuBinding& own)
{
    const std::uint32_t pending = own.pending.exchange(0, std::memory_order_acq_rel);
    if (asked(pending, VcpuBinding::Pending::timer))
        deliver_timers(own);
    if (asked(pending, VcpuBinding::Pending::kick) && own.binding.hooks.before_entry != nullptr)
        settle(own, call_hook(own, Hook::before_entry, own.binding.hooks.before_entry));
    if (asked(pending, VcpuBinding::Pending::window))
        own.wants_window = own.vcpu.window_wanted = true;
    if (own.continuing)
        continue_hypercall(own);
}

void thaw_block(VcpuBinding& own)
{
    if (own.block_timer.armed)
        machine().arm_here(own.block_timer, own.vcpu.domain.time.host_tick_of(own.block_timer.deadline_ns));
}

}  // namespace

void ExtensionStack::before_entry(Vcpu& vcpu)
{
    for (Binding* const binding : implementation_->bindings)
        serve(binding->of(vcpu));
}

void ExtensionStack::interrupt_window(Vcpu& vcpu)
{
    for (Binding* const binding : implementation_->bindings) {
        VcpuBinding& own = binding->of(vcpu);
        if (std::exchange(own.wants_window, false) && binding->hooks.interrupt_window != nullptr)
            settle(own, call_hook(own, Hook::interrupt_window, binding->hooks.interrupt_window));
    }
}

void ExtensionStack::vcpu_reset(Vcpu& vcpu)
{
    vcpu.entry_held = vcpu.window_wanted = false;
    vcpu.bare_vector.store(0);
    for (Binding* const binding : implementation_->bindings) {
        VcpuBinding& own = binding->of(vcpu);
        own.continuing = false;
        if (binding->hooks.vcpu_reset != nullptr)
            settle(own, call_hook(own, Hook::vcpu_reset, binding->hooks.vcpu_reset));
        else
            own.state.clear();
    }
}

void ExtensionStack::freeze()
{
    implementation_->frozen = true;
    for (Binding* const binding : implementation_->bindings) {
        if (binding->hooks.freeze != nullptr)
            settle(*binding, call_hook(*binding, Hook::freeze, binding->hooks.freeze));
        binding->timers.freeze();
        for (unsigned index = 0; index < binding->vcpu_count; ++index)
            TimerQueue::cancel(binding->vcpus[index]->block_timer);
    }
}

void ExtensionStack::thaw()
{
    const bool was_frozen = std::exchange(implementation_->frozen, false);  // else the guest starts
    for (Binding* const binding : implementation_->bindings) {
        if (was_frozen && binding->hooks.thaw != nullptr)
            settle(*binding, call_hook(*binding, Hook::thaw, binding->hooks.thaw));
        binding->timers.thaw();
        for (unsigned index = 0; index < binding->vcpu_count; ++index)
            thaw_block(*binding->vcpus[index]);
    }
}

}  // namespace hv::core
