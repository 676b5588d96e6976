// SPDX-License-Identifier: MIT
//
// The table: which kind of exit goes where.
#include "hv/core/vcpu/exit_answer.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"

#include <array>

#include "hv/core/domain/domain.hpp"
#include "hv/core/machine.hpp"
#include "hv/x86/exceptions.hpp"

namespace hv::core {
namespace {

void handle_halt(Vcpu& vcpu, const Exit& exit)
{
    const std::uint8_t length = length_of(vcpu, exit, emulate::Intercepted::hlt);
    if (length == 0)
        return;
    vcpu.advance(length);
    vcpu.in_halt = !machine().hvm.event_pending(vcpu);  // a single step's #DB ends it at once
}

/// A cache-control instruction is done by doing nothing: the guest's memory is coherent with its devices.
void skip_instruction(Vcpu& vcpu, const Exit& exit, emulate::Intercepted which)
{
    if (const std::uint8_t length = length_of(vcpu, exit, which); length != 0)
        vcpu.advance(length);
}

void handle_cache_control(Vcpu& vcpu, const Exit& exit)
{
    ExecutionContext context{};
    machine().hvm.read_context(vcpu, context);
    const auto code = read_code(vcpu, context);
    if (!code || code.value().size() < 2)
        return;
    const bool write_back = std::to_integer<unsigned>(code.value()[1]) != 0x08;  // INVD is 0F 08
    skip_instruction(vcpu, exit, write_back ? emulate::Intercepted::wbinvd : emulate::Intercepted::invd);
}

void end_by_unknown(Vcpu& vcpu, const Exit& exit)
{
    BoundedText<maximum_end_text> text;
    say(text, "VCPU ", vcpu.id, " left the guest for an unknown reason, exit code ", Hex{exit.code});
    vcpu.domain.end(EndReason::crash, text.view());
}

/// The back end has queued the exception for the guest already; all but a machine check, which is not the guest's.
void note_exception(Vcpu& vcpu, const Exit& exit)
{
    if (exit.exception.vector == static_cast<std::uint8_t>(x86::Exception::MC))
        end_by_shutdown(vcpu, "machine check");
}

void handle_physical_interrupt(Vcpu&, const Exit&)
{
    platform::take_pending_interrupts();
    machine().here().attention.store(true, std::memory_order_relaxed);
}

void handle_pause(Vcpu& vcpu, const Exit& exit) { skip_instruction(vcpu, exit, emulate::Intercepted::pause); }
void end_by_triple_fault(Vcpu& vcpu, const Exit&) { end_by_shutdown(vcpu, "triple fault"); }
void end_by_invalid_state(Vcpu& vcpu, const Exit&) { end_by_shutdown(vcpu, "the processor refused the state"); }
void handle_undefined(Vcpu& vcpu, const Exit&) { raise_undefined_opcode(vcpu); }
bool goes_on_at_once(Vcpu& vcpu) { return goes_on(vcpu); }

struct AnswerRow {
    ExitKind kind;
    VcpuExitAnswer answer;
};

constexpr AnswerRow answer_rows[]{
    {ExitKind::physical_interrupt, answer_by<handle_physical_interrupt>},
    {ExitKind::physical_nmi, goes_on_at_once},
    {ExitKind::interrupt_window, goes_on_at_once},  // prepare_entry looks again
    {ExitKind::cpuid, answer_cpuid},
    {ExitKind::msr_read, answer_msr_read},
    {ExitKind::msr_write, answer_msr_write},
    {ExitKind::port, answer_by<handle_port>},
    {ExitKind::hypercall, answer_hypercall},
    {ExitKind::halt, answer_by<handle_halt>},
    {ExitKind::pause, answer_by<handle_pause>},
    {ExitKind::nested_fault, answer_by<handle_nested_fault>},
    {ExitKind::exception, answer_by<note_exception>},
    {ExitKind::control_register, answer_by<handle_system_instruction>},
    {ExitKind::debug_register, answer_by<handle_system_instruction>},
    {ExitKind::invalidate_page, answer_by<handle_invalidate_page>},
    {ExitKind::cache_control, answer_by<handle_cache_control>},
    {ExitKind::read_tsc, answer_by<handle_read_tsc>},
    {ExitKind::set_extended_control, answer_by<handle_system_instruction>},
    {ExitKind::monitor, answer_by<handle_undefined>},
    {ExitKind::privileged_instruction, answer_by<handle_undefined>},
    {ExitKind::task_switch, answer_by<end_by_unknown>},
    {ExitKind::init_signal, goes_on_at_once},
    {ExitKind::shutdown, answer_by<end_by_triple_fault>},
    {ExitKind::invalid_state, answer_by<end_by_invalid_state>},
    {ExitKind::unknown, answer_by<end_by_unknown>},
};

/// Every kind once, in order.
constexpr bool complete()
{
    unsigned next{};
    for (const AnswerRow& row : answer_rows)
        if (static_cast<unsigned>(row.kind) != next++)
            return false;
    return next == exit_kinds;
}
static_assert(complete());

constexpr std::array<VcpuExitAnswer, exit_kinds> make_answers()
{
    std::array<VcpuExitAnswer, exit_kinds> table{};
    for (const AnswerRow& row : answer_rows)
        table[static_cast<unsigned>(row.kind)] = row.answer;
    return table;
}

bool dispatch(Vcpu& vcpu)
{
    auto kind = static_cast<std::uint64_t>(vcpu.exit.kind);
    ++vcpu.exits.by_kind[kind];
    asm("" : "+r"(kind));  // else the compiler adds what both tables begin with first: an instruction more at every exit
    return vcpu.answers[kind](vcpu);
}

[[gnu::noinline]] bool undo_extras_and_dispatch(Vcpu& vcpu)
{
    vcpu.extras.under_way = false;
    if (vcpu.eoi_assist.offered)
        take_back_eoi_assist(vcpu);
    if (vcpu.following.on)
        vcpu.request(VcpuRequest::step);
    if (!vcpu.step.armed || !finish_step(vcpu))
        return dispatch(vcpu);
    ++vcpu.exits.by_kind[static_cast<std::size_t>(vcpu.exit.kind)];
    return goes_on(vcpu);
}

}  // namespace

constinit const std::array<VcpuExitAnswer, exit_kinds> core_answers{make_answers()};

void end_by_shutdown(Vcpu& vcpu, std::string_view what)
{
    BoundedText<maximum_end_text> text;
    say(text, what, " on VCPU ", vcpu.id, ", RIP ", Hex{vcpu.registers.rip});
    vcpu.domain.end(EndReason::crash, text.view());
}

bool answer_exit(VcpuContext& context)
{
    Vcpu& vcpu = static_cast<Vcpu&>(context);
    announce_exit(vcpu);
    return vcpu.extras.under_way ? undo_extras_and_dispatch(vcpu) : dispatch(vcpu);
}

bool prepare_after_all(Vcpu& vcpu)
{
    announce_exit(vcpu);
    return prepare_and_announce(vcpu);
}

bool enter_with_extras(Vcpu& vcpu)
{
    if (vcpu.extras.held)
        return true;
    if (vcpu.following.on && step_is_over(vcpu)) {  // since it was looked at: a hypercall that has come to its end
        vcpu.request(VcpuRequest::step);
        return prepare_after_all(vcpu);
    }
    if ((vcpu.step.wanted || vcpu.following.on) && !arm_step(vcpu))
        return prepare_after_all(vcpu);
    if (vcpu.eoi_assist.word != nullptr)
        offer_eoi_assist(vcpu);
    vcpu.extras.under_way = vcpu.eoi_assist.offered || vcpu.step.armed;
    return true;
}

void raise_general_protection(Vcpu& vcpu) { vcpu.raise(static_cast<std::uint8_t>(x86::Exception::GP), 0); }

void raise_undefined_opcode(Vcpu& vcpu) { vcpu.raise(static_cast<std::uint8_t>(x86::Exception::UD)); }

}  // namespace hv::core
