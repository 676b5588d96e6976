// SPDX-License-Identifier: MIT
//
// A hypercall's way to the module whose rule takes it, and its continuation: a module that answered `again`
// is asked once more before the guest executes its next instruction, with the main loop in between.  The call of 64-bit code
// that the first rule takes has a short way of its own, like the exits of short_exits.cpp.
#include "guest_mode.hpp"
#include "hook_call.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/exit_answer.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

/// All sixteen, by one string instruction.
void copy_registers(std::uint64_t* to, const std::uint64_t* from)
{
    std::uint64_t count{general_registers};
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

[[gnu::noinline]] void narrow(std::uint64_t* registers)
{
    for (unsigned index = 0; index < general_registers; ++index)
        registers[index] &= width_mask(abi::GuestMode::protected_32);
}

[[gnu::noinline]] void write_back_narrow(std::uint64_t* guest, const abi::HypercallFrame& frame)
{
    write_back_registers(guest, frame.general, frame.mode);
}

void fill_frame(abi::HypercallFrame& frame, const Vcpu& vcpu, abi::GuestMode mode, std::uint32_t cpl,
                std::uint8_t length)
{
    copy_registers(frame.general, vcpu.registers.general);
    if (mode != abi::GuestMode::long_64) [[unlikely]]
        narrow(frame.general);
    frame.rip = vcpu.registers.rip;
    frame.rflags = vcpu.registers.rflags;
    frame.cpl = cpl;
    frame.mode = mode;
    frame.instruction_length = length;
#pragma GCC unroll 8
    for (unsigned index = 0; index < std::size(frame.continuation); ++index)
        frame.continuation[index] = 0;
}

/// What the module left in the frame is the guest's; RSP is not.
void write_back(Vcpu& vcpu, const abi::HypercallFrame& frame)
{
    std::uint64_t* const guest = vcpu.registers.general;
    if (frame.mode != abi::GuestMode::long_64) [[unlikely]]
        return write_back_narrow(guest, frame);
    const std::uint64_t stack = guest[rsp];
    copy_registers(guest, frame.general);
    guest[rsp] = stack;
}

/// As abi::matches, on the guest's registers themselves.
bool matches(const abi::HypercallMatch& rule, abi::GuestMode mode, std::uint32_t cpl, const Vcpu& vcpu)
{
    if ((rule.modes >> static_cast<unsigned>(mode) & 1) == 0 || cpl > rule.maximum_cpl)
        return false;
    return rule.operand == abi::match_always ||
           (vcpu.registers.general[rule.operand] & width_mask(mode) & rule.mask) == rule.value;
}

void hold_call_open(VcpuBinding& own)
{
    own.vcpu.entry_held = own.continuing = true;
    own.vcpu.request(VcpuRequest::extension);
}

[[gnu::noinline]] Answered conclude_rare(VcpuBinding& own, abi::Verdict verdict)
{
    own.continuing = verdict.kind == abi::VerdictKind::again;
    if (own.continuing) {
        own.open_call = own.seat.exchange->frame;
        hold_call_open(own);
        return Answered::taken;
    }
    if (!is_well(verdict))
        return settle(own, verdict);
    write_back(own.vcpu, own.seat.exchange->frame);
    const Answered answered = settle(own, verdict);
    if ((verdict.flags & abi::verdict_keep_rip) == 0)
        return answered;
    own.vcpu.registers.rip = own.seat.exchange->frame.rip;
    own.vcpu.end_instruction();
    return Answered::taken;
}

/// The verdict of `hypercall` and of `hypercall_continue`.
inline Answered conclude(VcpuBinding& own, abi::Verdict verdict)
{
    if (verdict.kind != abi::VerdictKind::done || (verdict.flags & abi::verdict_keep_rip) != 0) [[unlikely]]
        return conclude_rare(own, verdict);
    write_back(own.vcpu, own.seat.exchange->frame);
    return Answered::done;
}

/// Asks the module of a rule that takes the call.
[[gnu::always_inline]] inline Answered ask(VcpuBinding& own, const Window& window, abi::GuestMode mode, std::uint32_t cpl,
                                           std::uint8_t length)
{
    abi::HypercallFrame& frame = own.seat.exchange->frame;
    fill_frame(frame, own.vcpu, mode, cpl, length);
    frame.window = window.id;
    own.hypercall_length = length;
    return conclude(own, call_hook(own, Hook::hypercall, own.binding.hooks.hypercall, own.seat.shown(&frame)));
}

[[gnu::noinline]] bool general_hypercall(Vcpu& vcpu) { return answer_by<handle_hypercall>(vcpu); }

/// The end of a call that the first rule took and that was not simply answered.
[[gnu::noinline]] bool finish_rare(Vcpu& vcpu, Answered answered)
{
    const std::uint8_t length = vcpu.exit.instruction_length;
    if (answered == Answered::no) {
        ExecutionContext context;  // filled in whole
        machine().hvm.read_context(vcpu, context);
        answered = vcpu.domain.extensions->hypercall(vcpu, context, length, 1);
    }
    finish_hypercall(vcpu, answered, length);
    return goes_on(vcpu);
}

}  // namespace

bool answer_hypercall(Vcpu& vcpu)
{
    const ExtensionStack* const extensions = vcpu.domain.extensions;
    if (!find_length_at_once(vcpu, emulate::Intercepted::vmmcall) || extensions == nullptr ||
        !is_64_bit_code(*vcpu.live.efer, *vcpu.live.code_attributes)) [[unlikely]]
        return general_hypercall(vcpu);
    const auto& rules = extensions->implementation().windows.hypercalls;
    if (rules.empty()) [[unlikely]]
        return general_hypercall(vcpu);
    const Window& window = *rules[0];
    VcpuBinding& own = window.binding->of(vcpu);
    const std::uint32_t cpl = *vcpu.live.privilege_level;
    constexpr auto mode = abi::GuestMode::long_64;
    if (own.binding.hooks.hypercall == nullptr || !matches(window.match, mode, cpl, vcpu)) [[unlikely]]
        return general_hypercall(vcpu);
    const Answered answered = ask(own, window, mode, cpl, vcpu.exit.instruction_length);
    if (answered != Answered::done) [[unlikely]]
        return finish_rare(vcpu, answered);
    vcpu.advance(vcpu.exit.instruction_length);
    return goes_on(vcpu);
}

Answered ExtensionStack::hypercall(Vcpu& vcpu, const ExecutionContext& context, std::uint8_t length, std::size_t asked)
{
    const abi::GuestMode mode = mode_of(context, vcpu.registers.rflags);
    const std::uint32_t cpl = mode == abi::GuestMode::real ? 0 : context.privilege_level;
    for (const Window* const window : std::span{implementation_->windows.hypercalls}.subspan(asked)) {
        VcpuBinding& own = window->binding->of(vcpu);
        if (own.binding.hooks.hypercall == nullptr || !matches(window->match, mode, cpl, vcpu))
            continue;
        const Answered answered = ask(own, *window, mode, cpl, length);
        if (answered != Answered::no)
            return answered;
    }
    return Answered::no;
}

void continue_hypercall(VcpuBinding& own)
{
    own.vcpu.entry_held = own.continuing = false;
    const auto hook = own.binding.hooks.hypercall_continue;
    const abi::Verdict verdict =
        call_hook(own, Hook::hypercall_continue, hook, own.seat.shown(&own.seat.exchange->frame));
    if (is_retry(verdict))
        return hold_call_open(own);
    const Answered answered = conclude(own, verdict);
    if (answered == Answered::done)
        own.vcpu.advance(own.hypercall_length);
    if (!own.continuing)
        return;
    // Interrupts are taken and the main loop looks around, so that a long call holds nobody else up.
    platform::take_pending_interrupts();
    machine().here().attention.store(true, std::memory_order_relaxed);
}

}  // namespace hv::core
