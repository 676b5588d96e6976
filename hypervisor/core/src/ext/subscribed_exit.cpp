// SPDX-License-Identifier: MIT
//
// One exit on its way past its subscribers.  To read it: answer_subscribed() at the end, then ask().
#include "subscribed_exit.hpp"

#include "exits.hpp"
#include "guest_mode.hpp"
#include "hook_call.hpp"
#include "hv/core/emulate/code_mode.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/exit_answer.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

constexpr std::uint64_t low_half{0xffff'ffff};
constexpr std::uint64_t string_port{1 << 24};

/// An exit as it is shown, and what the framework itself must know to carry an answer out.
struct Shown {
    abi::ExitFrame frame{};
    unsigned result_register{};  ///< of a read of a control register
    bool repeats{};              ///< INS or OUTS: not one access
};

enum class Outcome : std::uint8_t {
    pass,     ///< the next one is asked
    settled,  ///< done, or an exception raised, or the domain ended
    polls,    ///< pass, and the halt is kept awake
};

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

std::uint64_t paired(const Vcpu& vcpu)
{
    return vcpu.registers.general[rdx] << 32 | (vcpu.registers.general[rax] & low_half);
}

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
        frame.value = frame.write != 0 ? paired(vcpu) : 0;
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

/// MOV to and from a control register, RDTSC and RDTSCP; false for all else.
bool describe_decoded(Vcpu& vcpu, const Exit& exit, const ExecutionContext& context, Shown& shown)
{
    const auto code = read_code(vcpu, context);
    if (!code)
        return false;
    const auto decoded = emulate::decode(code.value(), emulate::mode_of(context));
    if (!decoded || decoded.value().map != emulate::OpcodeMap::legacy_0f)
        return false;
    const emulate::Instruction& instruction = decoded.value();
    abi::ExitFrame& frame = shown.frame;
    frame.instruction_length = instruction.length;
    if (exit.kind == ExitKind::read_tsc) {
        frame.kind = abi::ExitKind::read_tsc;
        return instruction.opcode == 0x31;  // RDTSCP is the core's alone
    }
    constexpr std::uint8_t from_control{0x20}, to_control{0x22};
    if (instruction.opcode != from_control && instruction.opcode != to_control)
        return false;
    const bool locked = (instruction.prefixes & emulate::prefix::lock) != 0;  // CR8 outside 64-bit mode
    frame.kind = abi::ExitKind::control_register;
    frame.number = instruction.reg_index() + (locked ? 8u : 0u);
    frame.write = instruction.opcode == to_control ? 1 : 0;
    frame.value = frame.write != 0 ? vcpu.registers.general[instruction.rm_index()] & width_mask(frame.mode) : 0;
    shown.result_register = instruction.rm_index();
    return true;
}

/// False: nobody is shown this one.
bool describe(Vcpu& vcpu, const Exit& exit, Shown& shown)
{
    ExecutionContext context;  // filled in whole
    machine().hvm.read_context(vcpu, context);
    abi::ExitFrame& frame = shown.frame;
    frame.mode = mode_of(context, vcpu.registers.rflags);
    frame.cpl = frame.mode == abi::GuestMode::real ? 0 : context.privilege_level;
    frame.rip = vcpu.registers.rip;
    frame.rflags = vcpu.registers.rflags;
    for (unsigned index = 0; index < general_registers; ++index)
        frame.general[index] = vcpu.registers.general[index] & width_mask(frame.mode);
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
    const std::uint32_t directions = wanted.flags & (abi::exit_reads | abi::exit_writes);
    const std::uint32_t direction = frame.write != 0 ? abi::exit_writes : abi::exit_reads;
    return wanted.kind == frame.kind && number >= wanted.first && number <= wanted.last &&
           (directions == 0 || (directions & direction) != 0);
}

/// What the module left in the frame is the guest's.
void take_answer(Vcpu& vcpu, const Exit& exit, const Shown& shown, const abi::ExitFrame& answer)
{
    std::uint64_t* const guest = vcpu.registers.general;
    const std::uint64_t mask = width_mask(shown.frame.mode);
    write_back_registers(guest, answer.general, shown.frame.mode);
    const std::uint64_t value = answer.value;
    const auto number = static_cast<std::uint32_t>(shown.frame.number);
    const bool write = shown.frame.write != 0;
    switch (shown.frame.kind) {
    case abi::ExitKind::cpuid:
        for (const unsigned index : {rax, rbx, rcx, rdx})
            guest[index] &= low_half;
        return;
    case abi::ExitKind::msr: vcpu.exits.msrs.count(number, write); [[fallthrough]];
    case abi::ExitKind::read_tsc:
        if (!write) {
            guest[rax] = value & low_half;
            guest[rdx] = value >> 32;
        }
        return;
    case abi::ExitKind::port: {
        vcpu.exits.ports.count(exit.port.port, write);
        const std::uint64_t bits = low_half >> (32 - 8 * exit.port.size);
        if (!write)
            guest[rax] = exit.port.size == 4 ? value & bits : (guest[rax] & ~bits) | (value & bits);
        return;
    }
    case abi::ExitKind::control_register:
        if (!write)
            guest[shown.result_register] = value & mask;
        return;
    default: return;
    }
}

Outcome settle_answer(VcpuBinding& own, const Exit& exit, const Shown& shown, abi::Verdict verdict)
{
    const abi::ExitFrame& answer = own.seat.exchange->exit;
    take_answer(own.vcpu, exit, shown, answer);
    if ((verdict.flags & abi::verdict_keep_rip) != 0) {
        own.vcpu.registers.rip = answer.rip;
        own.vcpu.end_instruction();
    } else {
        own.vcpu.advance(static_cast<std::uint8_t>(shown.frame.instruction_length));
    }
    return Outcome::settled;
}

/// One subscription's call.
Outcome ask(VcpuBinding& own, const abi::ExitSubscription& wanted, const Exit& exit, const Shown& shown)
{
    const bool instead = (wanted.flags & abi::exit_instead) != 0;
    const bool after = (wanted.flags & abi::exit_after) != 0;
    const bool halts = wanted.kind == abi::ExitKind::halt && !after;
    own.exit_rules = static_cast<std::uint8_t>((after ? 0 : exit_may_raise) | (instead ? exit_may_answer : 0) |
                                               (halts ? exit_may_poll : 0));
    own.seat.exchange->exit = shown.frame;
    const abi::Verdict verdict =
        call_hook(own, Hook::exit, own.binding.hooks.exit, own.seat.shown(&own.seat.exchange->exit));
    if (is_retry(verdict))
        return Outcome::settled;  // the guest does it once more, for the next instance
    switch (verdict.kind) {
    case abi::VerdictKind::not_mine: return Outcome::pass;
    case abi::VerdictKind::again: return Outcome::polls;
    case abi::VerdictKind::pause: static_cast<void>(settle(own, verdict)); [[fallthrough]];
    case abi::VerdictKind::done: return instead ? settle_answer(own, exit, shown, verdict) : Outcome::pass;
    default: static_cast<void>(settle(own, verdict)); return Outcome::settled;
    }
}

/// All that want it at this time, in stacking order, until one has settled it.  `poller`: who keeps a halt awake.
Outcome ask_all(Vcpu& vcpu, const Exit& exit, const Shown& shown, bool after, VcpuBinding*& poller)
{
    for (Binding* const binding : vcpu.domain.extensions->implementation().bindings) {
        VcpuBinding& own = binding->of(vcpu);
        for (std::uint32_t index = 0; index < binding->subscriptions.count; ++index) {
            const abi::ExitSubscription& wanted = binding->subscriptions.list[index];
            if (!matches(wanted, shown.frame) || ((wanted.flags & abi::exit_after) != 0) != after ||
                binding->route.load(std::memory_order_acquire) == Route::ended || !holds(*binding, wanted) ||
                (shown.repeats && (wanted.flags & abi::exit_instead) != 0))
                continue;
            const Outcome outcome = ask(own, wanted, exit, shown);
            if (outcome == Outcome::settled)
                return outcome;
            if (outcome == Outcome::polls)
                poller = &own;
        }
    }
    return Outcome::pass;
}

/// The next preparation of an entry asks again, with the main loop in between.
void keep_awake(VcpuBinding& own)
{
    own.polling = true;
    own.vcpu.entry_held = true;
    own.vcpu.request(VcpuRequest::extension);
}

void end_poll(VcpuBinding& own)
{
    own.polling = false;
    own.vcpu.entry_held = false;
}

const abi::ExitSubscription* halt_subscription(const Binding& binding)
{
    for (std::uint32_t index = 0; index < binding.subscriptions.count; ++index) {
        const abi::ExitSubscription& wanted = binding.subscriptions.list[index];
        if (wanted.kind == abi::ExitKind::halt && (wanted.flags & abi::exit_after) == 0 && holds(binding, wanted))
            return &wanted;
    }
    return nullptr;
}

}  // namespace

void continue_poll(VcpuBinding& own)
{
    Vcpu& vcpu = own.vcpu;
    if (vcpu.has_requests())
        return keep_awake(own);  // they come first
    fetch_task_priority(vcpu);  // the guest may have lowered it since, without an exit
    if (!vcpu.in_halt || Vcpu::has_event(vcpu) || halt_subscription(own.binding) == nullptr ||
        own.binding.hooks.exit == nullptr)
        return end_poll(own);
    ++own.poll_frame.value;
    own.exit_rules = exit_may_poll;
    own.seat.exchange->exit = own.poll_frame;
    const abi::Verdict verdict =
        call_hook(own, Hook::exit, own.binding.hooks.exit, own.seat.shown(&own.seat.exchange->exit));
    if (is_retry(verdict))
        return keep_awake(own);
    if (verdict.kind != abi::VerdictKind::again) {
        end_poll(own);
        static_cast<void>(settle(own, verdict));
        return;
    }
    keep_awake(own);
    platform::take_pending_interrupts();  // so that the poll holds nobody else up
    machine().here().attention.store(true, std::memory_order_relaxed);
}

void take_over_poll(VcpuBinding& own, VcpuBinding& before)
{
    own.polling = std::exchange(before.polling, false);
    own.poll_frame = before.poll_frame;
}

namespace {

bool answer_by_core(Vcpu& vcpu) { return core_answers[static_cast<unsigned>(vcpu.exit.kind)](vcpu); }

bool wanted_afterwards(const Vcpu& vcpu, const abi::ExitFrame& frame)
{
    for (const Binding* const binding : vcpu.domain.extensions->implementation().bindings)
        for (const abi::ExitSubscription& wanted : std::span{binding->subscriptions.list, binding->subscriptions.count})
            if ((wanted.flags & abi::exit_after) != 0 && matches(wanted, frame))
                return true;
    return false;
}

/// The core has announced an entry, which is taken back while the modules look.
bool show_afterwards(Vcpu& vcpu, const Shown& shown, bool entry_announced)
{
    if (entry_announced) {
        announce_exit(vcpu);
        if (vcpu.eoi_assist.offered)
            take_back_eoi_assist(vcpu);
    }
    VcpuBinding* nobody{};
    ask_all(vcpu, vcpu.exit, shown, true, nobody);
    return entry_announced && goes_on(vcpu);
}

bool look_at_exceptions_again(Vcpu& vcpu)
{
    vcpu.domain.extensions->adopt_intercepts(vcpu);
    return vcpu.answers[static_cast<unsigned>(vcpu.exit.kind)](vcpu);
}

/// The event whose delivery raised an exception is delivered again, and what that raises is the processor's own to combine, into a
/// double fault where it must: until the next exit, whatever it is, exceptions go past subscribers.
bool pass_exceptions_once(Vcpu& vcpu)
{
    vcpu.domain.extensions->let_exceptions_pass(vcpu);
    vcpu.answers.fill(look_at_exceptions_again);
    return goes_on(vcpu);
}

}  // namespace

bool answer_subscribed(Vcpu& vcpu)
{
    const Exit& exit = vcpu.exit;
    if (exit.kind == ExitKind::exception && exit.exception.in_delivery && vcpu.domain.extensions != nullptr)
        return pass_exceptions_once(vcpu);
    Shown shown;
    if (vcpu.domain.extensions == nullptr || !describe(vcpu, exit, shown))
        return answer_by_core(vcpu);
    VcpuBinding* poller{};
    if (ask_all(vcpu, exit, shown, false, poller) == Outcome::settled)
        return goes_on(vcpu);
    if (poller != nullptr && x86::Rflags::IF::get(vcpu.registers.rflags)) {
        poller->poll_frame = shown.frame;
        keep_awake(*poller);  // the halt is looked at again before the VCPU could sleep
    }
    const bool afterwards = wanted_afterwards(vcpu, shown.frame);
    const bool entry_announced = answer_by_core(vcpu);
    return afterwards ? show_afterwards(vcpu, shown, entry_announced) : entry_announced;
}

}  // namespace hv::core
