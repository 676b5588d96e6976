// SPDX-License-Identifier: MIT
#include "hook_call.hpp"

#include "failure.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/machine.hpp"
#include "hv/x86/exceptions.hpp"
#include "stack.hpp"

namespace hv::core {

constinit HookCall hook_calls[platform::maximum_processors]{};
constinit HookSpeech hook_speech[platform::maximum_processors]{};
constinit AwaitedTurns awaited_turns[platform::maximum_processors]{};

namespace {

constexpr std::uint32_t bit(abi::VerdictKind kind)
{
    return 1u << static_cast<unsigned>(kind);
}
constexpr std::uint32_t bits(auto... kinds)
{
    return (bit(kinds) | ...);
}

using enum abi::VerdictKind;
constexpr std::uint32_t of_creation{bits(done, refuse)};
constexpr std::uint32_t of_end{bits(done)};
constexpr std::uint32_t of_event{bits(done, abi::VerdictKind::pause, crash)};
constexpr std::uint32_t of_access{bits(done, not_mine, inject, abi::VerdictKind::pause, crash)};

struct HookRule {
    const char* name;
    std::uint32_t verdicts;
};

/// Which verdicts are legal, by Hook.
constexpr HookRule rules[abi::hook_count]{
    {"parameter_set", of_creation},
    {"domain_create", of_creation},
    {"domain_destroy", of_end},
    {"vcpu_initialise", of_creation},
    {"vcpu_reset", of_event},
    {"vcpu_destroy", of_end},
    {"cpuid", of_access},
    {"msr_read", of_access | bit(block)},
    {"msr_write", of_access},
    {"hypercall_page", of_creation},
    {"hypercall", of_access | bits(again, block)},
    {"hypercall_continue", (of_access & ~bit(not_mine)) | bits(again, block)},
    {"timer", of_event},
    {"mmio_read", of_access},
    {"mmio_write", of_access},
    {"port_read", of_access},
    {"port_write", of_access},
    {"channel_message", of_event},
    {"before_entry", of_event},
    {"interrupt_window", of_event},
    {"interrupt_accepted", of_event},
    {"interrupt_ended", of_event},
    {"run_state_changed", of_event},
    {"freeze", of_event},
    {"thaw", of_event},
    {"export_state", of_creation},
    {"import_state", of_creation},
    {"exit", of_access | bit(again)},
};

const HookRule& rule_of(Hook hook)
{
    return rules[static_cast<unsigned>(hook)];
}

/// A fault that an instruction can raise by itself, with an error code where the processor pushes one
/// [SDM3-083 §6.3.1].
bool is_legal_exception(std::uint32_t detail)
{
    const auto vector = static_cast<x86::Exception>(detail & 0xff);
    const bool has_code = (detail >> 8 & 1) != 0;
    if ((detail & 0xfe00) != 0 || (!has_code && detail >> 16 != 0))
        return false;
    using enum x86::Exception;
    for (const x86::Exception one : {DE, UD})
        if (vector == one)
            return !has_code;
    for (const x86::Exception one : {GP, SS, NP, TS, AC})
        if (vector == one)
            return has_code;
    return false;
}

/// What a verdict of the exit hook may say is a matter of the subscription that it was called for.
bool allows(const HookCall& call, ExitRule what)
{
    return (call.vcpu->exit_rules & what) != 0;
}

bool may_keep_rip(const HookCall& call, abi::Verdict verdict)
{
    if (call.hook == Hook::exit)
        return allows(call, exit_may_answer) && is_well(verdict);
    return call.hook == Hook::hypercall || call.hook == Hook::hypercall_continue;
}

bool may_inject(const HookCall& call, abi::Verdict verdict)
{
    return is_legal_exception(verdict.detail) && (call.hook != Hook::exit || allows(call, exit_may_raise));
}

bool may_be_asked_again(const HookCall& call)
{
    return call.hook == Hook::exit ? allows(call, exit_may_poll) : call.binding->hooks.hypercall_continue != nullptr;
}

bool is_legal(const HookCall& call, abi::Verdict verdict)
{
    const auto kind = static_cast<unsigned>(verdict.kind);
    if (kind > static_cast<unsigned>(refuse) || (rule_of(call.hook).verdicts >> kind & 1) == 0 ||
        (verdict.flags & ~abi::verdict_known_flags) != 0)
        return false;
    if ((verdict.flags & abi::verdict_keep_rip) != 0 && !may_keep_rip(call, verdict))
        return false;
    if (verdict.kind == inject)
        return may_inject(call, verdict);
    return verdict.kind != again || may_be_asked_again(call);
}

/// Returns when this VCPU has left the guest that it was in at `turn`, or was not in it.
void wait_until_outside(const Vcpu& vcpu, std::uint64_t turn)
{
    while ((turn & 1) != 0 && vcpu.guest_turns.load(std::memory_order_acquire) == turn)
        __builtin_ia32_pause();
}

/// No VCPU waits here while it is in the guest itself, so two that wait for each other do not wait for ever.  Nor is one waited
/// for that has left for its kick and is back: its turn is of before the kick, and it may not leave again.
void wait_for_others(const HookCall& call, std::uint64_t vcpus)
{
    const Domain& domain = call.binding->domain;
    for (unsigned index = 0; index < domain.vcpu_count(); ++index)
        if ((vcpus >> index & 1) != 0 && (call.vcpu == nullptr || &domain.vcpu(index) != &call.vcpu->vcpu))
            wait_until_outside(domain.vcpu(index), current_turns().of[index]);
}

/// What the hook asked for at its return.  Its locks are released.
void finish(HookCall& call)
{
    Domain& domain = call.binding->domain;
    if ((call.after & HookCall::guest_map_changed) != 0) {
        std::atomic_thread_fence(std::memory_order_seq_cst);  // the map before the turns
        for (unsigned index = 0; index < domain.vcpu_count(); ++index)
            current_turns().of[index] = domain.vcpu(index).guest_turns.load();
        domain.kick_all();
        wait_for_others(call, ~0ull);
    }
    if ((call.after & HookCall::flushed) != 0)
        wait_for_others(call, call.flushed_vcpus);
    if ((call.after & HookCall::ends_domain) != 0)
        domain.end(call.end_reason, {current_speech().end_text, call.end_text_length});
    if ((call.after & HookCall::yields) != 0) {
        machine().scheduler.end_slice();
        machine().here().attention.store(true, std::memory_order_release);
    }
}

/// "extension NAME: " and the sentence of the hook, or what its verdict did and the module's own number.
void write_reason(TextWriter& text, const Binding& binding, std::string_view deed, std::uint32_t detail)
{
    say(text, "extension ", binding.name(), ": ");
    const std::string_view words = explained();
    if (words.empty())
        say(text, deed, " (", detail, ")");
    else
        say(text, words);
}

void end_by_module(Binding& binding, std::uint32_t detail)
{
    BoundedText<maximum_end_text> text;
    write_reason(text, binding, "crashed the domain", detail);
    binding.domain.end(EndReason::crash, text.view());
}

void pause_by_module(Binding& binding, std::uint32_t detail)
{
    BoundedText<maximum_end_text> text;
    write_reason(text, binding, "paused the domain", detail);
    binding.domain.request_pause(text.view());
}

/// Interrupts that came while the module ran were taken there, where they could end neither guest mode nor a halt: the main loop
/// looks for what they stood for, and so does the VCPU before it enters the guest.
void look_for_interrupts(const HookCall& call)
{
    machine().here().attention.store(true, std::memory_order_release);
    if (call.vcpu != nullptr)
        call.vcpu->vcpu.mark(VcpuRequest::look);
}

/// An instance that failed before: nobody answers.
abi::Verdict skip_call(HookCall& call)
{
    Binding* const failed = std::exchange(call.binding, nullptr);
    if (failed->serial)
        failed->serial_lock.unlock();
    return verdict_of_failed(*failed, call.hook);
}

}  // namespace

const char* name_of(Hook hook)
{
    return rule_of(hook).name;
}

abi::Verdict call_isolated(HookCall& call, Seat& seat, std::uint64_t function, const HookWords& arguments)
{
    Binding& binding = *call.binding;
    if (binding.route.load(std::memory_order_acquire) != Route::gate) [[unlikely]]
        return skip_call(call);
    *seat.return_slot = platform::isolated_return();
    const platform::HookOutcome outcome = platform::run_isolated_hook(
        binding.isolated->space, {.function = function,
                                  .stack = seat.stack,
                                  .arguments = {seat.context, arguments[0], arguments[1], arguments[2], arguments[3]}});
    if (outcome.interrupted) [[unlikely]]
        look_for_interrupts(call);
    if (outcome.end != platform::HookEnd::returned) [[unlikely]]
        return fail_by_fault(call, outcome.end);
    return end_call(call, outcome.verdict);
}

abi::Verdict end_thrown_out(HookCall& call)
{
    return fail_by_fault(call, platform::last_hook_end());
}

abi::Verdict judge_call(HookCall& call, abi::Verdict verdict)
{
    Binding& binding = *call.binding;
    if (!is_legal(call, verdict)) [[unlikely]]
        return fail_by_verdict(call, verdict);
    if (call.vcpu != nullptr && (verdict.flags & abi::verdict_unchanged) == 0)
        call.vcpu->state.keep();
    if ((call.after & HookCall::domain_updated) != 0) {
        binding.state.keep_word_by_word();
        binding.state_lock.unlock();
    }
    if ((call.after & HookCall::serialised) != 0)
        binding.serial_lock.unlock();
    if ((call.after & ~HookCall::serialised) != 0) [[unlikely]]
        finish(call);
    call.binding = nullptr;
    return verdict;
}

void settle(Binding& binding, abi::Verdict verdict)
{
    if (verdict.kind == abi::VerdictKind::pause)
        pause_by_module(binding, verdict.detail);
    else if (verdict.kind == crash)
        end_by_module(binding, verdict.detail);
}

Answered settle_rare(VcpuBinding& vcpu, abi::Verdict verdict)
{
    switch (verdict.kind) {
    case done: return Answered::done;
    case not_mine: return Answered::no;
    case inject: {
        const auto vector = static_cast<std::uint8_t>(verdict.detail);
        if ((verdict.detail >> 8 & 1) != 0)
            vcpu.vcpu.raise(vector, verdict.detail >> 16);
        else
            vcpu.vcpu.raise(vector);
        return Answered::taken;
    }
    case block: block_vcpu(vcpu); return Answered::done;
    case abi::VerdictKind::pause: pause_by_module(vcpu.binding, verdict.detail); return Answered::done;
    case crash: end_by_module(vcpu.binding, verdict.detail); return Answered::taken;
    case again:
    case refuse: break;
    }
    return Answered::taken;  // a retry
}

}  // namespace hv::core
