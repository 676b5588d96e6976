// SPDX-License-Identifier: MIT
#include "hv/core/vcpu/stepped_instruction.hpp"

#include <span>

#include "hv/core/emulate/code_mode.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/exceptions.hpp"

namespace hv::core {
namespace {

using emulate::Instruction;
using emulate::OpcodeMap;
using x86::Rflags;

NextInstruction interrupt(const Instruction& instruction, std::uint64_t vector)
{
    return {SteppedInstruction::software_interrupt, instruction.length, static_cast<std::uint8_t>(vector)};
}

NextInstruction interrupt_on_overflow(const Vcpu& vcpu, const Instruction& instruction)
{
    constexpr auto overflow = static_cast<std::uint8_t>(x86::Exception::OF);
    return Rflags::OF::get(vcpu.registers.rflags) ? interrupt(instruction, overflow) : NextInstruction{};
}

/// [APM3-3.35 STI].  Where it has a fault, or sets VIF, it is like any other.
NextInstruction set_interrupt_flag(const Vcpu& vcpu, const Instruction& instruction)
{
    const std::uint64_t flags = vcpu.registers.rflags;
    const bool sets = !Rflags::IF::get(flags) && !Rflags::VM::get(flags) && *vcpu.live.privilege_level <= Rflags::IOPL::get(flags) &&
                      (instruction.prefixes & emulate::prefix::lock) == 0;
    return sets ? NextInstruction{SteppedInstruction::sets_interrupt_flag, instruction.length, 0} : NextInstruction{};
}

NextInstruction kind_of_primary(const Vcpu& vcpu, const Instruction& instruction)
{
    switch (instruction.opcode) {
    case 0x9c: return {.kind = SteppedInstruction::stores_flags};
    case 0x9d:
    case 0xcf: return {.kind = SteppedInstruction::loads_flags};
    case 0xcc: return interrupt(instruction, static_cast<std::uint8_t>(x86::Exception::BP));
    case 0xcd: return interrupt(instruction, instruction.immediate);
    case 0xce: return interrupt_on_overflow(vcpu, instruction);
    case 0xfb: return set_interrupt_flag(vcpu, instruction);
    case 0xf1: return {.kind = SteppedInstruction::untraced};
    default: return {};
    }
}

/// DR6, or DR4 that may be a name of it.
bool is_status_register(const Instruction& instruction)
{
    return instruction.reg_index() == 6 || instruction.reg_index() == 4;
}

NextInstruction kind_of_two_bytes(const Instruction& instruction)
{
    switch (instruction.opcode) {
    case 0x05: return {.kind = SteppedInstruction::system_call};
    case 0x07: return {.kind = SteppedInstruction::system_return};
    case 0x21: return {.kind = is_status_register(instruction) ? SteppedInstruction::reads_status : SteppedInstruction::plain};
    case 0x23: return {.kind = is_status_register(instruction) ? SteppedInstruction::writes_status : SteppedInstruction::plain};
    default: return {};
    }
}

NextInstruction kind_of(const Vcpu& vcpu, const Instruction& instruction)
{
    if (instruction.map == OpcodeMap::primary)
        return kind_of_primary(vcpu, instruction);
    return instruction.map == OpcodeMap::legacy_0f ? kind_of_two_bytes(instruction) : NextInstruction{};
}

/// No trap comes between it and the next one.
bool switches_stack(const Instruction& instruction)
{
    constexpr std::uint8_t move_to_segment{0x8e}, pop_stack_segment{0x17};
    constexpr unsigned stack_segment{2};
    return instruction.map == OpcodeMap::primary &&
           (instruction.opcode == pop_stack_segment ||
            (instruction.opcode == move_to_segment && instruction.reg() == stack_segment));
}

}  // namespace

NextInstruction next_instruction(Vcpu& vcpu, const ExecutionContext& context)
{
    const auto code = read_code(vcpu, context);
    if (!code)
        return {};
    const emulate::Mode mode = emulate::mode_of(context);
    auto decoded = emulate::decode(code.value(), mode);
    if (!decoded)
        return {};
    const bool joined = switches_stack(decoded.value());
    if (joined)
        decoded = emulate::decode(code.value().subspan(decoded.value().length), mode);
    if (!decoded)
        return {};
    const NextInstruction next = kind_of(vcpu, decoded.value());
    if (next.kind == SteppedInstruction::sets_interrupt_flag && joined)
        return {};
    const bool injectable = !joined && !Rflags::VM::get(vcpu.registers.rflags);
    if (next.kind == SteppedInstruction::software_interrupt && !injectable)
        return {.kind = SteppedInstruction::untraced};
    return next;
}

}  // namespace hv::core
