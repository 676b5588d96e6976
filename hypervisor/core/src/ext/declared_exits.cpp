// SPDX-License-Identifier: MIT
//
// The short way of the exits that guests make most: a declared leaf or MSR, at an instruction that has made an exit before.
// Each function here decides whether it can answer before it changes anything; whatever is not as expected goes the general
// way from its start.  None calls a function but as its last deed, so that none keeps registers for it: every instruction here is
// paid at each such exit.
#include "hv/core/vcpu/exit_answer.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

template <typename Answer>
const Answer* find_msr(const DeclaredTable<Answer>& table, const Window& window, std::uint32_t msr)
{
    const std::uint32_t offset = msr - static_cast<std::uint32_t>(window.base);
    return table.find(offset, window.binding->conditions, [](const Answer&) { return true; });
}

const Window* find_block(const WindowMap& windows, std::uint32_t leaf)
{
    const std::uint32_t block = (leaf - std::uint32_t{abi::cpuid_first_block}) / std::uint32_t{abi::cpuid_block_stride};
    const Window* const window = block < WindowMap::cpuid_blocks ? windows.cpuid[block] : nullptr;
    return window != nullptr && leaf - static_cast<std::uint32_t>(window->base) < window->length ? window : nullptr;
}

[[gnu::noinline]] bool general_read(Vcpu& vcpu)
{
    return answer_by<handle_msr_read>(vcpu);
}
[[gnu::noinline]] bool general_write(Vcpu& vcpu)
{
    return answer_by<handle_msr_write>(vcpu);
}
[[gnu::noinline]] bool general_cpuid(Vcpu& vcpu)
{
    return answer_by<handle_cpuid>(vcpu);
}

inline bool give(Vcpu& vcpu, std::uint64_t value)
{
    vcpu.registers.general[rax] = static_cast<std::uint32_t>(value);
    vcpu.registers.general[rdx] = value >> 32;
    vcpu.advance_plainly(vcpu.exit.instruction_length);
    return goes_on(vcpu);
}

[[gnu::noinline]] bool give_time(Vcpu& vcpu, std::uint64_t multiplier, std::uint32_t shift, std::uint64_t addend)
{
    return give(vcpu, scaled_time(vcpu, multiplier, shift, addend));
}

[[gnu::noinline]] bool read_x2apic(Vcpu& vcpu, std::uint32_t msr)
{
    fetch_task_priority(vcpu);
    std::uint64_t value{};
    if (LocalApic::counts(msr) || !vcpu.apic.read_msr(msr, 0, value) || !vcpu.exits.msrs.reads.count_at_once(msr))
        [[unlikely]]
        return general_read(vcpu);
    return give(vcpu, value);
}

[[gnu::noinline]] bool take_x2apic(Vcpu& vcpu, std::uint32_t msr, std::uint64_t value)
{
    vcpu.exits.msrs.writes.count(msr);
    if (write_x2apic(vcpu, msr, value) == Answered::done) [[likely]]
        vcpu.advance(vcpu.exit.instruction_length);
    else
        raise_general_protection(vcpu);
    return goes_on(vcpu);
}

[[gnu::noinline]] bool take(Vcpu& vcpu, abi::MsrWriteKind kind, std::uint64_t value)
{
    if (kind == abi::MsrWriteKind::apic_eoi) {
        end_interrupt(vcpu);
        vcpu.advance_plainly(vcpu.exit.instruction_length);
        return goes_on(vcpu);
    }
    if (answer_write(vcpu, kind, value) == Answered::done) [[likely]]
        vcpu.advance(vcpu.exit.instruction_length);
    else
        raise_general_protection(vcpu);
    return goes_on(vcpu);
}

}  // namespace

bool answer_msr_read(Vcpu& vcpu)
{
    const auto msr = static_cast<std::uint32_t>(vcpu.registers.general[rcx]);
    const ExtensionStack* const extensions = vcpu.domain.extensions;
    if (!find_length_at_once(vcpu, emulate::Intercepted::rdmsr)) [[unlikely]]
        return general_read(vcpu);
    if (is_x2apic(msr))
        return read_x2apic(vcpu, msr);
    if (extensions == nullptr) [[unlikely]]
        return general_read(vcpu);
    const Window* const window = WindowMap::find(extensions->implementation().windows.msrs, msr);
    if (window == nullptr) [[unlikely]]
        return general_read(vcpu);
    const DeclaredReading reading{window->binding->declare_sequence};
    const MsrReadAnswer* const found = find_msr(window->reads, *window, msr);
    if (found == nullptr) [[unlikely]]
        return general_read(vcpu);
    const abi::MsrReadKind kind = found->kind;
    const std::uint32_t argument = found->argument;
    std::uint64_t value = found->value;
    if (kind == abi::MsrReadKind::scaled_time) {
        const std::uint64_t addend = found->addend;
        if (!reading.holds() || !vcpu.exits.msrs.reads.count_at_once(msr)) [[unlikely]]
            return general_read(vcpu);
        return give_time(vcpu, value, argument, addend);
    }
    if (kind == abi::MsrReadKind::vcpu_field)
        value = read_field(vcpu, static_cast<abi::VcpuField>(argument));
    else if (kind != abi::MsrReadKind::constant) [[unlikely]]
        return general_read(vcpu);
    if (!reading.holds() || !vcpu.exits.msrs.reads.count_at_once(msr)) [[unlikely]]
        return general_read(vcpu);
    return give(vcpu, value);
}

bool answer_msr_write(Vcpu& vcpu)
{
    const auto msr = static_cast<std::uint32_t>(vcpu.registers.general[rcx]);
    const std::uint64_t value = static_cast<std::uint32_t>(vcpu.registers.general[rax]) |
                                vcpu.registers.general[rdx] << 32;
    const ExtensionStack* const extensions = vcpu.domain.extensions;
    if (!find_length_at_once(vcpu, emulate::Intercepted::wrmsr)) [[unlikely]]
        return general_write(vcpu);
    if (is_x2apic(msr))
        return take_x2apic(vcpu, msr, value);
    if (extensions == nullptr) [[unlikely]]
        return general_write(vcpu);
    const Window* const window = WindowMap::find(extensions->implementation().windows.msrs, msr);
    if (window == nullptr) [[unlikely]]
        return general_write(vcpu);
    const DeclaredReading reading{window->binding->declare_sequence};
    const MsrWriteAnswer* const found = find_msr(window->writes, *window, msr);
    if (found == nullptr) [[unlikely]]
        return general_write(vcpu);
    const abi::MsrWriteKind kind = found->kind;
    const std::uint64_t writable = found->writable;
    if (!reading.holds() || (value & ~writable) != 0 || !vcpu.exits.msrs.writes.count_at_once(msr)) [[unlikely]]
        return general_write(vcpu);
    return take(vcpu, kind, value);
}

bool answer_cpuid(Vcpu& vcpu)
{
    const auto leaf = static_cast<std::uint32_t>(vcpu.registers.general[rax]);
    const ExtensionStack* const extensions = vcpu.domain.extensions;
    if (!find_length_at_once(vcpu, emulate::Intercepted::cpuid) || extensions == nullptr) [[unlikely]]
        return general_cpuid(vcpu);
    const Window* const window = find_block(extensions->implementation().windows, leaf);
    if (window == nullptr) [[unlikely]]
        return general_cpuid(vcpu);
    const DeclaredReading reading{window->binding->declare_sequence};
    const LeafAnswer* const found = find_leaf(*window, leaf - static_cast<std::uint32_t>(window->base),
                                              static_cast<std::uint32_t>(vcpu.registers.general[rcx]));
    if (found == nullptr || found->field != abi::VcpuField::none) [[unlikely]]
        return general_cpuid(vcpu);
    const abi::CpuidResult values = found->values;
    if (!reading.holds()) [[unlikely]]
        return general_cpuid(vcpu);
    vcpu.registers.general[rax] = values.eax;
    vcpu.registers.general[rbx] = values.ebx;
    vcpu.registers.general[rcx] = values.ecx;
    vcpu.registers.general[rdx] = values.edx;
    vcpu.advance_plainly(vcpu.exit.instruction_length);
    return goes_on(vcpu);
}

}  // namespace hv::core
