// SPDX-License-Identifier: MIT
//
// The table: which kind of exit goes where.
#include "hv/core/vcpu/exit_handlers.hpp"

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
void note_exception(Vcpu& vcpu, const ExceptionExit& exception)
{
    if (exception.vector == static_cast<std::uint8_t>(x86::Exception::MC))
        end_by_shutdown(vcpu, "machine check");
}

}  // namespace

void dispatch_exit(Vcpu& vcpu, const Exit& exit)
{
    // The frequent ones first: without jump tables a switch is a search.
    if (exit.kind == ExitKind::msr_write)
        return handle_msr_write(vcpu, exit);
    if (exit.kind == ExitKind::msr_read)
        return handle_msr_read(vcpu, exit);
    switch (exit.kind) {
    case ExitKind::physical_interrupt:
        platform::take_pending_interrupts();
        machine().here().attention.store(true, std::memory_order_relaxed);
        return;
    case ExitKind::physical_nmi: return;
    case ExitKind::interrupt_window: return;  // prepare_entry looks again
    case ExitKind::cpuid: return handle_cpuid(vcpu, exit);
    case ExitKind::msr_read: return handle_msr_read(vcpu, exit);
    case ExitKind::msr_write: return handle_msr_write(vcpu, exit);
    case ExitKind::port: return handle_port(vcpu, exit);
    case ExitKind::hypercall: return handle_hypercall(vcpu, exit);
    case ExitKind::halt: return handle_halt(vcpu, exit);
    case ExitKind::pause: return skip_instruction(vcpu, exit, emulate::Intercepted::pause);
    case ExitKind::nested_fault: return handle_nested_fault(vcpu, exit);
    case ExitKind::exception: return note_exception(vcpu, exit.exception);
    case ExitKind::control_register:
    case ExitKind::debug_register:
    case ExitKind::set_extended_control: return handle_system_instruction(vcpu, exit);
    case ExitKind::cache_control: return handle_cache_control(vcpu, exit);
    case ExitKind::invalidate_page:
    case ExitKind::read_tsc:
    case ExitKind::monitor:
    case ExitKind::privileged_instruction: return raise_undefined_opcode(vcpu);
    case ExitKind::task_switch: return end_by_unknown(vcpu, exit);
    case ExitKind::init_signal: return;
    case ExitKind::shutdown: return end_by_shutdown(vcpu, "triple fault");
    case ExitKind::invalid_state: return end_by_shutdown(vcpu, "the processor refused the state");
    case ExitKind::unknown: return end_by_unknown(vcpu, exit);
    }
}

void raise_general_protection(Vcpu& vcpu) { vcpu.raise(static_cast<std::uint8_t>(x86::Exception::GP), 0); }

void raise_undefined_opcode(Vcpu& vcpu) { vcpu.raise(static_cast<std::uint8_t>(x86::Exception::UD)); }

}  // namespace hv::core
