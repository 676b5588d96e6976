// SPDX-License-Identifier: MIT
#include "exception_exit.hpp"

#include "hv/core/domain/domain.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "hv/core/vcpu/vcpu.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/exceptions.hpp"

namespace hv::core {
namespace {

using x86::Exception;

enum class Severity : std::uint8_t { benign, contributory, page_fault, double_fault };

/// [APM2-3.41 §8.2.9], [SDM3-083 §6.15, table 6-5].
Severity severity_of(std::uint8_t vector)
{
    switch (static_cast<Exception>(vector)) {
    case Exception::DE:
    case Exception::TS:
    case Exception::NP:
    case Exception::SS:
    case Exception::GP: return Severity::contributory;
    case Exception::PF: return Severity::page_fault;
    case Exception::DF: return Severity::double_fault;
    default: return Severity::benign;
    }
}

enum class Combined : std::uint8_t { second, double_fault, shutdown };

Combined combine(std::uint8_t first, std::uint8_t second)
{
    const Severity now = severity_of(second);
    if (now == Severity::benign)
        return Combined::second;
    switch (severity_of(first)) {
    case Severity::benign: return Combined::second;
    case Severity::contributory: return now == Severity::contributory ? Combined::double_fault : Combined::second;
    case Severity::page_fault: return Combined::double_fault;
    case Severity::double_fault: return Combined::shutdown;
    }
    return Combined::second;
}

struct Raised {
    std::uint8_t vector;
    bool has_error_code;
    std::uint32_t error_code;
};

/// In the place of whatever is queued: an interrupt whose delivery raises an exception is gone, as on a processor.
void raise_combined(Vcpu& vcpu, const Raised& raised)
{
    const ExceptionExit& exit = vcpu.exit.exception;
    switch (exit.delivering_exception ? combine(exit.delivering_vector, raised.vector) : Combined::second) {
    case Combined::second:
        return machine().hvm.inject(vcpu, {EventKind::exception, raised.vector, raised.has_error_code, raised.error_code});
    case Combined::double_fault: return vcpu.raise(static_cast<std::uint8_t>(Exception::DF), 0);
    case Combined::shutdown: return end_by_shutdown(vcpu, "triple fault");
    }
}

/// DR6 names a breakpoint whose condition in DR7 is execution: a fault, before the instruction [SDM3-083 §18.2].
bool is_instruction_breakpoint(const Vcpu& vcpu)
{
    if (vcpu.exit.exception.vector != static_cast<std::uint8_t>(Exception::DB))
        return false;
    constexpr unsigned breakpoints{4}, first_condition{16}, condition_bits{4};
    SystemRegisters system{};
    machine().hvm.read_system(vcpu, system);
    for (unsigned index = 0; index < breakpoints; ++index)
        if ((system.dr6 >> index & 1) != 0 && (system.dr7 >> (first_condition + condition_bits * index) & 3) == 0)
            return true;
    return false;
}

}  // namespace

void consume_exception(Vcpu& vcpu)
{
    machine().hvm.cancel_exception(vcpu);
    if (is_instruction_breakpoint(vcpu))
        vcpu.registers.rflags |= x86::Rflags::RF::mask;  // else the instruction would come to it for ever
}

void replace_exception(Vcpu& vcpu, abi::Verdict verdict)
{
    machine().hvm.cancel_exception(vcpu);
    raise_combined(vcpu, {static_cast<std::uint8_t>(verdict.detail), (verdict.detail >> 8 & 1) != 0, verdict.detail >> 16});
}

void raise_in_delivery(Vcpu& vcpu)
{
    const ExceptionExit& exit = vcpu.exit.exception;
    raise_combined(vcpu, {exit.vector, x86::pushes_error_code(exit.vector), exit.error_code});
}

}  // namespace hv::core
