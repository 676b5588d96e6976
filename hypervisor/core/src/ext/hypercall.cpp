// SPDX-License-Identifier: MIT
//
// A hypercall's way to the module whose rule takes it, and its continuation: a module that answered `again` is asked once more
// before the guest executes its next instruction, with the main loop in between.
#include "hook_call.hpp"
#include "hv/core/machine.hpp"
#include "hv/x86/control_registers.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

constexpr unsigned general_registers{16};

abi::GuestMode mode_of(const ExecutionContext& context, std::uint64_t rflags)
{
    if (!x86::Cr0::PE::get(context.cr0) || x86::Rflags::VM::get(rflags))
        return abi::GuestMode::real;
    switch (context.code_bits()) {
    case 64: return abi::GuestMode::long_64;
    case 32: return abi::GuestMode::protected_32;
    default: return abi::GuestMode::protected_16;
    }
}

constexpr std::uint64_t width_mask(abi::GuestMode mode) { return mode == abi::GuestMode::long_64 ? ~0ull : 0xffff'ffff; }

void fill_frame(abi::HypercallFrame& frame, const Vcpu& vcpu, abi::GuestMode mode, std::uint32_t cpl, std::uint8_t length)
{
    const std::uint64_t mask = width_mask(mode);
    for (unsigned index = 0; index < general_registers; ++index)
        frame.general[index] = vcpu.registers.general[index] & mask;
    frame.rip = vcpu.registers.rip;
    frame.rflags = vcpu.registers.rflags;
    frame.cpl = cpl;
    frame.mode = mode;
    frame.instruction_length = length;
    for (std::uint64_t& word : frame.continuation)
        word = 0;
}

/// What the module left in the frame is the guest's; RSP is not.
void write_back(Vcpu& vcpu, const abi::HypercallFrame& frame)
{
    const std::uint64_t mask = width_mask(frame.mode);
    for (unsigned index = 0; index < general_registers; ++index)
        if (index != rsp)
            vcpu.registers.general[index] = (frame.general[index] & mask) | (vcpu.registers.general[index] & ~mask);
}

/// The verdict of `hypercall` and of `hypercall_continue`.
Answered conclude(VcpuBinding& own, abi::Verdict verdict)
{
    own.continuing = verdict.kind == abi::VerdictKind::again;
    if (own.continuing) {
        own.vcpu.entry_held = true;
        own.vcpu.request(VcpuRequest::extension);
        return Answered::taken;
    }
    if (!is_well(verdict))
        return settle(own, verdict);
    write_back(own.vcpu, own.frame);
    const Answered answered = settle(own, verdict);
    if ((verdict.flags & abi::verdict_keep_rip) == 0)
        return answered;
    own.vcpu.registers.rip = own.frame.rip;
    machine().hvm.clear_interrupt_shadow(own.vcpu);
    return Answered::taken;
}

}  // namespace

Answered ExtensionStack::hypercall(Vcpu& vcpu, const ExecutionContext& context, std::uint8_t length)
{
    const abi::GuestMode mode = mode_of(context, vcpu.registers.rflags);
    const std::uint32_t cpl = mode == abi::GuestMode::real ? 0 : context.privilege_level;
    const Window* filled_for{};
    for (const Window* const window : implementation_->windows.hypercalls) {
        VcpuBinding& own = window->binding->of(vcpu);
        if (own.binding.hooks.hypercall == nullptr)
            continue;
        if (filled_for == nullptr || filled_for->binding != window->binding) {
            fill_frame(own.frame, vcpu, mode, cpl, length);
            filled_for = window;
        }
        if (!abi::matches(window->match, mode, cpl, own.frame.general))
            continue;
        own.frame.window = window->id;
        own.hypercall_length = length;
        const Answered answered = conclude(own, call_hook(own, Hook::hypercall, own.binding.hooks.hypercall, &own.frame));
        if (answered != Answered::no)
            return answered;
        filled_for = nullptr;  // the module may have written into its frame
    }
    return Answered::no;
}

void continue_hypercall(VcpuBinding& own)
{
    own.vcpu.entry_held = false;
    const auto hook = own.binding.hooks.hypercall_continue;
    const Answered answered = conclude(own, call_hook(own, Hook::hypercall_continue, hook, &own.frame));
    if (answered == Answered::done)
        own.vcpu.advance(own.hypercall_length);
    if (!own.continuing)
        return;
    // Interrupts are taken and the main loop looks around, so that a long call holds nobody else up.
    platform::take_pending_interrupts();
    machine().here().attention.store(true, std::memory_order_relaxed);
}

}  // namespace hv::core
