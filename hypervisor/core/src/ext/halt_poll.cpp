// SPDX-License-Identifier: MIT
//
// A halt that a module keeps awake: asked again before each entry, with the main loop in between.
#include "exits.hpp"

#include "hook_call.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "stack.hpp"
#include "subscribed_exit.hpp"

namespace hv::core {
namespace {

void end_poll(VcpuBinding& own)
{
    own.polling = false;
    own.vcpu.entry_held = false;
}

const abi::ExitSubscription* halt_subscription(const Binding& binding)
{
    for (std::uint32_t index = 0; index < binding.subscriptions.count; ++index) {
        const abi::ExitSubscription& wanted = binding.subscriptions.list[index];
        if (wanted.kind == abi::ExitKind::halt && (wanted.flags & abi::exit_after) == 0 && holds(binding, wanted))
            return &wanted;
    }
    return nullptr;
}

}  // namespace

/// The next preparation of an entry asks again, with the main loop in between.
void keep_awake(VcpuBinding& own)
{
    own.polling = true;
    own.vcpu.entry_held = true;
    own.vcpu.request(VcpuRequest::extension);
}

void continue_poll(VcpuBinding& own)
{
    Vcpu& vcpu = own.vcpu;
    if (vcpu.has_requests())
        return keep_awake(own);  // they come first
    fetch_task_priority(vcpu);  // the guest may have lowered it since, without an exit
    if (!vcpu.in_halt || Vcpu::has_event(vcpu) || halt_subscription(own.binding) == nullptr ||
        own.binding.hooks.exit == nullptr)
        return end_poll(own);
    ++own.poll_frame.value;
    own.exit_rules = exit_may_poll;
    own.seat.exchange->exit = own.poll_frame;
    const abi::Verdict verdict =
        call_hook(own, Hook::exit, own.binding.hooks.exit, own.seat.shown(&own.seat.exchange->exit));
    if (is_retry(verdict))
        return keep_awake(own);
    if (verdict.kind != abi::VerdictKind::again) {
        end_poll(own);
        static_cast<void>(settle(own, verdict));
        return;
    }
    keep_awake(own);
    platform::take_pending_interrupts();  // so that the poll holds nobody else up
    machine().here().attention.store(true, std::memory_order_relaxed);
}

void take_over_poll(VcpuBinding& own, VcpuBinding& before)
{
    own.polling = std::exchange(before.polling, false);
    own.poll_frame = before.poll_frame;
}

}  // namespace hv::core
