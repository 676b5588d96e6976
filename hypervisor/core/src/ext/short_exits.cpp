// SPDX-License-Identifier: MIT
//
// The short way of the exits that guests make most: a leaf or an MSR of an extension, at an instruction that has made an exit
// before.  Each function here decides whether it can answer before it changes anything; whatever is not as expected goes the
// general way from its start.  None calls a function but as its last deed, so that none keeps registers for it: every instruction
// here is paid at each such exit.
#include "ask.hpp"
#include "hv/core/vcpu/exit_answer.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "hv/x86/local_apic.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

template <typename Answer>
const Answer* find_msr(const DeclaredTable<Answer>& table, const Window& window, const Binding& binding, std::uint32_t msr)
{
    const std::uint32_t offset = msr - static_cast<std::uint32_t>(window.base);
    return table.find(offset, binding.conditions, [](const Answer&) { return true; });
}

std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }

const Window* find_block(const WindowMap& windows, std::uint32_t leaf)
{
    const std::uint32_t block = (leaf - std::uint32_t{abi::cpuid_first_block}) / std::uint32_t{abi::cpuid_block_stride};
    return block < WindowMap::cpuid_blocks ? windows.cpuid[block] : nullptr;
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
    write_pair(vcpu, value);
    vcpu.advance_plainly(vcpu.exit.instruction_length);
    return goes_on(vcpu);
}

[[gnu::noinline]] bool give_time(Vcpu& vcpu, std::uint64_t multiplier, std::uint32_t shift, std::uint64_t addend)
{
    return give(vcpu, scaled_time(vcpu, multiplier, shift, addend));
}

constexpr std::uint64_t highest_task_priority{0xff};
constexpr auto task_priority_register = static_cast<std::uint32_t>(x86::ApicRegister::TPR);

[[gnu::noinline]] bool give_task_priority(Vcpu& vcpu)
{
    fetch_task_priority(vcpu);
    return give(vcpu, vcpu.apic.task_priority());
}

// What nobody declared is the module's hook to answer.  `ended`: of the look that found nothing, or what it goes by.

bool still_holds(const Window& window, std::uint32_t ended)
{
    return DeclaredReading{window.binding->declare_sequence, ended}.holds();
}

[[gnu::noinline]] bool ask_for_read(Vcpu& vcpu, const Window& window, std::uint32_t ended)
{
    const std::uint32_t msr = low(vcpu.registers.general[rcx]);
    if (!still_holds(window, ended) || !vcpu.exits.msrs.reads.count_at_once(msr)) [[unlikely]]
        return general_read(vcpu);
    std::uint64_t value{};
    const Answered answered = ask_msr_read(window.binding->of(vcpu), window, msr, value);
    if (answered != Answered::done && !finish_msr_read(vcpu, answered, value)) [[unlikely]]
        return goes_on(vcpu);
    write_pair(vcpu, value);
    vcpu.advance(vcpu.exit.instruction_length);  // the hook may have written the flags
    return goes_on(vcpu);
}

[[gnu::noinline]] bool ask_for_write(Vcpu& vcpu, const Window& window, std::uint32_t ended)
{
    const std::uint32_t msr = low(vcpu.registers.general[rcx]);
    const std::uint64_t value = read_pair(vcpu);
    if (!still_holds(window, ended) || !vcpu.exits.msrs.writes.count_at_once(msr)) [[unlikely]]
        return general_write(vcpu);
    const Answered answered = ask_msr_write(window.binding->of(vcpu), window, msr, value);
    if (answered == Answered::done || finish_msr_write(vcpu, answered, value)) [[likely]]
        vcpu.advance(vcpu.exit.instruction_length);
    return goes_on(vcpu);
}

[[gnu::noinline]] bool ask_for_leaf(Vcpu& vcpu, const Window& window, std::uint32_t ended)
{
    if (!still_holds(window, ended)) [[unlikely]]
        return general_cpuid(vcpu);
    const std::uint32_t place = low(vcpu.registers.general[rax]) - low(window.base);
    x86::CpuidResult result;
    const auto subleaf = low(vcpu.registers.general[rcx]);
    const Answered answered = ask_cpuid(window.binding->of(vcpu), window, place, subleaf, result);
    if (answered == Answered::done || finish_cpuid(vcpu, answered, result)) [[likely]] {
        write_leaf(vcpu, result);
        vcpu.advance(vcpu.exit.instruction_length);
    }
    return goes_on(vcpu);
}

[[gnu::noinline]] bool read_other_x2apic(Vcpu& vcpu, std::uint32_t msr)
{
    std::uint64_t value{};
    if (LocalApic::counts(msr) || !vcpu.apic.read_msr(msr, 0, value) || !vcpu.exits.msrs.reads.count_at_once(msr))
        [[unlikely]]
        return general_read(vcpu);
    return give(vcpu, value);
}

[[gnu::noinline]] bool read_x2apic(Vcpu& vcpu, std::uint32_t msr)
{
    fetch_task_priority(vcpu);
    const std::optional<std::uint64_t> value = vcpu.apic.read_msr_at_once(msr);
    if (!value)
        return read_other_x2apic(vcpu, msr);
    if (!vcpu.exits.msrs.reads.count_at_once(msr)) [[unlikely]]
        return general_read(vcpu);
    return give(vcpu, *value);
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

/// Where it is not the core's to do, the module's hook is asked as for any MSR that nobody declared.
[[gnu::noinline]] bool take_deadline(Vcpu& vcpu, const Window& window, abi::DeadlinePlaces places, std::uint32_t ended)
{
    if (!still_holds(window, ended)) [[unlikely]]
        return general_write(vcpu);
    if (!move_deadline(window.binding->of(vcpu), places, read_pair(vcpu))) [[unlikely]]
        return ask_for_write(vcpu, window, ended);
    vcpu.exits.msrs.writes.count(low(vcpu.registers.general[rcx]));
    vcpu.advance_plainly(vcpu.exit.instruction_length);
    return goes_on(vcpu);
}

[[gnu::noinline]] bool take(Vcpu& vcpu, abi::MsrWriteKind kind, std::uint64_t value)
{
    if (kind == abi::MsrWriteKind::apic_eoi) {
        end_interrupt(vcpu);
        vcpu.advance_plainly(vcpu.exit.instruction_length);
        return goes_on(vcpu);
    }
    if (kind == abi::MsrWriteKind::apic_tpr && value <= highest_task_priority) {
        vcpu.apic.set_task_priority(static_cast<std::uint8_t>(value));
        store_task_priority(vcpu);
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
    const auto msr = low(vcpu.registers.general[rcx]);
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
    const Binding& binding = *window->binding;
    const DeclaredReading reading{binding.declare_sequence};
    const MsrReadAnswer* const found = find_msr(window->reads, *window, binding, msr);
    if (found == nullptr) [[unlikely]]
        return ask_for_read(vcpu, *window, reading.ended());
    const abi::MsrReadKind kind = found->kind;
    const std::uint32_t argument = found->argument;
    std::uint64_t value = found->value;
    if (kind == abi::MsrReadKind::scaled_time) {
        const std::uint64_t addend = found->addend;
        if (!reading.holds() || !vcpu.exits.msrs.reads.count_at_once(msr)) [[unlikely]]
            return general_read(vcpu);
        return give_time(vcpu, value, argument, addend);
    }
    if (kind == abi::MsrReadKind::vcpu_field) {
        value = read_field(vcpu, static_cast<abi::VcpuField>(argument));
    } else if (kind != abi::MsrReadKind::constant) {
        if (kind != abi::MsrReadKind::apic_register || argument != task_priority_register || !reading.holds() ||
            !vcpu.exits.msrs.reads.count_at_once(msr)) [[unlikely]]
            return general_read(vcpu);
        return give_task_priority(vcpu);
    }
    if (!reading.holds() || !vcpu.exits.msrs.reads.count_at_once(msr)) [[unlikely]]
        return general_read(vcpu);
    return give(vcpu, value);
}

bool answer_msr_write(Vcpu& vcpu)
{
    const auto msr = low(vcpu.registers.general[rcx]);
    const std::uint64_t value = read_pair(vcpu);
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
    const Binding& binding = *window->binding;
    const DeclaredReading reading{binding.declare_sequence};
    const MsrWriteAnswer* const found = find_msr(window->writes, *window, binding, msr);
    if (found == nullptr) [[unlikely]]
        return ask_for_write(vcpu, *window, reading.ended());
    const abi::MsrWriteKind kind = found->kind;
    const std::uint64_t writable = found->writable;
    if (kind == abi::MsrWriteKind::deadline && (value & ~writable) == 0)
        return take_deadline(vcpu, *window, found->deadline, reading.ended());
    if (!reading.holds() || (value & ~writable) != 0 || !vcpu.exits.msrs.writes.count_at_once(msr)) [[unlikely]]
        return general_write(vcpu);
    return take(vcpu, kind, value);
}

bool answer_cpuid(Vcpu& vcpu)
{
    const std::uint32_t leaf = low(vcpu.registers.general[rax]);
    const ExtensionStack* const extensions = vcpu.domain.extensions;
    if (!find_length_at_once(vcpu, emulate::Intercepted::cpuid) || extensions == nullptr) [[unlikely]]
        return general_cpuid(vcpu);
    const Window* const window = find_block(extensions->implementation().windows, leaf);
    if (window == nullptr) [[unlikely]]
        return general_cpuid(vcpu);
    const std::uint32_t place = leaf - low(window->base);
    if (place >= window->length) [[unlikely]]
        return general_cpuid(vcpu);
    const Binding& binding = *window->binding;
    const DeclaredReading reading{binding.declare_sequence};
    const LeafAnswer* const found =
        window->leaves.find(place, binding.conditions, OfSubleaf{low(vcpu.registers.general[rcx])});
    if (found == nullptr) [[unlikely]]
        return ask_for_leaf(vcpu, *window, reading.ended());
    if (found->field != abi::VcpuField::none) [[unlikely]]
        return general_cpuid(vcpu);
    const abi::CpuidResult values = found->values;
    if (!reading.holds()) [[unlikely]]
        return general_cpuid(vcpu);
    write_leaf(vcpu, {values.eax, values.ebx, values.ecx, values.edx});
    vcpu.advance_plainly(vcpu.exit.instruction_length);
    return goes_on(vcpu);
}

}  // namespace hv::core
