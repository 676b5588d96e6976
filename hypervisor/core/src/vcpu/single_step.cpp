// SPDX-License-Identifier: MIT
#include "hv/core/vcpu/single_step.hpp"

#include "hv/abi/hook_table.hpp"
#include "hv/core/domain/domain.hpp"
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/memory/guest_walk.hpp"
#include "hv/core/vcpu/vcpu.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/exceptions.hpp"
#include "hv/x86/msr.hpp"

namespace hv::core {
namespace {

using x86::Rflags;

constexpr std::uint64_t trap_flag{Rflags::TF::mask};
constexpr std::uint64_t single_step{1 << 14};  // DR6.BS
constexpr std::uint64_t breakpoints{0xf};      // DR6.B0 to B3
constexpr auto sfmask_msr = static_cast<std::uint32_t>(x86::Msr::SFMASK);

void put_trap_flag(std::uint64_t& flags, bool on) { flags = on ? flags | trap_flag : flags & ~trap_flag; }

/// Bits 15..8 of what PUSHF has just stored: TF is the lowest.
void correct_stored_flags(Vcpu& vcpu)
{
    ExecutionContext context;  // filled in whole
    machine().hvm.read_context(vcpu, context);
    std::uint64_t linear = vcpu.registers.general[rsp] + 1;
    if (!context.code_64()) {
        SystemRegisters system{};
        machine().hvm.read_system(vcpu, system);
        const Segment& stack = system.segments[segment_ss];
        linear = (stack.base + (linear & (stack.default_32() ? 0xffff'ffff : 0xffff))) & 0xffff'ffff;
    }
    const auto walk = walk_guest_tables(vcpu.domain.memory.guest(), context, GuestLinear{linear}, {});
    std::uint8_t byte{};
    const auto bytes = std::as_writable_bytes(std::span{&byte, 1});
    if (!walk || !vcpu.domain.memory.guest().read(walk->address, bytes))
        return;
    byte = static_cast<std::uint8_t>(byte & ~(trap_flag >> 8));
    static_cast<void>(vcpu.domain.memory.guest().write(walk->address, bytes));
}

std::uint64_t read_status(Vcpu& vcpu)
{
    SystemRegisters system{};
    machine().hvm.read_system(vcpu, system);
    return system.dr6;
}

void write_status(Vcpu& vcpu, std::uint64_t value)
{
    SystemRegisters system{};
    machine().hvm.read_system(vcpu, system);
    if (system.dr6 == value)
        return;
    system.dr6 = value;
    HV_ASSERT(machine().hvm.write_system(vcpu, system));  // as the processor ran it
}

void set_sfmask(Vcpu& vcpu, std::uint64_t value) { static_cast<void>(machine().hvm.write_msr(vcpu, sfmask_msr, value)); }

void arm_with_trap(Vcpu& vcpu, SingleStep& step)
{
    step.with_trap = true;
    step.own_trap = Rflags::TF::get(vcpu.registers.rflags);
    step.dr6 = read_status(vcpu);
    if (step.kind != SteppedInstruction::reads_status)  // which meets no breakpoint but one of its own fetch, a fault
        write_status(vcpu, step.dr6 & ~(single_step | breakpoints));
    vcpu.registers.rflags |= trap_flag;
    step.r11 = vcpu.registers.general[r11];
    if (step.kind == SteppedInstruction::system_return)
        vcpu.registers.general[r11] |= trap_flag;
    if (step.kind == SteppedInstruction::system_call) {
        step.sfmask = machine().hvm.read_msr(vcpu, sfmask_msr).value();
        set_sfmask(vcpu, step.sfmask & ~trap_flag);
    }
    intercept_for_step(vcpu, true);
}

/// As if it had not been executed, which is so.
void take_trap_back(Vcpu& vcpu, const SingleStep& step)
{
    put_trap_flag(vcpu.registers.rflags, step.own_trap);
    if (step.kind == SteppedInstruction::system_return)
        vcpu.registers.general[r11] = step.r11;
}

/// It has been executed, with TF.
void correct_flags(Vcpu& vcpu, const SingleStep& step)
{
    std::uint64_t& flags = vcpu.registers.rflags;
    switch (step.kind) {
    case SteppedInstruction::loads_flags: return;  // the guest's own now
    case SteppedInstruction::system_return:
        put_trap_flag(flags, (step.r11 & trap_flag) != 0);
        vcpu.registers.general[r11] = step.r11;
        return;
    case SteppedInstruction::system_call:
        put_trap_flag(vcpu.registers.general[r11], step.own_trap);
        put_trap_flag(flags, step.own_trap && (step.sfmask & trap_flag) == 0);
        return;
    case SteppedInstruction::stores_flags:
        if (!step.own_trap)
            correct_stored_flags(vcpu);
        [[fallthrough]];
    case SteppedInstruction::plain:
    case SteppedInstruction::reads_status:
    case SteppedInstruction::writes_status:
    case SteppedInstruction::sets_interrupt_flag:
    case SteppedInstruction::software_interrupt:
    case SteppedInstruction::untraced: put_trap_flag(flags, step.own_trap); return;
    }
}

/// Whether the guest would have had a trap of its own here: by TF as it was, and after SYSCALL and SYSRET as it is then.
bool traps_by_itself(const Vcpu& vcpu, const SingleStep& step)
{
    if (step.kind == SteppedInstruction::system_call || step.kind == SteppedInstruction::system_return)
        return Rflags::TF::get(vcpu.registers.rflags);
    return step.own_trap;
}

/// The #DB after the instruction.  True: the guest would not have had it.
bool settle_trap(Vcpu& vcpu, const SingleStep& step, std::uint64_t dr6)
{
    const bool traps = traps_by_itself(vcpu, step);
    const std::uint64_t hit = step.kind == SteppedInstruction::reads_status ? 0 : dr6 & breakpoints;
    const std::uint64_t before = step.kind == SteppedInstruction::writes_status ? dr6 & ~single_step : step.dr6;
    write_status(vcpu, before | hit | (traps ? single_step : 0));
    if (traps || hit != 0)
        return false;
    machine().hvm.cancel_exception(vcpu);
    return true;
}

bool is_trap(const Exit& exit)
{
    return exit.kind == ExitKind::exception && exit.exception.vector == static_cast<std::uint8_t>(x86::Exception::DB);
}

/// The instruction may be still to come: another page of it is watched, or something else came before it.
bool goes_on_with_it(const Exit& exit)
{
    return exit.kind == ExitKind::nested_fault || exit.kind == ExitKind::physical_interrupt ||
           exit.kind == ExitKind::physical_nmi || exit.kind == ExitKind::interrupt_window;
}

/// Where the shadow of STI has only this instruction left, a processor that does not heed it at an entry must not be asked for
/// the window that comes behind it: the step's exit asks again.
void hold_window_back(Vcpu& vcpu)
{
    if ((*vcpu.live.interrupt_shadow & 1) != 0)
        machine().hvm.request_interrupt_window(vcpu, 0);
}

/// Its shadow is that of the next instruction, unless a trap of the guest's own comes first.
void set_interrupt_flag(Vcpu& vcpu, std::uint8_t length)
{
    vcpu.registers.rflags |= Rflags::IF::mask;
    vcpu.advance(length);
    if (!machine().hvm.event_pending(vcpu))
        *vcpu.live.interrupt_shadow |= 1;
}

/// The processor looks for them as it begins an instruction.
bool has_breakpoints(Vcpu& vcpu)
{
    constexpr std::uint64_t enabled{0xff};
    SystemRegisters system{};
    machine().hvm.read_system(vcpu, system);
    return (system.dr7 & enabled) != 0;
}

/// The next instruction, in the way that its kind wants.  False: it is carried out.
bool arm_instruction(Vcpu& vcpu)
{
    SingleStep& step = vcpu.step;
    ExecutionContext context;  // filled in whole
    machine().hvm.read_context(vcpu, context);
    const NextInstruction next = next_instruction(vcpu, context);
    step.kind = next.kind;
    if (next.kind == SteppedInstruction::sets_interrupt_flag && !has_breakpoints(vcpu)) {
        step.armed = false;
        set_interrupt_flag(vcpu, next.length);
        return false;
    }
    if (next.kind == SteppedInstruction::software_interrupt && vcpu.following.on) {
        arm_software_interrupt(vcpu, next.vector, next.length);
    } else if (next.kind != SteppedInstruction::software_interrupt && next.kind != SteppedInstruction::untraced) {
        hold_window_back(vcpu);
        arm_with_trap(vcpu, step);
    }
    return true;
}

/// True where the exit has told nothing else.
bool finish_stepped_delivery(Vcpu& vcpu)
{
    const DeliveryEnd end = finish_delivery(vcpu);
    if (vcpu.step.wanted && (end != DeliveryEnd::cut_short || vcpu.exit.kind != ExitKind::nested_fault))
        end_step(vcpu);
    if (end == DeliveryEnd::cut_short)
        return false;
    vcpu.following.came = vcpu.following.delivered = true;
    return end == DeliveryEnd::at_handler;
}

/// With TF.  True as finish_step().
bool finish_traced(Vcpu& vcpu, SingleStep& step)
{
    const Exit& exit = vcpu.exit;
    step.with_trap = false;
    if (step.kind == SteppedInstruction::system_call)
        set_sfmask(vcpu, step.sfmask);
    intercept_for_step(vcpu, false);
    const std::uint64_t dr6 = read_status(vcpu);
    if (is_trap(exit) && (dr6 & single_step) != 0) {
        correct_flags(vcpu, step);
        vcpu.following.came = true;
        if (step.wanted)
            end_step(vcpu);
        return settle_trap(vcpu, step, dr6);
    }
    take_trap_back(vcpu, step);
    write_status(vcpu, is_trap(exit) ? step.dr6 | dr6 : step.dr6);
    if (step.wanted && !goes_on_with_it(exit))
        end_step(vcpu);
    return false;
}

}  // namespace

void intercept_for_step(Vcpu& vcpu, bool stepping)
{
    Intercepts wanted = vcpu.domain.extensions != nullptr ? vcpu.domain.extensions->intercepts() : Intercepts{};
    if (stepping)
        wanted.exceptions |= static_cast<std::uint32_t>(abi::provided_exceptions);
    machine().hvm.intercept(vcpu, wanted);
}

void let_access_through(Vcpu& vcpu, GuestPhysical page)
{
    SingleStep& step = vcpu.step;
    if (step.wanted && step.rip != vcpu.registers.rip)
        end_step(vcpu);
    vcpu.view.let_through(page);
    machine().hvm.flush(vcpu);
    step.rip = vcpu.registers.rip;
    step.delivers = machine().hvm.event_pending(vcpu);
    step.wanted = true;
    vcpu.renew_entry_extras();
}

bool arm_step(Vcpu& vcpu)
{
    SingleStep& step = vcpu.step;
    HV_ASSERT(!step.armed);  // each entry that is armed comes to be
    const bool delivers = machine().hvm.event_pending(vcpu);
    if (step.wanted && (vcpu.registers.rip != step.rip || delivers != step.delivers))
        end_step(vcpu);
    if (!step.wanted && !vcpu.following.on)
        return true;
    step.armed = true;
    step.with_trap = false;
    if (!delivers)
        return arm_instruction(vcpu);
    if (vcpu.following.on)
        arm_delivery(vcpu);
    return true;
}

bool finish_step(Vcpu& vcpu)
{
    SingleStep& step = vcpu.step;
    step.armed = false;
    if (step.delivery.armed)
        return finish_stepped_delivery(vcpu);
    if (step.with_trap)
        return finish_traced(vcpu, step);
    if (step.wanted && vcpu.exit.kind != ExitKind::nested_fault)
        end_step(vcpu);
    return false;
}

void end_step(Vcpu& vcpu)
{
    vcpu.step.wanted = false;
    vcpu.view.end_letting_through();
    machine().hvm.flush(vcpu);
    vcpu.renew_entry_extras();
}

}  // namespace hv::core
