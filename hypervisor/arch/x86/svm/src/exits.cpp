// SPDX-License-Identifier: MIT
#include "hv/arch/x86/svm/exits.hpp"

#include <cstring>

#include "hv/arch/x86/svm/event.hpp"
#include "hv/arch/x86/svm/exit_code.hpp"
#include "hv/arch/x86/svm/guest_intercepts.hpp"
#include "hv/arch/x86/svm/intercepts.hpp"
#include "hv/arch/x86/svm/system_instruction.hpp"

namespace hv::svm {

namespace {

using core::ExitKind;

constexpr std::array<ExitRow, exit_rows> make_table()
{
    std::array<ExitRow, exit_rows> table{};
    table.fill({ExitKind::unknown, Detail::information, 0});
    const auto row = [&](ExitCode code, ExitKind kind, Detail detail = Detail::none) {
        table[number(code)] = {kind, detail, 0};
    };
    const auto run = [&](ExitCode first, unsigned count, ExitKind kind, Detail detail) {
        for (unsigned offset = 0; offset < count; ++offset)
            table[number(first) + offset] = {kind, detail, 0};
    };
    run(ExitCode::CR0_READ, 32, ExitKind::control_register, Detail::information);
    run(ExitCode::DR0_READ, 32, ExitKind::debug_register, Detail::debug);
    run(ExitCode::EXCEPTION_FIRST, 32, ExitKind::exception, Detail::exception);
    row(ExitCode::INTR, ExitKind::physical_interrupt);
    row(ExitCode::NMI, ExitKind::physical_nmi);
    row(ExitCode::INIT, ExitKind::init_signal);
    row(ExitCode::VINTR, ExitKind::interrupt_window, Detail::window);
    row(ExitCode::CR0_SEL_WRITE, ExitKind::control_register, Detail::information);
    row(ExitCode::RDTSC, ExitKind::read_tsc);
    row(ExitCode::RDPMC, ExitKind::exception, Detail::general_protection);
    row(ExitCode::CPUID, ExitKind::cpuid);
    row(ExitCode::RSM, ExitKind::privileged_instruction);
    row(ExitCode::IRET, ExitKind::interrupt_window, Detail::nmi_return);
    row(ExitCode::INVD, ExitKind::cache_control);
    row(ExitCode::PAUSE, ExitKind::pause);
    row(ExitCode::HLT, ExitKind::halt);
    row(ExitCode::INVLPG, ExitKind::invalidate_page, Detail::information);
    row(ExitCode::INVLPGA, ExitKind::privileged_instruction);
    row(ExitCode::IOIO, ExitKind::port, Detail::port);
    table[number(ExitCode::MSR)] = {ExitKind::msr_read, Detail::none, 1};
    row(ExitCode::TASK_SWITCH, ExitKind::task_switch, Detail::information);
    row(ExitCode::SHUTDOWN, ExitKind::shutdown);
    row(ExitCode::VMMCALL, ExitKind::hypercall);
    for (const ExitCode code : {ExitCode::VMRUN, ExitCode::VMLOAD, ExitCode::VMSAVE, ExitCode::STGI,
                                ExitCode::CLGI, ExitCode::SKINIT, ExitCode::RDPRU, ExitCode::INVLPGB,
                                ExitCode::INVLPGB_ILLEGAL, ExitCode::MCOMMIT, ExitCode::TLBSYNC})
        row(code, ExitKind::privileged_instruction);
    row(ExitCode::RDTSCP, ExitKind::read_tsc);
    row(ExitCode::WBINVD, ExitKind::cache_control);
    row(ExitCode::MONITOR, ExitKind::monitor);
    row(ExitCode::MWAIT, ExitKind::monitor);
    row(ExitCode::MWAIT_CONDITIONAL, ExitKind::monitor);
    row(ExitCode::XSETBV, ExitKind::set_extended_control);
    return table;
}

/// EXITINFO1 of an IN or OUT [APM2-3.41 §15.10.2].
struct PortInformation {
    using In = Bit<0>;
    using String = Bit<2>;
    using Repeated = Bit<3>;
    using Size = Field<6, 4, std::uint8_t>;  // one bit for each of 1, 2 and 4 bytes: the value is the size
    using Port = Field<31, 16, std::uint16_t>;
};

/// EXITINFO1 of a nested page fault [APM2-3.41 §15.25.6].
struct FaultInformation {
    using Present = Bit<0>;
    using Write = Bit<1>;
    using Execute = Bit<4>;
    using TableWalk = Bit<33>;
};

void describe_port(const VmcbControlArea& control, std::uint64_t rip, core::Exit& exit)
{
    const std::uint64_t information = control.exit_info_1;
    // The segment would be there with decode assists only; whoever needs it reads the instruction on every
    // processor.
    exit.port = {.port = PortInformation::Port::get(information),
                 .size = PortInformation::Size::get(information),
                 .in = PortInformation::In::get(information),
                 .string = PortInformation::String::get(information),
                 .repeated = PortInformation::Repeated::get(information),
                 .segment = 0xff,
                 .next_rip = control.exit_info_2};
    exit.instruction_length = static_cast<std::uint8_t>(control.exit_info_2 - rip);
}

void describe_nested_fault(const VmcbControlArea& control, core::Exit& exit)
{
    const std::uint64_t information = control.exit_info_1;
    exit.kind = ExitKind::nested_fault;
    exit.fault.address = GuestPhysical{control.exit_info_2};
    exit.fault.write = FaultInformation::Write::get(information);
    exit.fault.execute = FaultInformation::Execute::get(information);
    exit.fault.present = FaultInformation::Present::get(information);
    exit.fault.table_walk = FaultInformation::TableWalk::get(information);
    const std::uint8_t count = control.instruction_byte_count & 0xf;
    exit.fault.instruction_bytes = count;
    if (count != 0)
        std::memcpy(exit.fault.bytes, control.instruction_bytes, sizeof exit.fault.bytes);
}

[[gnu::noinline]] void describe_exception(VcpuState& vcpu, core::Exit& exit)
{
    const VmcbControlArea& control = vcpu.vmcb->control;
    const auto vector = static_cast<std::uint8_t>(exit.code - number(ExitCode::EXCEPTION_FIRST));
    const bool delivering = event_queued(vcpu);
    exit.exception = {.vector = vector,
                      .in_delivery = delivering && (guest_exceptions >> vector & 1) == 0,
                      .delivering_exception = delivering && EventFormat::Type::get(control.event_injection) == EventFormat::exception,
                      .delivering_vector = EventFormat::Vector::get(control.event_injection),
                      .error_code = static_cast<std::uint32_t>(control.exit_info_1),
                      .address = control.exit_info_2};
    vcpu.cr2_before = vcpu.vmcb->save.cr2;
    vcpu.exception_queued = !delivering && vector != static_cast<std::uint8_t>(x86::Exception::MC);
    if (vector == static_cast<std::uint8_t>(x86::Exception::PF)) {
        vcpu.vmcb->save.cr2 = control.exit_info_2;  // the intercepted fault has not written it [APM2-3.41 §15.12]
        dirty(vcpu, clean_cr2);
    }
    if (vcpu.exception_queued)
        queue_exception(vcpu, static_cast<x86::Exception>(vector), exit.exception.error_code);
}

}  // namespace

constinit const std::array<ExitRow, exit_rows> exit_table{make_table()};

bool describe_exit(VcpuState& vcpu, std::uint64_t rip, core::Exit& exit)
{
    const VmcbControlArea& control = vcpu.vmcb->control;
    if (exit.code == number(ExitCode::IOIO)) {
        describe_port(control, rip, exit);
        return true;
    }
    if (exit.code == number(ExitCode::NPF)) {
        describe_nested_fault(control, exit);
        return true;
    }
    if (exit.code >= exit_rows) {
        exit.kind = exit.code == number(ExitCode::INVALID) ? ExitKind::invalid_state : ExitKind::unknown;
        exit.information[0] = control.exit_info_1;
        exit.information[1] = control.exit_info_2;
        return true;
    }
    switch (exit_table[exit.code].detail) {
    case Detail::none:
    case Detail::port: break;
    case Detail::exception: describe_exception(vcpu, exit); break;
    case Detail::information:
        exit.information[0] = control.exit_info_1;
        exit.information[1] = control.exit_info_2;
        break;
    case Detail::window: set_interrupt_window(vcpu, 0); break;
    case Detail::nmi_return: end_nmi(vcpu, rip); break;
    case Detail::debug:
        if (!vcpu.debug_loaded)
            pass_debug_registers(vcpu);  // the first access since it was loaded
        return wants_debug_access(vcpu, exit.code);
    case Detail::general_protection:
        exit.exception = {};
        exit.exception.vector = static_cast<std::uint8_t>(x86::Exception::GP);
        vcpu.cr2_before = vcpu.vmcb->save.cr2;
        vcpu.exception_queued = !event_queued(vcpu);
        queue_exception(vcpu, x86::Exception::GP, 0);
        break;
    }
    return true;
}

}  // namespace hv::svm
