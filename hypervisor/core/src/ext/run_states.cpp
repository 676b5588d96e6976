// SPDX-License-Identifier: MIT
//
// Changes of a VCPU's run state, told to the instances that hear of them.  The scheduler says each as it happens, under a lock and
// on any processor; it is noted with the guest's time, and when a processor takes the VCPU up, told before the next instruction.  A
// domain without such an instance has no listener.
#include "hook_call.hpp"
#include "hv/core/machine.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

/// The scheduler has taken the VCPU up: its stack stays as it is until it is let go.
void ask_to_tell(Vcpu& vcpu)
{
    for (Binding* const binding : vcpu.domain.extensions->implementation().bindings)
        if (hears_run_states(*binding))
            binding->of(vcpu).pending.fetch_or(static_cast<std::uint32_t>(VcpuBinding::Pending::run_state),
                                               std::memory_order_acq_rel);
    vcpu.remind(VcpuRequest::extension);
}

void note_change(Schedulable& entity, RunState from, RunState to, std::uint64_t now)
{
    auto& vcpu = static_cast<Vcpu&>(entity);
    vcpu.run_changes.note({vcpu.domain.time.nanoseconds(now), from, to});
    if (to == RunState::running)
        ask_to_tell(vcpu);
}

}  // namespace

bool hears_run_states(const Binding& binding)
{
    return binding.hooks.run_state_changed != nullptr && (binding.needs & abi::need_run_states) != 0 &&
           binding.route.load(std::memory_order_acquire) != Route::ended;
}

void renew_run_listeners(Domain& domain)
{
    bool wanted{};
    for (const Binding* const binding : domain.extensions->implementation().bindings)
        wanted = wanted || hears_run_states(*binding);
    for (unsigned index = 0; index < domain.vcpu_count(); ++index)
        domain.vcpu(index).listener.store(wanted ? note_change : nullptr, std::memory_order_release);
}

void deliver_run_states(VcpuBinding& own)
{
    const RunChanges& changes = own.vcpu.run_changes;
    if (!hears_run_states(own.binding))
        return;
    for (std::uint64_t next = own.run_changes_told;; own.run_changes_told = next) {
        const auto change = changes.next(next);
        if (!change)
            return;
        const abi::Verdict verdict =
            call_hook(own, Hook::run_state_changed, own.binding.hooks.run_state_changed, static_cast<abi::RunState>(change->from),
                      static_cast<abi::RunState>(change->to), change->guest_ns);
        if (is_retry(verdict))
            return own.ask(VcpuBinding::Pending::run_state);
        settle(own.binding, verdict);
    }
}

}  // namespace hv::core
