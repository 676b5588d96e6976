// SPDX-License-Identifier: MIT
//
// The table: which kind of exit goes where.
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

void end_by_shutdown(Vcpu& vcpu, std::string_view what)
{
    BoundedText<maximum_end_text> text;
    say(text, what, " on VCPU ", vcpu.id, ", RIP ", Hex{vcpu.registers.rip});
    vcpu.domain.end(EndReason::crash, text.view());
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
void handle_nothing(Vcpu&, const Exit&) {}

using Handler = void (*)(Vcpu&, const Exit&);

struct HandlerRow {
    ExitKind kind;
    Handler handler;
};

constexpr HandlerRow handler_rows[]{
    {ExitKind::physical_interrupt, handle_physical_interrupt},
    {ExitKind::physical_nmi, handle_nothing},
    {ExitKind::interrupt_window, handle_nothing},  // prepare_entry looks again
    {ExitKind::cpuid, handle_cpuid},
    {ExitKind::msr_read, handle_msr_read},
    {ExitKind::msr_write, handle_msr_write},
    {ExitKind::port, handle_port},
    {ExitKind::hypercall, handle_hypercall},
    {ExitKind::halt, handle_halt},
    {ExitKind::pause, handle_pause},
    {ExitKind::nested_fault, handle_nested_fault},
    {ExitKind::exception, note_exception},
    {ExitKind::control_register, handle_system_instruction},
    {ExitKind::debug_register, handle_system_instruction},
    {ExitKind::invalidate_page, handle_undefined},
    {ExitKind::cache_control, handle_cache_control},
    {ExitKind::read_tsc, handle_undefined},
    {ExitKind::set_extended_control, handle_system_instruction},
    {ExitKind::monitor, handle_undefined},
    {ExitKind::privileged_instruction, handle_undefined},
    {ExitKind::task_switch, end_by_unknown},
    {ExitKind::init_signal, handle_nothing},
    {ExitKind::shutdown, end_by_triple_fault},
    {ExitKind::invalid_state, end_by_invalid_state},
    {ExitKind::unknown, end_by_unknown},
};

/// Every kind once, in order.
constexpr bool complete()
{
    unsigned next{};
    for (const HandlerRow& row : handler_rows)
        if (static_cast<unsigned>(row.kind) != next++)
            return false;
    return next == exit_kinds;
}
static_assert(complete());

constexpr std::array<Handler, exit_kinds> make_handlers()
{
    std::array<Handler, exit_kinds> table{};
    for (const HandlerRow& row : handler_rows)
        table[static_cast<unsigned>(row.kind)] = row.handler;
    return table;
}

}  // namespace

constinit const std::array<Handler, exit_kinds> exit_handlers{make_handlers()};

void raise_general_protection(Vcpu& vcpu) { vcpu.raise(static_cast<std::uint8_t>(x86::Exception::GP), 0); }

void raise_undefined_opcode(Vcpu& vcpu) { vcpu.raise(static_cast<std::uint8_t>(x86::Exception::UD)); }

}  // namespace hv::core
