// SPDX-License-Identifier: MIT
//
// A step that a VCPU has taken, on its way past those that follow it.  Nothing of the next instruction has been executed.
#include "exits.hpp"
#include "guest_mode.hpp"
#include "hook_call.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/step_following.hpp"
#include "shown_exit.hpp"
#include "stack.hpp"
#include "subscribed_exit.hpp"

namespace hv::core {
namespace {

abi::ExitFrame describe_step(const Vcpu& vcpu)
{
    ExecutionContext context;  // filled in whole
    machine().hvm.read_context(vcpu, context);
    abi::ExitFrame frame{};
    describe_state(vcpu, context, frame);
    frame.kind = abi::ExitKind::single_step;
    frame.number = vcpu.following.delivered ? abi::step_delivery : abi::step_instruction;
    frame.value = vcpu.following.rip;
    return frame;
}

void take_registers(Vcpu& vcpu, const abi::ExitFrame& left, abi::Verdict verdict)
{
    write_back_registers(vcpu.registers.general, left.general, left.mode);
    if ((verdict.flags & abi::verdict_keep_rip) == 0)
        return;
    vcpu.registers.rip = left.rip;
    vcpu.end_instruction();
}

enum class Outcome : std::uint8_t {
    pass,     ///< the next one is asked
    settled,  ///< nobody else is
    repeat,   ///< all are asked once more, when the instance has been restarted
};

/// One subscription's call.
Outcome ask(VcpuBinding& own, const abi::ExitSubscription& wanted, const abi::ExitFrame& frame)
{
    const bool instead = (wanted.flags & abi::exit_instead) != 0;
    own.exit_rules = instead ? exit_may_answer : 0;
    own.seat.exchange->exit = frame;
    const abi::Verdict verdict = call_hook(own, Hook::exit, own.binding.hooks.exit, own.seat.shown(&own.seat.exchange->exit));
    if (is_retry(verdict))
        return Outcome::repeat;
    if (verdict.kind == abi::VerdictKind::not_mine)
        return Outcome::pass;
    static_cast<void>(settle(own, verdict));
    if (!is_well(verdict))
        return Outcome::settled;
    if (!instead)
        return Outcome::pass;
    abi::ExitFrame left = own.seat.exchange->exit;
    left.mode = frame.mode;
    take_registers(own.vcpu, left, verdict);
    return Outcome::settled;
}

Outcome ask_all(Vcpu& vcpu, const abi::ExitFrame& frame)
{
    for (Binding* const binding : vcpu.domain.extensions->implementation().bindings)
        for (std::uint32_t index = 0; index < binding->subscriptions.count; ++index) {
            const abi::ExitSubscription& wanted = binding->subscriptions.list[index];
            if (!matches(wanted, frame) || binding->route.load(std::memory_order_acquire) == Route::ended || !holds(*binding, wanted))
                continue;
            if (const Outcome outcome = ask(binding->of(vcpu), wanted, frame); outcome != Outcome::pass)
                return outcome;
        }
    return Outcome::pass;
}

}  // namespace

void ExtensionStack::show_step(Vcpu& vcpu)
{
    if (vcpu.following.on && step_is_over(vcpu) && ask_all(vcpu, describe_step(vcpu)) != Outcome::repeat)
        begin_step(vcpu);
}

}  // namespace hv::core
