// SPDX-License-Identifier: MIT
//
// What happens to a stack between exits: kicks, expired timers, messages, run states and open hypercalls before an entry, resets,
// and the guest's time that stands still and goes on.
#include <algorithm>

#include "hook_call.hpp"
#include "hv/core/machine.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

constexpr bool asked(std::uint32_t pending, VcpuBinding::Pending what)
{
    return (pending & static_cast<std::uint32_t>(what)) != 0;
}

/// An event that has nothing but its name.  Where the instance fails to hear of it, `again` is asked for.
void tell(VcpuBinding& own, Hook hook, abi::Verdict (*function)(const abi::VcpuContext*), VcpuBinding::Pending again)
{
    const abi::Verdict verdict = call_hook(own, hook, function);
    if (is_retry(verdict))
        return own.ask(again);
    settle(own, verdict);
}

void deliver_timers(VcpuBinding& own)
{
    TimerExpiry expiry{};
    while (own.binding.timers.take_expiry(own, expiry)) {
        const abi::Verdict verdict =
            call_hook(own, Hook::timer, own.binding.hooks.timer, expiry.handle, expiry.cookie, expiry.missed);
        if (is_retry(verdict)) {
            own.binding.timers.deliver_again(expiry);
            return own.ask(VcpuBinding::Pending::timer);
        }
        settle(own, verdict);
    }
}

/// Where the module reads a message: an isolated one in the buffer that it shares with the core.  Nobody else uses that while
/// the guest runs: messages are told on one processor at a time, the first VCPU's.
const void* show(Binding& binding, const ChannelMessage& message)
{
    if (binding.isolated == nullptr)
        return message.bytes;
    static_assert(longest_channel_message <= IsolatedMemory::buffer_bytes);
    std::copy_n(message.bytes, message.length, binding.buffer);
    return reinterpret_cast<const void*>(binding.isolated->address_of(binding.buffer));
}

abi::Verdict tell(Binding& binding, const ChannelMessage& message)
{
    const SeatHold hold{binding};
    return call_hook(binding, Hook::channel_message, binding.hooks.channel_message, message.handle, show(binding, message),
                     message.length);
}

/// No more at a time than an end holds: who sends as fast as it is told, on another processor, must not keep this one from
/// looking around.
void deliver_messages(VcpuBinding& own)
{
    Binding& binding = own.binding;
    ChannelMessage message;
    for (std::uint32_t told = 0; told < ChannelEnd::room; ++told) {
        if (!binding.holdings.channels.next(message))
            return;
        const abi::Verdict verdict = tell(binding, message);
        if (is_retry(verdict))
            break;
        binding.holdings.channels.done(message);
        settle(binding, verdict);
    }
    own.ask(VcpuBinding::Pending::channel);
}

void reset(VcpuBinding& own)
{
    if (own.binding.hooks.vcpu_reset != nullptr)
        tell(own, Hook::vcpu_reset, own.binding.hooks.vcpu_reset, VcpuBinding::Pending::reset);
    else
        own.state.clear();
}

void serve(Vcpu& vcpu, VcpuBinding& own)
{
    const std::uint32_t pending = own.pending.exchange(0, std::memory_order_acq_rel);
    if (asked(pending, VcpuBinding::Pending::reset))
        reset(own);
    if (asked(pending, VcpuBinding::Pending::run_state))
        deliver_run_states(own);
    if (asked(pending, VcpuBinding::Pending::watched))
        deliver_watched(own);
    if (asked(pending, VcpuBinding::Pending::timer))
        deliver_timers(own);
    if (asked(pending, VcpuBinding::Pending::channel))
        deliver_messages(own);
    if (asked(pending, VcpuBinding::Pending::kick) && own.binding.hooks.before_entry != nullptr)
        tell(own, Hook::before_entry, own.binding.hooks.before_entry, VcpuBinding::Pending::kick);
    if (asked(pending, VcpuBinding::Pending::window))
        own.wants_window = vcpu.window_wanted = true;
    if (!vcpu.entry_held) [[likely]]
        return;
    if (own.continuing)
        continue_hypercall(own);
    else if (own.polling)
        continue_poll(own);
}

void thaw_block(VcpuBinding& own)
{
    if (own.block_timer.armed.load())
        machine().arm_here(own.block_timer, own.vcpu.domain.time.host_tick_of(own.block_timer.deadline_ns));
}

}  // namespace

void tell(Binding& binding, Hook hook)
{
    const auto function = hook == Hook::freeze ? binding.hooks.freeze : binding.hooks.thaw;
    if (function == nullptr)
        return;
    const abi::Verdict verdict = call_hook(binding, hook, function);
    if (is_retry(verdict))
        binding.owed = hook;
    else
        settle(binding, verdict);
}

void ExtensionStack::before_entry(Vcpu& vcpu)
{
    for (Binding* const binding : implementation_->bindings)
        serve(vcpu, binding->of(vcpu));
}

void ExtensionStack::interrupt_window(Vcpu& vcpu)
{
    for (Binding* const binding : implementation_->bindings) {
        VcpuBinding& own = binding->of(vcpu);
        if (std::exchange(own.wants_window, false) && binding->hooks.interrupt_window != nullptr)
            tell(own, Hook::interrupt_window, binding->hooks.interrupt_window, VcpuBinding::Pending::window);
    }
}

void ExtensionStack::vcpu_reset(Vcpu& vcpu)
{
    vcpu.entry_held = vcpu.window_wanted = false;
    vcpu.bare_vector.store(0);
    vcpu.following.begun = false;
    for (Binding* const binding : implementation_->bindings) {
        VcpuBinding& own = binding->of(vcpu);
        own.continuing = own.polling = false;
        reset(own);
    }
}

/// None where extensions were announced and none is bound, or all were detached.
void ExtensionStack::carry_out_all_failures()
{
    if (!implementation_->bindings.empty())
        carry_out_failures(implementation_->bindings[0]->domain);
}

void ExtensionStack::freeze()
{
    carry_out_all_failures();
    implementation_->frozen = true;
    for (Binding* const binding : implementation_->bindings) {
        tell(*binding, Hook::freeze);
        binding->timers.freeze();
        for (unsigned index = 0; index < binding->vcpu_count; ++index)
            TimerQueue::cancel(binding->vcpus[index]->block_timer);
    }
}

void ExtensionStack::thaw()
{
    carry_out_all_failures();
    const bool was_frozen = std::exchange(implementation_->frozen, false);  // else the guest starts
    for (Binding* const binding : implementation_->bindings) {
        if (was_frozen)
            tell(*binding, Hook::thaw);
        binding->timers.thaw();
        for (unsigned index = 0; index < binding->vcpu_count; ++index)
            thaw_block(*binding->vcpus[index]);
    }
}

}  // namespace hv::core
