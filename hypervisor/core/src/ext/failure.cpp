// SPDX-License-Identifier: MIT
#include "failure.hpp"

#include "hv/core/ext/failure_report.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/machine.hpp"
#include "hv/x86/exceptions.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

using FailureText = BoundedText<maximum_failure_text>;

const char* exception_name(std::uint32_t vector)
{
    using enum x86::Exception;
    switch (static_cast<x86::Exception>(vector)) {
    case DE: return "divide error";
    case DB: return "debug exception";
    case UD: return "undefined instruction";
    case NM: return "floating-point or vector instruction";
    case SS: return "stack fault";
    case GP: return "general protection";
    case PF: return "page fault";
    case AC: return "alignment check";
    default: return "exception";
    }
}

void say_place(TextWriter& text, const Binding& binding, std::uint64_t rip)
{
    say(text, " at ", Hex{rip});
    if (const auto symbol = binding.module.verified().symbolise(binding.image, rip))
        say(text, " (", symbol->name, '+', Hex{symbol->offset}, ')');
}

void say_fault(TextWriter& text, const Binding& binding, platform::HookEnd end, const platform::HookFault& fault)
{
    switch (end) {
    case platform::HookEnd::fault:
        say(text, exception_name(fault.vector), " (vector ", fault.vector, ", code ", Hex{fault.error_code}, ")");
        if (fault.vector == static_cast<std::uint32_t>(x86::Exception::PF))
            say(text, " on ", Hex{fault.address});
        break;
    case platform::HookEnd::over_budget: say(text, "ran longer than a hook may"); break;
    case platform::HookEnd::closed: say(text, "thrown out"); break;
    case platform::HookEnd::returned: return;
    }
    say_place(text, binding, fault.rip);
}

void log_registers(const Binding& binding, const platform::HookFault& fault)
{
    static constexpr const char* names[]{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                         "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    for (unsigned row = 0; row < std::size(names); row += 4) {
        BoundedText<200> line;
        for (unsigned index = row; index < row + 4; ++index)
            say(line, ' ', names[index], ' ', Hex{fault.general[index], 16});
        log_error("domain ", binding.domain.id, ", extension ", binding.name(), ':', line.view());
    }
}

/// The hook's part of the state, and the locks that it held.
void take_back(HookCall& call)
{
    Binding& binding = *call.binding;
    if (call.vcpu != nullptr)
        call.vcpu->state.take_back();
    if ((call.after & HookCall::domain_updated) != 0) {
        binding.state.take_back();
        call.after &= ~HookCall::domain_updated;
        binding.state_lock.unlock();
    }
    if (binding.serial)
        binding.serial_lock.unlock();
}

/// Nobody enters it any more, and who is inside is thrown out at the interrupt that this sends.
void close(Binding& binding)
{
    if (binding.isolated == nullptr)
        return;
    binding.isolated->space.closed.store(true, std::memory_order_release);
    const unsigned self = platform::current_processor();
    for (unsigned processor = 1; processor < platform::processor_count(); ++processor)
        if (processor != self)
            platform::wake(processor);
}

/// Called before there is a guest: its failure is the bind's.
bool is_of_bind(Hook hook)
{
    return hook == Hook::parameter_set || hook == Hook::domain_create || hook == Hook::hypercall_page ||
           hook == Hook::vcpu_initialise;
}

/// Called when there is no guest any more: nothing follows.
bool is_of_end(Hook hook)
{
    return hook == Hook::vcpu_destroy || hook == Hook::domain_destroy;
}

/// The control server carries out what is left to do (ExtensionStack::carry_out_failures).
void ask_control_server(Domain& domain)
{
    if (Domain::on_request != nullptr)
        Domain::on_request(domain);
}

/// Until the control server has put the next instance there, no VCPU runs.
void ask_for_restart(Domain& domain)
{
    for (unsigned index = 0; index < domain.vcpu_count(); ++index)
        machine().scheduler.block(domain.vcpu(index), Blocker::restarting);
    ask_control_server(domain);
}

/// Restarts that come too fast are no help: the next severer action is.
OnFault action_after(Binding& binding, TextWriter& text)
{
    const OnFault wanted = binding.options.on_fault;
    if (binding.rolls_back) {
        say(text, "; it is on probation, and rolled back");
        return OnFault::restart;
    }
    if (wanted != OnFault::restart || binding.holdings.restarts.allow(platform::ticks(), platform::ticks_per_second()))
        return wanted;
    say(text, "; restarted ", Restarts::most, " times in ", Restarts::window_ns / 1'000'000, " ms, so it is detached");
    return OnFault::detach;
}

void follow(Binding& binding, OnFault action, std::string_view text)
{
    Domain& domain = binding.domain;
    switch (action) {
    case OnFault::restart: return ask_for_restart(domain);
    case OnFault::detach:
        if (binding.options.on_fault == OnFault::restart)
            log_error("domain ", domain.id, ": extension ", binding.name(), " was restarted ", Restarts::most, " times in ",
                      Restarts::window_ns / 1'000'000, " ms, and is detached");
        detach(binding);
        return ask_control_server(domain);
    case OnFault::pause:
        detach(binding);  // so the domain goes on where the operator lets it
        domain.request_pause(text);
        return;
    case OnFault::crash: domain.end(EndReason::crash, text); return;
    }
}

void keep_report(const HookCall& call, const TextWriter& text, const platform::HookFault* fault, OnFault action)
{
    Domain& domain = call.binding->domain;
    if (!domain.extensions->reports().add(call, text.view(), fault, action, is_of_bind(call.hook)))
        log_warning("domain ", domain.id, ": no memory to keep all of this for the operator");
}

/// True for whoever is first to say that the instance has failed.
bool claim_failure(Binding& binding, Route next)
{
    Route before = binding.route.load();
    while (before != Route::restarting && before != Route::ended)
        if (binding.route.compare_exchange_weak(before, next))
            return true;
    return false;
}

void report(const HookCall& call, const TextWriter& text, const platform::HookFault* fault, OnFault action)
{
    Binding& binding = *call.binding;
    binding.failure.clear();
    binding.failure.append(text.view());
    log_error("domain ", binding.domain.id, ": ", text.view());
    if (fault != nullptr && (is_of_bind(call.hook) || is_of_end(call.hook)))
        log_registers(binding, *fault);  // the report goes with the domain, which is not there for long
    keep_report(call, text, fault, action);
}

/// The first failure counts: what follows from it elsewhere is no news.
abi::Verdict end_instance(HookCall& call, TextWriter& text, const platform::HookFault* fault)
{
    Binding& binding = *call.binding;
    take_back(call);
    if (rehearses(call)) {  // a trial's failure is the swap's alone
        log_error("domain ", binding.domain.id, ": ", text.view());
        if (binding.rehearsing) {
            binding.failure.append(text.view());
            binding.route.store(Route::ended);
        }
        call.binding = nullptr;
        return {};
    }
    const bool alone = is_of_bind(call.hook) || is_of_end(call.hook);
    const bool rolls_back = !alone && binding.holdings.on_probation(platform::ticks());
    const bool restarts = rolls_back || (!alone && binding.options.on_fault == OnFault::restart);
    if (claim_failure(binding, restarts ? Route::restarting : Route::ended)) {
        binding.rolls_back = rolls_back;
        close(binding);
        const OnFault action = alone ? OnFault::detach : action_after(binding, text);
        if (action != OnFault::restart)
            binding.route.store(Route::ended);
        report(call, text, fault, action);
        if (!alone)
            follow(binding, action, text.view());
        if (binding.route.load() == Route::ended)
            renew_subscriptions(binding.domain);
    }
    call.binding = nullptr;
    return is_of_bind(call.hook) ? abi::Verdict{} : verdict_of_failed(binding, call.hook);
}

}  // namespace

abi::Verdict fail_by_verdict(HookCall& call, abi::Verdict verdict)
{
    FailureText text;
    say(text, "bad verdict from module ", call.binding->name(), " in hook ", name_of(call.hook), " (kind ",
        static_cast<unsigned>(verdict.kind), ", flags ", Hex{verdict.flags}, ", detail ", Hex{verdict.detail}, ")");
    return end_instance(call, text, nullptr);
}

abi::Verdict fail_by_fault(HookCall& call, platform::HookEnd end)
{
    const platform::HookFault& fault = platform::last_hook_fault();
    call.event->verdict = HookEvent::thrown_out;
    FailureText text;
    say(text, "module ", call.binding->name(), " failed in hook ", name_of(call.hook), ": ");
    say_fault(text, *call.binding, end, fault);
    return end_instance(call, text, &fault);
}

void detach(Binding& binding)
{
    binding.route.store(Route::ended);
    withdraw_msrs(binding);
    renew_subscriptions(binding.domain);
}

abi::Verdict verdict_of_failed(const Binding& binding, Hook hook)
{
    return binding.route.load() == Route::restarting ? retry : verdict_of_nobody(hook);
}

abi::Verdict verdict_of_nobody(Hook hook)
{
    switch (hook) {
    case Hook::msr_read:
    case Hook::msr_write: return abi::inject_general_protection;
    case Hook::exit:
    case Hook::hypercall: return abi::not_mine;
    case Hook::hypercall_continue: return abi::inject_undefined_opcode;
    default: return abi::done_unchanged;
    }
}

}  // namespace hv::core
