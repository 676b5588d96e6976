// SPDX-License-Identifier: MIT
//
// One exit on its way past its subscribers.  To read it: answer_subscribed() at the end, then ask().
#include "subscribed_exit.hpp"

#include "exception_exit.hpp"
#include "exits.hpp"
#include "hook_call.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/exit_answer.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "hv/x86/exceptions.hpp"
#include "shown_exit.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

enum class Outcome : std::uint8_t {
    pass,     ///< the next one is asked
    settled,  ///< done, or an exception raised, or the domain ended
    polls,    ///< pass, and the halt is kept awake
};

/// An exception, or the fault of an access, is then not the guest's.  No instruction has been carried out in it: nothing moves but
/// what the module says.
Outcome settle_answer(VcpuBinding& own, const Exit& exit, const Shown& shown, abi::Verdict verdict)
{
    const abi::ExitFrame& answer = own.seat.exchange->exit;
    if (!take_answer(own.vcpu, exit, shown, answer))
        return Outcome::settled;
    if (exit.kind == ExitKind::exception)
        consume_exception(own.vcpu);
    if ((verdict.flags & abi::verdict_keep_rip) != 0) {
        own.vcpu.registers.rip = answer.rip;
        own.vcpu.end_instruction();
    } else if (exit.kind != ExitKind::exception && exit.kind != ExitKind::nested_fault) {
        own.vcpu.advance(static_cast<std::uint8_t>(shown.frame.instruction_length));
    }
    return Outcome::settled;
}

/// Of any kind that has nothing to do with this exit in particular.
Outcome settle_otherwise(VcpuBinding& own, const Exit& exit, abi::Verdict verdict)
{
    if (verdict.kind == abi::VerdictKind::inject && exit.kind == ExitKind::exception)
        replace_exception(own.vcpu, verdict);
    else
        static_cast<void>(settle(own, verdict));
    return Outcome::settled;
}

/// The guest does it once more, for the next instance; but not what led to a #DB, which mostly comes afterwards.
Outcome let_guest_repeat(Vcpu& vcpu, const Exit& exit)
{
    if (exit.kind == ExitKind::exception && exit.exception.vector != static_cast<std::uint8_t>(x86::Exception::DB))
        consume_exception(vcpu);
    return Outcome::settled;
}

/// One subscription's call.
Outcome ask(VcpuBinding& own, const abi::ExitSubscription& wanted, const Exit& exit, const Shown& shown)
{
    const bool instead = (wanted.flags & abi::exit_instead) != 0;
    const bool after = (wanted.flags & abi::exit_after) != 0;
    const bool halts = wanted.kind == abi::ExitKind::halt && !after;
    own.exit_rules = static_cast<std::uint8_t>((after ? 0 : exit_may_raise) | (instead ? exit_may_answer : 0) |
                                               (halts ? exit_may_poll : 0));
    own.seat.exchange->exit = shown.frame;
    const abi::Verdict verdict =
        call_hook(own, Hook::exit, own.binding.hooks.exit, own.seat.shown(&own.seat.exchange->exit));
    if (is_retry(verdict))
        return let_guest_repeat(own.vcpu, exit);
    switch (verdict.kind) {
    case abi::VerdictKind::not_mine: return Outcome::pass;
    case abi::VerdictKind::again: return Outcome::polls;
    case abi::VerdictKind::pause: static_cast<void>(settle(own, verdict)); [[fallthrough]];
    case abi::VerdictKind::done: return instead ? settle_answer(own, exit, shown, verdict) : Outcome::pass;
    default: return settle_otherwise(own, exit, verdict);
    }
}

/// All that want it at this time, in stacking order, until one has settled it.  `poller`: who keeps a halt awake.
Outcome ask_all(Vcpu& vcpu, const Exit& exit, const Shown& shown, bool after, VcpuBinding*& poller)
{
    for (Binding* const binding : vcpu.domain.extensions->implementation().bindings) {
        VcpuBinding& own = binding->of(vcpu);
        for (std::uint32_t index = 0; index < binding->subscriptions.count; ++index) {
            const abi::ExitSubscription& wanted = binding->subscriptions.list[index];
            if (!matches(wanted, shown.frame) || ((wanted.flags & abi::exit_after) != 0) != after ||
                binding->route.load(std::memory_order_acquire) == Route::ended || !holds(*binding, wanted) ||
                (shown.repeats && (wanted.flags & abi::exit_instead) != 0))
                continue;
            const Outcome outcome = ask(own, wanted, exit, shown);
            if (outcome == Outcome::settled)
                return outcome;
            if (outcome == Outcome::polls)
                poller = &own;
        }
    }
    return Outcome::pass;
}

/// An access that is stopped for a watch alone.
bool is_stopped_access(const Vcpu& vcpu)
{
    return vcpu.exit.kind == ExitKind::nested_fault && vcpu.view.stops(vcpu.exit.fault.address) &&
           vcpu.domain.memory.map().lookup(vcpu.exit.fault.address).has_value();
}

bool answer_by_core(Vcpu& vcpu)
{
    if (is_stopped_access(vcpu)) {
        let_access_through(vcpu, vcpu.exit.fault.address);
        return goes_on(vcpu);
    }
    if (vcpu.exit.kind == ExitKind::exception && vcpu.exit.exception.in_delivery)
        raise_in_delivery(vcpu);
    if (vcpu.exit.kind == ExitKind::port && vcpu.following.on)
        return answer_by<handle_port_turn>(vcpu);
    return core_answers[static_cast<unsigned>(vcpu.exit.kind)](vcpu);
}

bool wanted_afterwards(const Vcpu& vcpu, const abi::ExitFrame& frame)
{
    for (const Binding* const binding : vcpu.domain.extensions->implementation().bindings)
        for (const abi::ExitSubscription& wanted : std::span{binding->subscriptions.list, binding->subscriptions.count})
            if ((wanted.flags & abi::exit_after) != 0 && matches(wanted, frame))
                return true;
    return false;
}

/// The core has announced an entry, which is taken back while the modules look.
bool show_afterwards(Vcpu& vcpu, const Shown& shown, bool entry_announced)
{
    if (entry_announced)
        announce_exit(vcpu);
    VcpuBinding* nobody{};
    ask_all(vcpu, vcpu.exit, shown, true, nobody);
    return entry_announced && goes_on(vcpu);
}

}  // namespace

bool answer_subscribed(Vcpu& vcpu)
{
    const Exit& exit = vcpu.exit;
    Shown shown;
    if (vcpu.domain.extensions == nullptr || !describe(vcpu, exit, shown))
        return answer_by_core(vcpu);
    VcpuBinding* poller{};
    if (ask_all(vcpu, exit, shown, false, poller) == Outcome::settled)
        return goes_on(vcpu);
    if (poller != nullptr && x86::Rflags::IF::get(vcpu.registers.rflags)) {
        poller->poll_frame = shown.frame;
        keep_awake(*poller);  // the halt is looked at again before the VCPU could sleep
    }
    const bool afterwards = wanted_afterwards(vcpu, shown.frame);
    vcpu.extras.held = afterwards;
    const bool entry_announced = answer_by_core(vcpu);
    vcpu.extras.held = false;
    return afterwards ? show_afterwards(vcpu, shown, entry_announced) : entry_announced;
}

}  // namespace hv::core
