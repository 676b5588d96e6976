// SPDX-License-Identifier: MIT
//
// Exits of single instructions without a device behind them: their length, CPUID, hypercalls, and moves to system
// registers.
#include "hv/core/vcpu/exit_handlers.hpp"

#include "hv/core/domain/domain.hpp"
#include "hv/core/emulate/code_mode.hpp"
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/machine_status.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/exceptions.hpp"
#include "hv/x86/msr.hpp"

namespace hv::core {

Expected<std::span<const std::byte>> read_code(Vcpu& vcpu, const ExecutionContext& context)
{
    const std::uint64_t generation = vcpu.nested_generation->load(std::memory_order_acquire);
    if (const std::byte* const known = vcpu.code.recall(generation, context, vcpu.registers.rip))
        return std::span{known, longest_instruction};
    std::uint32_t fault{};
    const DomainMemory& memory = vcpu.domain.memory;
    const auto code = vcpu.code.read(memory.guest(), generation, context, vcpu.registers.rip, fault);
    if (!code)
        return Error::not_found;
    return code.value();
}

std::uint8_t decoded_length(Vcpu& vcpu, emulate::Intercepted which)
{
    ExecutionContext context;  // filled in whole
    machine().hvm.read_context(vcpu, context);
    const auto code = read_code(vcpu, context);
    if (!code)
        return 0;
    vcpu.code.remember(vcpu, context);
    const auto length = emulate::instruction_length(which, code.value(), emulate::mode_of(context));
    return length ? static_cast<std::uint8_t>(length.value()) : std::uint8_t{0};
}

bool translate_operand(Vcpu& vcpu, const ExecutionContext& context, std::uint64_t linear, bool write,
                       LinearTranslation& to)
{
    const auto walk = walk_guest_tables(vcpu.domain.memory.guest(), context, GuestLinear{linear},
                                        {.write = write, .user = context.privilege_level == 3, .execute = false});
    if (walk) {
        to = *walk;
        return true;
    }
    SystemRegisters system{};
    machine().hvm.read_system(vcpu, system);
    system.cr2 = linear;
    if (machine().hvm.write_system(vcpu, system))
        vcpu.raise(static_cast<std::uint8_t>(x86::Exception::PF), walk.error_code());
    return false;
}

bool finish_cpuid(Vcpu& vcpu, Answered answer, x86::CpuidResult& result)
{
    if (answer != Answered::no)
        return false;
    const auto leaf = static_cast<std::uint32_t>(vcpu.registers.general[rax]);
    const auto subleaf = static_cast<std::uint32_t>(vcpu.registers.general[rcx]);
    ExecutionContext context;  // filled in whole
    machine().hvm.read_context(vcpu, context);
    const std::uint64_t xcr0 = leaf == 0xd ? machine().hvm.extended_control(vcpu) : 0;
    result = vcpu.domain.cpuid.answer(leaf, subleaf, {vcpu.id, context.cr4, xcr0});
    return true;
}

void handle_cpuid(Vcpu& vcpu, const Exit& exit)
{
    const std::uint8_t length = length_of(vcpu, exit, emulate::Intercepted::cpuid);
    if (length == 0)
        return;
    const auto leaf = static_cast<std::uint32_t>(vcpu.registers.general[rax]);
    const auto subleaf = static_cast<std::uint32_t>(vcpu.registers.general[rcx]);
    x86::CpuidResult result;
    const bool window = leaf - CpuidPolicy::hypervisor_leaf < CpuidPolicy::hypervisor_leaf_end -
                                                                  CpuidPolicy::hypervisor_leaf;
    Answered answered{Answered::no};
    if (window && vcpu.domain.extensions != nullptr)
        answered = vcpu.domain.extensions->cpuid(vcpu, leaf, subleaf, result);
    if (answered != Answered::done && !finish_cpuid(vcpu, answered, result))
        return;
    write_leaf(vcpu, result);
    vcpu.advance(length);
}

void handle_hypercall(Vcpu& vcpu, const Exit& exit)
{
    if (vcpu.domain.extensions == nullptr)
        return raise_undefined_opcode(vcpu);
    ExecutionContext context;  // filled in whole
    machine().hvm.read_context(vcpu, context);
    const std::uint8_t length = length_of(vcpu, exit, emulate::Intercepted::vmmcall);
    if (length == 0)
        return;
    finish_hypercall(vcpu, vcpu.domain.extensions->hypercall(vcpu, context, length), length);
}

void finish_hypercall(Vcpu& vcpu, Answered answer, std::uint8_t length)
{
    switch (answer) {
    case Answered::no: return raise_undefined_opcode(vcpu);
    case Answered::done: return vcpu.advance(length);
    case Answered::fault: return raise_general_protection(vcpu);
    case Answered::taken: return;
    }
}

void handle_invalidate_page(Vcpu& vcpu, const Exit& exit)
{
    const std::uint8_t length = length_of(vcpu, exit, emulate::Intercepted::invlpg);
    if (length == 0)
        return;
    machine().hvm.flush(vcpu);  // more than it asks for
    vcpu.advance(length);
}

/// Some processors report RDTSCP as RDTSC; it is there where the guest's TSC_AUX is.  CR4.TSD makes both the kernel's own
/// [SDM2-083 "RDTSC"].
void handle_read_tsc(Vcpu& vcpu, const Exit&)
{
    ExecutionContext context;  // filled in whole
    machine().hvm.read_context(vcpu, context);
    const auto code = read_code(vcpu, context);
    if (!code)
        return;
    const auto plain = emulate::instruction_length(emulate::Intercepted::rdtsc, code.value(), emulate::mode_of(context));
    const auto with_aux = emulate::instruction_length(emulate::Intercepted::rdtscp, code.value(), emulate::mode_of(context));
    if (!plain && !with_aux)
        return;  // other bytes by now
    const auto aux = plain ? Expected<std::uint64_t>{std::uint64_t{0}} : machine().hvm.read_msr(vcpu, static_cast<std::uint32_t>(x86::Msr::TSC_AUX));
    if (!aux)
        return raise_undefined_opcode(vcpu);
    if (x86::Cr4::TSD::get(context.cr4) && context.privilege_level != 0)
        return raise_general_protection(vcpu);
    write_pair(vcpu, vcpu.guest_tsc(platform::ticks()));
    if (!plain)
        vcpu.registers.general[rcx] = aux.value();
    vcpu.advance(static_cast<std::uint8_t>(plain ? plain.value() : with_aux.value()));
}

void handle_system_instruction(Vcpu& vcpu, const Exit& exit)
{
    ExecutionContext context{};
    machine().hvm.read_context(vcpu, context);
    const auto code = read_code(vcpu, context);
    if (!code)
        return;
    const auto instruction = emulate::decode(code.value(), emulate::mode_of(context));
    if (!instruction)
        return;
    if (status_instruction(instruction.value()) != StatusInstruction::none)
        return handle_status_instruction(vcpu, context, instruction.value());
    std::byte copy[longest_instruction];
    const std::uint8_t length = instruction.value().length;
    for (std::uint8_t at = 0; at < length; ++at)
        copy[at] = code.value()[at];
    const auto done = machine().hvm.emulate_system_instruction(vcpu, exit, copy, length);
    if (done)
        return vcpu.advance(length);
    if (done.error() == Error::not_supported)
        raise_undefined_opcode(vcpu);
    else if (done.error() == Error::conflict)
        vcpu.raise(static_cast<std::uint8_t>(x86::Exception::DB));
    else
        raise_general_protection(vcpu);
}

}  // namespace hv::core
