// SPDX-License-Identifier: MIT
#include "hv/core/vcpu/machine_status.hpp"

#include "hv/core/domain/domain.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/memory/guest_walk.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "hv/core/vcpu/operand_access.hpp"
#include "hv/x86/control_registers.hpp"

namespace hv::core {
namespace {

constexpr std::uint64_t status_bits{0xf};        // PE, MP, EM, TS
constexpr std::uint64_t replaced_bits{0xe};      // LMSW can set PE and cannot clear it
constexpr unsigned memory_operand_bytes{2};

bool in_register(const emulate::Instruction& instruction) { return instruction.mod() == 3; }

/// Where the memory operand is: a MOV with the same one is planned.
Expected<GuestLinear> operand_address(Vcpu& vcpu, const ExecutionContext& context, emulate::Instruction instruction, bool write)
{
    constexpr std::uint8_t move_to_memory{0x89}, move_from_memory{0x8b}, register_field{0x38};
    instruction.map = emulate::OpcodeMap::primary;
    instruction.opcode = write ? move_to_memory : move_from_memory;
    instruction.modrm = static_cast<std::uint8_t>(instruction.modrm & ~register_field);
    instruction.rex = static_cast<std::uint8_t>(instruction.rex & ~emulate::rex::r);
    instruction.operand_size = memory_operand_bytes;
    const auto planned = emulate::plan(instruction, vcpu.registers, segments_of(vcpu, context, instruction));
    if (!planned)
        return planned.error();
    return write ? planned.value().write_address : planned.value().read_address;
}

/// Of memory, by the guest's tables, with the fault where there is one.  False: it has been raised.
bool access_memory(Vcpu& vcpu, const ExecutionContext& context, const emulate::Instruction& instruction, bool write,
                   std::uint64_t& value)
{
    const auto linear = operand_address(vcpu, context, instruction, write);
    if (!linear) {
        raise_general_protection(vcpu);
        return false;
    }
    const AccessOutcome outcome = access_linear(vcpu, context, linear.value(), memory_operand_bytes, write, value);
    if (outcome == AccessOutcome::fault)
        raise_general_protection(vcpu);
    return outcome == AccessOutcome::done;
}

std::uint64_t loaded(std::uint64_t cr0, std::uint64_t source) { return (cr0 & ~replaced_bits) | (source & status_bits); }

void write_control_0(Vcpu& vcpu, const emulate::Instruction& instruction, std::uint64_t value)
{
    if (machine().hvm.write_control_0(vcpu, value))
        vcpu.advance(instruction.length);
    else
        raise_general_protection(vcpu);
}

void load_status(Vcpu& vcpu, const ExecutionContext& context, const emulate::Instruction& instruction)
{
    std::uint64_t source{};
    if (in_register(instruction))
        source = vcpu.registers.general[instruction.rm_index()];
    else if (!access_memory(vcpu, context, instruction, false, source))
        return;
    write_control_0(vcpu, instruction, loaded(context.cr0, source));
}

}  // namespace

StatusInstruction status_instruction(const emulate::Instruction& instruction)
{
    constexpr std::uint8_t group_7{0x01}, clts{0x06};
    if (instruction.map != emulate::OpcodeMap::legacy_0f)
        return StatusInstruction::none;
    if (instruction.opcode == clts)
        return StatusInstruction::clear_task_switched;
    if (instruction.opcode != group_7)
        return StatusInstruction::none;
    return instruction.reg() == 4   ? StatusInstruction::store
           : instruction.reg() == 6 ? StatusInstruction::load
                                    : StatusInstruction::none;
}

bool is_permitted(const ExecutionContext& context, StatusInstruction which)
{
    return context.privilege_level == 0 ||
           (which == StatusInstruction::store && !x86::Cr4::UMIP::get(context.cr4));
}

Expected<std::uint64_t> new_control_0(Vcpu& vcpu, const ExecutionContext& context, const emulate::Instruction& instruction)
{
    if (status_instruction(instruction) == StatusInstruction::clear_task_switched)
        return context.cr0 & ~x86::Cr0::TS::mask;
    if (in_register(instruction))
        return loaded(context.cr0, vcpu.registers.general[instruction.rm_index()]);
    const auto linear = HV_TRY(operand_address(vcpu, context, instruction, false));
    const auto walk = walk_guest_tables(vcpu.domain.memory.guest(), context, linear, {});
    std::uint8_t source{};  // all four bits are in the first byte
    if (!walk || !vcpu.domain.memory.guest().read(walk->address, std::as_writable_bytes(std::span{&source, 1})))
        return Error::not_found;
    return loaded(context.cr0, source);
}

bool store_status(Vcpu& vcpu, const ExecutionContext& context, const emulate::Instruction& instruction, std::uint64_t value)
{
    if (!in_register(instruction))
        return access_memory(vcpu, context, instruction, true, value);
    std::uint64_t& to = vcpu.registers.general[instruction.rm_index()];
    switch (instruction.operand_size) {
    case 2: to = (to & ~0xffffull) | (value & 0xffff); break;
    case 4: to = value & 0xffff'ffff; break;
    default: to = value; break;
    }
    return true;
}

void handle_status_instruction(Vcpu& vcpu, const ExecutionContext& context, const emulate::Instruction& instruction)
{
    const StatusInstruction which = status_instruction(instruction);
    if (!is_permitted(context, which))
        return raise_general_protection(vcpu);
    switch (which) {
    case StatusInstruction::none: return;
    case StatusInstruction::clear_task_switched:
        return write_control_0(vcpu, instruction, context.cr0 & ~x86::Cr0::TS::mask);
    case StatusInstruction::load: return load_status(vcpu, context, instruction);
    case StatusInstruction::store:
        if (store_status(vcpu, context, instruction, context.cr0))
            vcpu.advance(instruction.length);
        return;
    }
}

}  // namespace hv::core
