// SPDX-License-Identifier: MIT
//
// CPUID and MSRs of the control domain, and what every instruction's exit needs: its bytes, its length, its
// end.
#include "hv/arch/x86/control_domain/control_domain.hpp"
#include "hv/arch/x86/control_domain/cpuid_view.hpp"
#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/arch/x86/cpu/msr_access.hpp"
#include "hv/core/emulate/code_mode.hpp"
#include "hv/x86/exceptions.hpp"
#include "hv/x86/msr.hpp"

namespace hv::control_domain {

namespace {

constexpr std::uint64_t low_half{0xffff'ffff};

bool within(std::uint32_t msr, x86::Msr first, x86::Msr last)
{
    return msr >= static_cast<std::uint32_t>(first) && msr <= static_cast<std::uint32_t>(last);
}

bool is_memory_type(std::uint32_t msr)
{
    return within(msr, x86::Msr::MTRRphysBase0, x86::Msr::MTRRphysMask7) ||
           within(msr, x86::Msr::MTRRfix64K_00000, x86::Msr::MTRRfix4K_F8000) ||
           within(msr, x86::Msr::MTRRdefType, x86::Msr::MTRRdefType);
}

}  // namespace

std::span<const std::byte> ControlDomain::code()
{
    core::ExecutionContext execution{};
    setup_.hvm.read_context(context_, execution);
    std::uint32_t fault{};
    const auto bytes = reader_.read(memory_, ram_map_.generation().load(std::memory_order_relaxed), execution,
                                    context_.registers.rip, fault);
    return bytes ? bytes.value() : std::span<const std::byte>{};
}

void ControlDomain::advance(std::uint64_t next_rip)
{
    context_.registers.rip = next_rip;
    context_.end_instruction();
}

/// Steps over the instruction that exited.  False: its bytes are not (or no longer) that instruction, and the
/// processor is to look at them again.
bool ControlDomain::skip(const core::Exit& exit, core::emulate::Intercepted which)
{
    std::uint64_t length = exit.instruction_length;
    if (length == 0) {
        core::ExecutionContext execution{};
        setup_.hvm.read_context(context_, execution);
        const auto found = core::emulate::instruction_length(which, code(), core::emulate::mode_of(execution));
        if (!found)
            return false;
        length = found.value();
    }
    advance(context_.registers.rip + length);
    return true;
}

void ControlDomain::raise(x86::Exception vector, bool has_error_code)
{
    setup_.hvm.inject(context_,
                      {core::EventKind::exception, static_cast<std::uint8_t>(vector), has_error_code, 0});
}

void ControlDomain::answer_cpuid(const core::Exit& exit)
{
    if (!skip(exit, core::emulate::Intercepted::cpuid))
        return;
    auto& general = context_.registers.general;
    const auto leaf = static_cast<std::uint32_t>(general[core::rax]);
    core::ExecutionContext execution{};
    setup_.hvm.read_context(context_, execution);
    const CpuidView view{execution.cr4, x86::ApicBase::EXTD::get(x86::read_msr(x86::Msr::APIC_BASE))};
    const x86::CpuidResult result =
        view_cpuid(leaf, x86::cpuid(leaf, static_cast<std::uint32_t>(general[core::rcx])), view);
    general[core::rax] = result.eax;
    general[core::rbx] = result.ebx;
    general[core::rcx] = result.ecx;
    general[core::rdx] = result.edx;
}

void ControlDomain::answer_msr(const core::Exit& exit, bool write)
{
    using core::emulate::Intercepted;
    auto& general = context_.registers.general;
    const auto msr = static_cast<std::uint32_t>(general[core::rcx]);
    if (write) {
        const std::uint64_t value = general[core::rdx] << 32 | (general[core::rax] & low_half);
        if (!write_msr(msr, value))
            return raise(x86::Exception::GP, true);
        (void)skip(exit, Intercepted::wrmsr);
        return;
    }
    const auto value = read_msr(msr);
    if (!value)
        return raise(x86::Exception::GP, true);
    if (!skip(exit, Intercepted::rdmsr))
        return;
    general[core::rax] = value.value() & low_half;
    general[core::rdx] = value.value() >> 32;
}

Expected<std::uint64_t> ControlDomain::read_msr(std::uint32_t msr)
{
    const auto held = setup_.hvm.read_msr(context_, msr);
    if (held || held.error() != Error::not_found)
        return held;
    if (msr == static_cast<std::uint32_t>(x86::Msr::VM_HSAVE_PA))
        return Error::permission_denied;
    return x86::read_msr_safe(msr);
}

Status ControlDomain::write_msr(std::uint32_t msr, std::uint64_t value)
{
    if (msr == static_cast<std::uint32_t>(x86::Msr::EFER))
        return setup_.hvm.write_msr(context_, msr, value);
    const auto now = x86::read_msr_safe(msr);
    if (!now)
        return now.error();
    if (now.value() == value)
        return Done{};
    switch (static_cast<x86::Msr>(msr)) {
    case x86::Msr::VM_CR:
    case x86::Msr::VM_HSAVE_PA:
    case x86::Msr::APIC_BASE:
        refused_msr_.log(core::LogLevel::warning, "dom0 may not write ", Hex{value}, " to MSR ", Hex{msr});
        return Error::permission_denied;
    // A processor whose memory types are changed and changed back for a moment is none the worse for having
    // kept them.
    case x86::Msr::MTRRdefType: return Done{};
    default: break;
    }
    const bool is_ours = is_memory_type(msr) || within(msr, x86::Msr::SYSCFG, x86::Msr::PATCH_LOADER);
    if (!is_ours)
        return x86::write_msr_safe(msr, value);
    refused_msr_.log(core::LogLevel::warning, "dom0's write of ", Hex{value}, " to MSR ", Hex{msr},
                     " has no effect");
    return Done{};
}

}  // namespace hv::control_domain
