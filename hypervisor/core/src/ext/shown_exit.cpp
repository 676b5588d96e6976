// SPDX-License-Identifier: MIT
//
// From an exit to the frame that modules are shown.  To read it: describe() at the end.
#include "shown_exit.hpp"

#include "guest_mode.hpp"
#include "hv/core/domain/domain.hpp"
#include "hv/core/emulate/code_mode.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "hv/core/vcpu/machine_status.hpp"

namespace hv::core {
namespace {

constexpr std::uint64_t low_half{0xffff'ffff};
constexpr std::uint64_t string_port{1 << 24};

/// The instruction of an exit, where its length is all that is to be known of it.
struct PlainInstruction {
    ExitKind exit;
    abi::ExitKind kind;
    emulate::Intercepted which;
};
constexpr PlainInstruction plain_instructions[]{
    {ExitKind::cpuid, abi::ExitKind::cpuid, emulate::Intercepted::cpuid},
    {ExitKind::msr_read, abi::ExitKind::msr, emulate::Intercepted::rdmsr},
    {ExitKind::msr_write, abi::ExitKind::msr, emulate::Intercepted::wrmsr},
    {ExitKind::halt, abi::ExitKind::halt, emulate::Intercepted::hlt},
    {ExitKind::pause, abi::ExitKind::pause, emulate::Intercepted::pause},
    {ExitKind::invalidate_page, abi::ExitKind::invalidate_page, emulate::Intercepted::invlpg},
};

/// False: the bytes are no longer that instruction, the guest executes what is there now.
bool describe_plain(Vcpu& vcpu, const Exit& exit, const PlainInstruction& plain, abi::ExitFrame& frame)
{
    frame.kind = plain.kind;
    frame.instruction_length = length_of(vcpu, exit, plain.which);
    const auto counter = static_cast<std::uint32_t>(vcpu.registers.general[rcx]);
    if (plain.kind == abi::ExitKind::cpuid) {
        frame.number = static_cast<std::uint32_t>(vcpu.registers.general[rax]);
        frame.value = counter;
    } else if (plain.kind == abi::ExitKind::msr) {
        frame.number = counter;
        frame.write = exit.kind == ExitKind::msr_write ? 1 : 0;
        frame.value = frame.write != 0 ? read_pair(vcpu) : 0;
    }
    return frame.instruction_length != 0;
}

void describe_port(const Vcpu& vcpu, const PortAccess& access, Shown& shown)
{
    abi::ExitFrame& frame = shown.frame;
    frame.kind = abi::ExitKind::port;
    frame.number = access.port | std::uint64_t{access.size} << 16 | (access.string ? string_port : 0);
    frame.write = access.in ? 0 : 1;
    const std::uint64_t mask = low_half >> (32 - 8 * access.size);
    frame.value = access.in || access.string ? 0 : vcpu.registers.general[rax] & mask;
    frame.instruction_length = static_cast<std::uint32_t>(access.next_rip - vcpu.registers.rip);
    shown.repeats = access.string;
}

void describe_exception(const ExceptionExit& exception, abi::ExitFrame& frame)
{
    frame.kind = abi::ExitKind::exception;
    frame.number = exception.vector;
    frame.value = exception.error_code;
}

/// RAM that is not there yet is the core's business: the access comes again.
bool describe_page(const Vcpu& vcpu, const NestedFault& fault, abi::ExitFrame& frame)
{
    DomainMemory& memory = vcpu.domain.memory;
    if (memory.is_ram(fault.address) && !memory.map().lookup(fault.address))
        return false;
    frame.kind = abi::ExitKind::page_watch;
    frame.number = fault.address.page_number();
    frame.value = fault.address.raw() | (fault.table_walk ? abi::exit_table_walk : 0);
    frame.write = fault.execute && !fault.table_walk ? abi::exit_fetch : fault.write ? 1 : 0;
    return true;
}

bool describe_read_tsc(const emulate::Instruction& instruction, abi::ExitFrame& frame)
{
    frame.kind = abi::ExitKind::read_tsc;
    return instruction.opcode == 0x31;  // RDTSCP is the core's alone
}

/// MOV to and from a control register.
bool describe_control(const Vcpu& vcpu, const emulate::Instruction& instruction, Shown& shown)
{
    constexpr std::uint8_t from_control{0x20}, to_control{0x22};
    if (instruction.opcode != from_control && instruction.opcode != to_control)
        return false;
    abi::ExitFrame& frame = shown.frame;
    const bool locked = (instruction.prefixes & emulate::prefix::lock) != 0;  // CR8 outside 64-bit mode
    frame.kind = abi::ExitKind::control_register;
    frame.number = instruction.reg_index() + (locked ? 8u : 0u);
    frame.write = instruction.opcode == to_control ? 1 : 0;
    frame.value = frame.write != 0 ? vcpu.registers.general[instruction.rm_index()] & width_mask(frame.mode) : 0;
    shown.result_register = instruction.rm_index();
    return true;
}

/// CLTS and LMSW are writes of CR0, with all of what they would make of it; SMSW is a read.
bool describe_status(Vcpu& vcpu, const ExecutionContext& context, const emulate::Instruction& instruction, Shown& shown)
{
    const StatusInstruction which = status_instruction(instruction);
    if (!is_permitted(context, which))
        return false;
    const bool stores = which == StatusInstruction::store;
    abi::ExitFrame& frame = shown.frame;
    frame.kind = abi::ExitKind::control_register;
    frame.write = stores ? 0 : 1;
    shown.status = instruction;
    if (stores)
        return true;
    const auto value = new_control_0(vcpu, context, instruction);
    frame.value = value ? value.value() : 0;
    return value.has_value();
}

/// MOV to and from a debug register, where it is one: DR4 and DR5 are names of DR6 and DR7 unless CR4.DE forbids them
/// [SDM3-083 §18.2.2].
bool describe_debug(const Vcpu& vcpu, const ExecutionContext& context, const emulate::Instruction& instruction, Shown& shown)
{
    constexpr std::uint8_t from_debug{0x21}, to_debug{0x23};
    const unsigned named = instruction.reg_index();
    const bool alias = named == 4 || named == 5;
    if ((instruction.opcode != from_debug && instruction.opcode != to_debug) || named > 7 ||
        (alias && x86::Cr4::DE::get(context.cr4)) || context.privilege_level != 0)
        return false;
    abi::ExitFrame& frame = shown.frame;
    frame.kind = abi::ExitKind::debug_register;
    frame.number = named + (alias ? 2u : 0u);
    frame.write = instruction.opcode == to_debug ? 1 : 0;
    frame.value = frame.write != 0 ? vcpu.registers.general[instruction.rm_index()] & width_mask(frame.mode) : 0;
    shown.result_register = instruction.rm_index();
    return true;
}

/// What its opcode alone does not say all about; false for all else.
bool describe_decoded(Vcpu& vcpu, const Exit& exit, const ExecutionContext& context, Shown& shown)
{
    const auto code = read_code(vcpu, context);
    if (!code)
        return false;
    const auto decoded = emulate::decode(code.value(), emulate::mode_of(context));
    if (!decoded || decoded.value().map != emulate::OpcodeMap::legacy_0f)
        return false;
    const emulate::Instruction& instruction = decoded.value();
    shown.frame.instruction_length = instruction.length;
    if (exit.kind == ExitKind::read_tsc)
        return describe_read_tsc(instruction, shown.frame);
    if (exit.kind == ExitKind::debug_register)
        return describe_debug(vcpu, context, instruction, shown);
    return status_instruction(instruction) != StatusInstruction::none ? describe_status(vcpu, context, instruction, shown)
                                                                      : describe_control(vcpu, instruction, shown);
}

}  // namespace

void describe_state(const Vcpu& vcpu, const ExecutionContext& context, abi::ExitFrame& frame)
{
    frame.mode = mode_of(context, vcpu.registers.rflags);
    frame.cpl = frame.mode == abi::GuestMode::real ? 0 : context.privilege_level;
    frame.rip = vcpu.registers.rip;
    frame.rflags = vcpu.registers.rflags;
    for (unsigned index = 0; index < general_registers; ++index)
        frame.general[index] = vcpu.registers.general[index] & width_mask(frame.mode);
}

bool describe(Vcpu& vcpu, const Exit& exit, Shown& shown)
{
    ExecutionContext context;  // filled in whole
    machine().hvm.read_context(vcpu, context);
    abi::ExitFrame& frame = shown.frame;
    describe_state(vcpu, context, frame);
    if (exit.kind == ExitKind::nested_fault)
        return describe_page(vcpu, exit.fault, frame);
    if (exit.kind == ExitKind::port) {
        describe_port(vcpu, exit.port, shown);
        return true;
    }
    if (exit.kind == ExitKind::exception) {
        describe_exception(exit.exception, frame);
        return true;
    }
    for (const PlainInstruction& plain : plain_instructions)
        if (plain.exit == exit.kind)
            return describe_plain(vcpu, exit, plain, frame);
    return describe_decoded(vcpu, exit, context, shown);
}

bool matches(const abi::ExitSubscription& wanted, const abi::ExitFrame& frame)
{
    const std::uint64_t number = frame.kind == abi::ExitKind::port ? frame.number & 0xffff : frame.number;
    const std::uint32_t directions = wanted.flags & (abi::exit_reads | abi::exit_writes | abi::exit_executes);
    const std::uint32_t direction = frame.write == abi::exit_fetch ? abi::exit_executes
                                    : frame.write != 0             ? abi::exit_writes
                                                                   : abi::exit_reads;
    return wanted.kind == frame.kind && number >= wanted.first && number <= wanted.last &&
           (directions == 0 || (directions & direction) != 0);
}

}  // namespace hv::core
