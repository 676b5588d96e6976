// SPDX-License-Identifier: MIT
//
// RDMSR and WRMSR: the local APIC's, the extensions', those of the control block, and a short list of the core's own.
// What is on no list raises #GP.  Names: [APM2-3.41 Appendix A], [SDM4-083 chapter 2].
#include "hv/core/vcpu/exit_handlers.hpp"

#include "hv/core/domain/domain.hpp"
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/machine.hpp"
#include "hv/x86/msr.hpp"

namespace hv::core {
namespace {

constexpr std::uint32_t number(x86::Msr msr) { return static_cast<std::uint32_t>(msr); }

enum : std::uint32_t {
    TSC_ADJUST = 0x3b,           ///< what writes of the time-stamp counter have added to it [SDM3-083 "IA32_TSC_ADJUST"]
    TSC_DEADLINE = 0x6e0,
    PATCH_LEVEL = 0x8b,          ///< microcode revision
    INT_PENDING = 0xc001'0055,   ///< interrupt pending message: C1E
    DE_CFG = 0xc001'1029,
};
constexpr std::uint64_t de_cfg_lfence_serializing{1 << 1};
constexpr std::uint64_t hwcr_writable{1 << 6 | 1 << 8};  // FFDIS and IgnneEm have no effect in a guest

/// MSRs that read as a constant and whose write is accepted where it changes nothing.
struct ConstantMsr {
    std::uint32_t msr;
    std::uint64_t value;
};
constexpr ConstantMsr constant_msrs[]{
    {PATCH_LEVEL, 0},
    {number(x86::Msr::SYSCFG), 0},
    {INT_PENDING, 0},
    {DE_CFG, de_cfg_lfence_serializing},
};

const ConstantMsr* constant_msr(std::uint32_t msr)
{
    for (const ConstantMsr& constant : constant_msrs)
        if (constant.msr == msr)
            return &constant;
    return nullptr;
}

Answered read_own(Vcpu& vcpu, std::uint32_t msr, std::uint64_t& value)
{
    switch (msr) {
    case number(x86::Msr::TSC): value = vcpu.guest_tsc(platform::ticks()); return Answered::done;
    case number(x86::Msr::APIC_BASE): value = vcpu.apic.apic_base(); return Answered::done;
    case number(x86::Msr::HWCR): value = vcpu.hwcr; return Answered::done;
    case TSC_ADJUST: value = vcpu.tsc_delta; return vcpu.domain.cpuid.has_tsc_adjust() ? Answered::done : Answered::fault;
    case TSC_DEADLINE: {
        const auto deadline = vcpu.apic.read_tsc_deadline();
        value = deadline.value_or(0);
        return deadline ? Answered::done : Answered::fault;
    }
    default: break;
    }
    if (const ConstantMsr* const constant = constant_msr(msr)) {
        value = constant->value;
        return Answered::done;
    }
    const auto held = machine().hvm.read_msr(vcpu, msr);
    if (!held)
        return Answered::fault;
    value = held.value();
    return Answered::done;
}

Answered write_tsc(Vcpu& vcpu, std::uint64_t value)
{
    const std::uint64_t before = vcpu.guest_tsc(platform::ticks());
    vcpu.tsc_delta += value - before;
    vcpu.tsc_offset = vcpu.domain.time.tsc_offset() + vcpu.tsc_delta;
    machine().hvm.set_tsc_offset(vcpu, vcpu.tsc_offset);
    vcpu.apic.tsc_moved(before, value);
    arm_apic_timer(vcpu);
    return Answered::done;
}

Answered write_own(Vcpu& vcpu, std::uint32_t msr, std::uint64_t value)
{
    const std::uint64_t now = vcpu.guest_tsc(platform::ticks());
    switch (msr) {
    case number(x86::Msr::TSC): return write_tsc(vcpu, value);
    case TSC_ADJUST:
        return vcpu.domain.cpuid.has_tsc_adjust() ? write_tsc(vcpu, now + value - vcpu.tsc_delta) : Answered::fault;
    case number(x86::Msr::APIC_BASE): return write_apic_base(vcpu, value) ? Answered::done : Answered::fault;
    case TSC_DEADLINE:
        return apply_apic_effect(vcpu, vcpu.apic.write_tsc_deadline(value, now)) ? Answered::done : Answered::fault;
    case number(x86::Msr::HWCR):
        if ((value & ~hwcr_writable) != 0)
            return Answered::fault;
        vcpu.hwcr = value;
        return Answered::done;
    default: break;
    }
    if (const ConstantMsr* const constant = constant_msr(msr))
        return value == constant->value ? Answered::done : Answered::fault;
    return machine().hvm.write_msr(vcpu, msr, value) ? Answered::done : Answered::fault;
}

Answered read_x2apic(Vcpu& vcpu, std::uint32_t msr, std::uint64_t& value)
{
    fetch_task_priority(vcpu);
    const std::uint64_t now = LocalApic::counts(msr) ? vcpu.guest_tsc(platform::ticks()) : 0;
    return vcpu.apic.read_msr(msr, now, value) ? Answered::done : Answered::fault;
}

}  // namespace

bool finish_msr_read(Vcpu& vcpu, Answered answer, std::uint64_t& value)
{
    if (answer == Answered::no)
        answer = read_own(vcpu, static_cast<std::uint32_t>(vcpu.registers.general[rcx]), value);
    if (answer == Answered::fault)
        raise_general_protection(vcpu);
    return answer == Answered::done;
}

bool finish_msr_write(Vcpu& vcpu, Answered answer, std::uint64_t value)
{
    if (answer == Answered::no)
        answer = write_own(vcpu, static_cast<std::uint32_t>(vcpu.registers.general[rcx]), value);
    if (answer == Answered::fault)
        raise_general_protection(vcpu);
    return answer == Answered::done;
}

Answered write_x2apic(Vcpu& vcpu, std::uint32_t msr, std::uint64_t value)
{
    const ApicEffect effect = vcpu.apic.write_msr(msr, value, vcpu.guest_tsc(platform::ticks()));
    if (effect.kind != ApicEffect::Kind::none && !apply_apic_effect(vcpu, effect))
        return Answered::fault;
    if (vcpu.apic.task_priority() >> 4 != *vcpu.live.task_priority)
        store_task_priority(vcpu);
    return Answered::done;
}

void handle_msr_read(Vcpu& vcpu, const Exit& exit)
{
    const std::uint8_t length = length_of(vcpu, exit, emulate::Intercepted::rdmsr);
    if (length == 0)
        return;
    const auto msr = static_cast<std::uint32_t>(vcpu.registers.general[rcx]);
    vcpu.exits.msrs.reads.count(msr);
    std::uint64_t value{};
    Answered answer{Answered::no};
    if (is_x2apic(msr))
        answer = read_x2apic(vcpu, msr, value);
    else if (vcpu.domain.extensions != nullptr)
        answer = vcpu.domain.extensions->read_msr(vcpu, msr, value);
    if (answer != Answered::done && !finish_msr_read(vcpu, answer, value)) [[unlikely]]
        return;
    write_pair(vcpu, value);
    vcpu.advance(length);
}

void handle_msr_write(Vcpu& vcpu, const Exit& exit)
{
    const std::uint8_t length = length_of(vcpu, exit, emulate::Intercepted::wrmsr);
    if (length == 0)
        return;
    const auto msr = static_cast<std::uint32_t>(vcpu.registers.general[rcx]);
    vcpu.exits.msrs.writes.count(msr);
    const std::uint64_t value = read_pair(vcpu);
    Answered answer{Answered::no};
    if (is_x2apic(msr))
        answer = write_x2apic(vcpu, msr, value);
    else if (vcpu.domain.extensions != nullptr)
        answer = vcpu.domain.extensions->write_msr(vcpu, msr, value);
    if (answer != Answered::done && !finish_msr_write(vcpu, answer, value)) [[unlikely]]
        return;
    vcpu.advance(length);
}

}  // namespace hv::core
