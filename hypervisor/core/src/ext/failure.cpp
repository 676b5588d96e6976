// SPDX-License-Identifier: MIT
#include "failure.hpp"

#include "hv/core/ext/failure_report.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/machine.hpp"
#include "hv/x86/exceptions.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

using FailureText = BoundedText<maximum_end_text>;

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

void follow_policy(Binding& binding, std::string_view text)
{
    Domain& domain = binding.domain;
    switch (binding.options.on_fault) {
    case OnFault::detach: return;
    case OnFault::pause: domain.request_pause(text); return;
    case OnFault::restart:
    case OnFault::crash: domain.end(EndReason::crash, text); return;
    }
}

void keep_report(const HookCall& call, const TextWriter& text, const platform::HookFault* fault)
{
    Domain& domain = call.binding->domain;
    if (!domain.extensions->reports().add(call, text.view(), fault, is_of_bind(call.hook)))
        log_warning("domain ", domain.id, ": no memory to keep a report of this");
}

/// The first failure counts: what follows from it elsewhere is no news.
abi::Verdict end_instance(HookCall& call, const TextWriter& text, const platform::HookFault* fault)
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
    if (binding.route.exchange(Route::ended) != Route::ended) {
        close(binding);
        binding.failure.clear();
        binding.failure.append(text.view());
        log_error("domain ", binding.domain.id, ": ", text.view());
        if (fault != nullptr)
            log_registers(binding, *fault);
        keep_report(call, text, fault);
        if (!is_of_bind(call.hook))
            follow_policy(binding, text.view());
    }
    call.binding = nullptr;
    return is_of_bind(call.hook) ? abi::Verdict{} : verdict_of_nobody(call.hook);
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

abi::Verdict verdict_of_nobody(Hook hook)
{
    switch (hook) {
    case Hook::msr_read:
    case Hook::msr_write: return abi::inject_general_protection;
    case Hook::hypercall: return abi::not_mine;
    case Hook::hypercall_continue: return abi::inject_undefined_opcode;
    default: return abi::done_unchanged;
    }
}

}  // namespace hv::core
