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

const LeafAnswer* find_leaf(const Window& window, std::uint32_t leaf, std::uint32_t subleaf)
{
    const auto of_subleaf = [=](const LeafAnswer& one) { return one.any_subleaf || one.subleaf == subleaf; };
    return window.leaves.find(leaf - static_cast<std::uint32_t>(window.base), window.binding->conditions, of_subleaf);
}

const Window* find_block(const WindowMap& windows, std::uint32_t leaf)
{
    const std::uint32_t block = (leaf - std::uint32_t{abi::cpuid_first_block}) / std::uint32_t{abi::cpuid_block_stride};
    const Window* const window = block < WindowMap::cpuid_blocks ? windows.cpuid[block] : nullptr;
    return window != nullptr && leaf - static_cast<std::uint32_t>(window->base) < window->length ? window : nullptr;
}

[[gnu::noinline]] bool general_read(Vcpu& vcpu, const Exit& exit)
{
    return answer_by<handle_msr_read>(vcpu, exit);
}
[[gnu::noinline]] bool general_write(Vcpu& vcpu, const Exit& exit)
{
    return answer_by<handle_msr_write>(vcpu, exit);
}
[[gnu::noinline]] bool general_cpuid(Vcpu& vcpu, const Exit& exit)
{
    return answer_by<handle_cpuid>(vcpu, exit);
}

inline bool give(Vcpu& vcpu, std::uint64_t value, std::uint8_t length)
{
    vcpu.registers.general[rax] = static_cast<std::uint32_t>(value);
    vcpu.registers.general[rdx] = value >> 32;
    vcpu.advance_plainly(length);
    return goes_on(vcpu);
}

/// `found` was looked up in `reading`.
[[gnu::noinline]] bool give_time(Vcpu& vcpu, const Exit& exit, std::uint8_t length, const MsrReadAnswer& found,
                                 DeclaredReading reading)
{
    const std::uint64_t multiplier = found.value, addend = found.addend;
    const std::uint32_t shift = found.argument;
    const auto msr = static_cast<std::uint32_t>(vcpu.registers.general[rcx]);
    if (!reading.holds() || !vcpu.exits.msrs.reads.count_at_once(msr)) [[unlikely]]
        return general_read(vcpu, exit);
    std::uint64_t value{};
    answer_time(vcpu, multiplier, shift, addend, value);
    return give(vcpu, value, length);
}

[[gnu::noinline]] bool read_x2apic(Vcpu& vcpu, const Exit& exit, std::uint32_t msr, std::uint8_t length)
{
    fetch_task_priority(vcpu);
    const auto value = LocalApic::counts(msr) ? std::nullopt : vcpu.apic.read_msr(msr, 0);
    if (!value || !vcpu.exits.msrs.reads.count_at_once(msr)) [[unlikely]]
        return general_read(vcpu, exit);
    return give(vcpu, *value, length);
}

[[gnu::noinline]] bool write_x2apic(Vcpu& vcpu, std::uint32_t msr, std::uint64_t value, std::uint8_t length)
{
    vcpu.exits.msrs.writes.count(msr);
    if (write_x2apic(vcpu, msr, value) == Answered::done) [[likely]]
        vcpu.advance(length);
    else
        raise_general_protection(vcpu);
    return goes_on(vcpu);
}

[[gnu::noinline]] bool take(Vcpu& vcpu, abi::MsrWriteKind kind, std::uint64_t value, std::uint8_t length)
{
    if (answer_write(vcpu, kind, value) == Answered::done) [[likely]]
        vcpu.advance(length);
    else
        raise_general_protection(vcpu);
    return goes_on(vcpu);
}

}  // namespace

bool answer_msr_read(Vcpu& vcpu, const Exit& exit)
{
    const std::uint8_t length = length_at_once(vcpu, exit, emulate::Intercepted::rdmsr);
    const auto msr = static_cast<std::uint32_t>(vcpu.registers.general[rcx]);
    const ExtensionStack* const extensions = vcpu.domain.extensions;
    if (length == 0) [[unlikely]]
        return general_read(vcpu, exit);
    if (is_x2apic(msr))
        return read_x2apic(vcpu, exit, msr, length);
    if (extensions == nullptr) [[unlikely]]
        return general_read(vcpu, exit);
    const Window* const window = WindowMap::find(extensions->implementation().windows.msrs, msr);
    if (window == nullptr) [[unlikely]]
        return general_read(vcpu, exit);
    const DeclaredReading reading{window->binding->declare_sequence};
    const MsrReadAnswer* const found = find_msr(window->reads, *window, msr);
    if (found == nullptr) [[unlikely]]
        return general_read(vcpu, exit);
    const abi::MsrReadKind kind = found->kind;
    if (kind == abi::MsrReadKind::scaled_time)
        return give_time(vcpu, exit, length, *found, reading);
    std::uint64_t value = found->value;
    if (kind == abi::MsrReadKind::vcpu_field)
        value = read_field(vcpu, static_cast<abi::VcpuField>(found->argument));
    else if (kind != abi::MsrReadKind::constant) [[unlikely]]
        return general_read(vcpu, exit);
    if (!reading.holds() || !vcpu.exits.msrs.reads.count_at_once(msr)) [[unlikely]]
        return general_read(vcpu, exit);
    return give(vcpu, value, length);
}

bool answer_msr_write(Vcpu& vcpu, const Exit& exit)
{
    const std::uint8_t length = length_at_once(vcpu, exit, emulate::Intercepted::wrmsr);
    const auto msr = static_cast<std::uint32_t>(vcpu.registers.general[rcx]);
    const std::uint64_t value = static_cast<std::uint32_t>(vcpu.registers.general[rax]) |
                                vcpu.registers.general[rdx] << 32;
    const ExtensionStack* const extensions = vcpu.domain.extensions;
    if (length == 0) [[unlikely]]
        return general_write(vcpu, exit);
    if (is_x2apic(msr))
        return write_x2apic(vcpu, msr, value, length);
    if (extensions == nullptr) [[unlikely]]
        return general_write(vcpu, exit);
    const Window* const window = WindowMap::find(extensions->implementation().windows.msrs, msr);
    if (window == nullptr) [[unlikely]]
        return general_write(vcpu, exit);
    const DeclaredReading reading{window->binding->declare_sequence};
    const MsrWriteAnswer* const found = find_msr(window->writes, *window, msr);
    if (found == nullptr) [[unlikely]]
        return general_write(vcpu, exit);
    const abi::MsrWriteKind kind = found->kind;
    const std::uint64_t writable = found->writable;
    if (!reading.holds() || (value & ~writable) != 0 || !vcpu.exits.msrs.writes.count_at_once(msr)) [[unlikely]]
        return general_write(vcpu, exit);
    return take(vcpu, kind, value, length);
}

bool answer_cpuid(Vcpu& vcpu, const Exit& exit)
{
    const std::uint8_t length = length_at_once(vcpu, exit, emulate::Intercepted::cpuid);
    const auto leaf = static_cast<std::uint32_t>(vcpu.registers.general[rax]);
    const ExtensionStack* const extensions = vcpu.domain.extensions;
    if (length == 0 || extensions == nullptr) [[unlikely]]
        return general_cpuid(vcpu, exit);
    const Window* const window = find_block(extensions->implementation().windows, leaf);
    if (window == nullptr) [[unlikely]]
        return general_cpuid(vcpu, exit);
    const DeclaredReading reading{window->binding->declare_sequence};
    const LeafAnswer* const found = find_leaf(*window, leaf, static_cast<std::uint32_t>(vcpu.registers.general[rcx]));
    if (found == nullptr || found->field != abi::VcpuField::none) [[unlikely]]
        return general_cpuid(vcpu, exit);
    const abi::CpuidResult values = found->values;
    if (!reading.holds()) [[unlikely]]
        return general_cpuid(vcpu, exit);
    vcpu.registers.general[rax] = values.eax;
    vcpu.registers.general[rbx] = values.ebx;
    vcpu.registers.general[rcx] = values.ecx;
    vcpu.registers.general[rdx] = values.edx;
    vcpu.advance_plainly(length);
    return goes_on(vcpu);
}

}  // namespace hv::core
