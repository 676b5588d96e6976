// SPDX-License-Identifier: MIT
//
// Exits as the core sees them, events on their way into the guest, and what becomes of those that an exit
// interrupted.
#include <gtest/gtest.h>

#include "hv/x86/control_registers.hpp"
#include "hv/x86/exceptions.hpp"
#include "svm_machine.hpp"

using namespace hv;
using namespace hv::test;
using core::ExitKind;
using svm::ExitCode;
using svm::number;

namespace {

class Exits : public testing::Test {
protected:
    Exits() { vcpu.load(0); }

    core::Exit exit_with(ExitCode code, std::uint64_t info_1 = 0, std::uint64_t info_2 = 0)
    {
        return vcpu.enter([=](Guest& guest) { guest.exits(number(code), info_1, info_2); });
    }
    /// An exit in the middle of delivering an event.
    core::Exit interrupted(std::uint64_t event, ExitCode code = ExitCode::NPF)
    {
        return vcpu.enter([=](Guest& guest) {
            guest.exits(number(code));
            guest.state.control.exit_interrupt_info = event;
        });
    }
    /// EVENTINJ of the next entry.
    std::uint64_t next_event()
    {
        vcpu.enter();
        return model().entered.control.event_injection;
    }

    SvmMachine machine;
    TestVcpu vcpu{machine};
    const core::HvmTable& hvm{machine.hvm()};
};

constexpr std::uint64_t valid{1ull << 31};
constexpr std::uint64_t exception_type{3ull << 8};

}  // namespace

TEST_F(Exits, EachCodeHasItsKind)
{
    const struct {
        ExitCode code;
        ExitKind kind;
    } rows[]{{ExitCode::INTR, ExitKind::physical_interrupt},
             {ExitCode::NMI, ExitKind::physical_nmi},
             {ExitCode::INIT, ExitKind::init_signal},
             {ExitCode::VINTR, ExitKind::interrupt_window},
             {ExitCode::CPUID, ExitKind::cpuid},
             {ExitCode::HLT, ExitKind::halt},
             {ExitCode::VMMCALL, ExitKind::hypercall},
             {ExitCode::PAUSE, ExitKind::pause},
             {ExitCode::INVD, ExitKind::cache_control},
             {ExitCode::WBINVD, ExitKind::cache_control},
             {ExitCode::MONITOR, ExitKind::monitor},
             {ExitCode::MWAIT, ExitKind::monitor},
             {ExitCode::XSETBV, ExitKind::set_extended_control},
             {ExitCode::SHUTDOWN, ExitKind::shutdown},
             {ExitCode::INVALID, ExitKind::invalid_state},
             {ExitCode::CR8_WRITE, ExitKind::control_register},
             {ExitCode::VMRUN, ExitKind::privileged_instruction},
             {ExitCode::STGI, ExitKind::privileged_instruction},
             {ExitCode::SKINIT, ExitKind::privileged_instruction},
             {ExitCode::INVLPGA, ExitKind::privileged_instruction},
             {ExitCode::RDTSC, ExitKind::read_tsc},
             {ExitCode::RDTSCP, ExitKind::read_tsc},
             {ExitCode::FERR_FREEZE, ExitKind::unknown}};
    for (const auto& row : rows) {
        const core::Exit exit = exit_with(row.code);
        EXPECT_EQ(exit.kind, row.kind) << std::hex << number(row.code);
        EXPECT_EQ(exit.code, number(row.code));
        EXPECT_EQ(exit.instruction_length, 0) << "the processor does not say";
    }
    const core::Exit foreign = vcpu.enter([](Guest& guest) { guest.exits(0x7777); });
    EXPECT_EQ(foreign.kind, ExitKind::unknown);
    EXPECT_EQ(foreign.code, 0x7777u);
}

TEST_F(Exits, AnMsrExitSaysWhichWay)
{
    EXPECT_EQ(exit_with(ExitCode::MSR, 0).kind, ExitKind::msr_read);
    EXPECT_EQ(exit_with(ExitCode::MSR, 1).kind, ExitKind::msr_write);
}

TEST_F(Exits, APortExitIsTakenApart)
{
    vcpu.context.registers.rip = 0x100;
    const core::Exit in = exit_with(ExitCode::IOIO, 0x03f8'0011, 0x101);
    EXPECT_EQ(in.kind, ExitKind::port);
    EXPECT_EQ(in.port.port, 0x3f8);
    EXPECT_EQ(in.port.size, 1);
    EXPECT_TRUE(in.port.in);
    EXPECT_FALSE(in.port.string || in.port.repeated);
    EXPECT_EQ(in.port.next_rip, 0x101u);
    EXPECT_EQ(in.instruction_length, 1);
    const core::Exit outs = exit_with(ExitCode::IOIO, 0xcf80'004c, 0x103);
    EXPECT_EQ(outs.port.port, 0xcf80);
    EXPECT_EQ(outs.port.size, 4);
    EXPECT_TRUE(!outs.port.in && outs.port.string && outs.port.repeated);
}

TEST_F(Exits, ANestedFaultIsTakenApart)
{
    const core::Exit fault = exit_with(ExitCode::NPF, 1ull << 32 | 0x7, 0xfee0'0020);
    EXPECT_EQ(fault.kind, ExitKind::nested_fault);
    EXPECT_EQ(fault.fault.address.raw(), 0xfee0'0020u);
    EXPECT_TRUE(fault.fault.present && fault.fault.write);
    EXPECT_FALSE(fault.fault.execute || fault.fault.table_walk);
    EXPECT_EQ(fault.fault.instruction_bytes, 0);
    const core::Exit walk = exit_with(ExitCode::NPF, 1ull << 33 | 0x14, 0x1000);
    EXPECT_TRUE(walk.fault.table_walk && walk.fault.execute);
    EXPECT_FALSE(walk.fault.present || walk.fault.write);
}

TEST_F(Exits, DecodeAssistsHandOverTheInstruction)
{
    const core::Exit fault = vcpu.enter([](Guest& guest) {
        guest.exits(number(ExitCode::NPF), 2, 0x1000);
        guest.state.control.instruction_byte_count = 3;
        guest.state.control.instruction_bytes[0] = 0x89;
        guest.state.control.instruction_bytes[2] = 0x07;
    });
    EXPECT_EQ(fault.fault.instruction_bytes, 3);
    EXPECT_EQ(fault.fault.bytes[0], 0x89);
    EXPECT_EQ(fault.fault.bytes[2], 0x07);
}

TEST(ExitLength, IsWhatTheProcessorSavedWhereItDoes)
{
    SvmMachine machine{{.next_rip = true}};
    TestVcpu vcpu{machine};
    vcpu.load(0);
    vcpu.context.registers.rip = 0x2000;
    const core::Exit exit = vcpu.enter([](Guest& guest) {
        guest.exits(cpuid_exit);
        guest.state.control.next_rip = 0x2003;
    });
    EXPECT_EQ(exit.instruction_length, 3);
    EXPECT_EQ(vcpu.context.registers.rip, 0x2000u);
}

TEST_F(Exits, GeneralRegistersGoInAndComeOut)
{
    vcpu.context.registers.general[core::rax] = 1;
    vcpu.context.registers.general[core::rsp] = 2;
    vcpu.context.registers.general[core::r15] = 3;
    vcpu.context.registers.rip = 4;
    vcpu.context.registers.rflags = 0x202;
    vcpu.enter([](Guest& guest) {
        EXPECT_EQ(guest.state.save.rax, 1u);
        EXPECT_EQ(guest.state.save.rsp, 2u);
        EXPECT_EQ(guest.registers.general[core::r15], 3u);
        EXPECT_EQ(guest.state.save.rip, 4u);
        EXPECT_EQ(guest.state.save.rflags, 0x202u);
        guest.state.save.rax = 11;
        guest.state.save.rsp = 12;
        guest.state.save.rip = 14;
        guest.state.save.rflags = 0x46;
        guest.exits(cpuid_exit);
    });
    EXPECT_EQ(vcpu.context.registers.general[core::rax], 11u);
    EXPECT_EQ(vcpu.context.registers.general[core::rsp], 12u);
    EXPECT_EQ(vcpu.context.registers.rip, 14u);
    EXPECT_EQ(vcpu.context.registers.rflags, 0x46u);
}

TEST_F(Exits, AnInjectedEventIsDeliveredOnce)
{
    EXPECT_FALSE(hvm.event_pending(vcpu.context));
    hvm.inject(vcpu.context, {core::EventKind::interrupt, 0x31, false, 0});
    EXPECT_TRUE(hvm.event_pending(vcpu.context));
    EXPECT_EQ(next_event(), valid | 0x31);
    EXPECT_FALSE(hvm.event_pending(vcpu.context));
    EXPECT_EQ(next_event(), 0u);
    hvm.inject(vcpu.context, {core::EventKind::exception, 14, true, 6});
    EXPECT_EQ(next_event(), 6ull << 32 | valid | 1ull << 11 | exception_type | 14);
    hvm.inject(vcpu.context, {core::EventKind::nmi, 99, false, 0});
    EXPECT_EQ(next_event(), valid | 2ull << 8 | 2);
    hvm.inject(vcpu.context, {core::EventKind::software_interrupt, 0x80, false, 0});
    EXPECT_EQ(next_event(), valid | 4ull << 8 | 0x80);
}

TEST(Injection, TellsAProcessorThatSavesItWhereASoftwareInterruptReturnsTo)
{
    for (const bool saves : {true, false}) {
        SvmMachine machine{{.next_rip = saves}};
        TestVcpu vcpu{machine};
        vcpu.load(0);
        const auto entered_with = [&](core::EventKind kind) {
            vcpu.vmcb().control.next_rip = 0x77;  // an exit's
            vcpu.context.registers.rip = 0x1002;
            machine.hvm().inject(vcpu.context, {kind, 0x80, false, 0});
            vcpu.enter();
            return model().entered.control.next_rip;
        };
        EXPECT_EQ(entered_with(core::EventKind::software_interrupt), saves ? 0x1002u : 0x77u);
        EXPECT_EQ(entered_with(core::EventKind::interrupt), 0x77u);
    }
}

TEST_F(Exits, AnInterruptedDeliveryIsQueuedAgain)
{
    const std::uint64_t events[]{valid | 0x31, valid | 2ull << 8 | 2,
                                 6ull << 32 | valid | 1ull << 11 | exception_type | 14};
    for (const std::uint64_t event : events) {
        interrupted(event);
        EXPECT_TRUE(hvm.event_pending(vcpu.context));
        EXPECT_EQ(next_event(), event);
        EXPECT_EQ(next_event(), 0u);
    }
    interrupted(valid | 0x31);
    hvm.inject(vcpu.context, {core::EventKind::exception, 13, true, 0});
    EXPECT_EQ(next_event() & 0xff, 13u) << "the core's event replaces it";
}

TEST_F(Exits, AnInstructionThatRaisesAnInterruptIsExecutedAgainInstead)
{
    const std::uint64_t events[]{valid | 4ull << 8 | 0x80, valid | exception_type | 3,
                                 valid | exception_type | 4};
    for (const std::uint64_t event : events) {
        interrupted(event);
        EXPECT_FALSE(hvm.event_pending(vcpu.context));
        EXPECT_EQ(next_event(), 0u);
    }
}

TEST_F(Exits, AnInterceptedExceptionGoesOnToTheGuest)
{
    const auto debug = static_cast<ExitCode>(number(ExitCode::EXCEPTION_FIRST) + 1);
    const auto alignment = static_cast<ExitCode>(number(ExitCode::EXCEPTION_FIRST) + 17);
    const auto machine_check = static_cast<ExitCode>(number(ExitCode::EXCEPTION_FIRST) + 18);
    const core::Exit exit = exit_with(debug);
    EXPECT_EQ(exit.kind, ExitKind::exception);
    EXPECT_EQ(exit.exception.vector, 1);
    EXPECT_EQ(next_event(), valid | exception_type | 1);
    exit_with(alignment);
    EXPECT_EQ(next_event(), valid | exception_type | 1ull << 11 | 17);
    exit_with(machine_check);
    EXPECT_EQ(next_event(), 0u) << "the machine's, not the guest's";
    interrupted(valid | 0x31, alignment);
    EXPECT_EQ(next_event(), valid | 0x31) << "the interrupt was accepted already and must not be lost";
}

TEST_F(Exits, ReadingPerformanceCountersIsAGeneralProtectionFault)
{
    const core::Exit exit = exit_with(ExitCode::RDPMC);
    EXPECT_EQ(exit.kind, ExitKind::exception);
    EXPECT_EQ(exit.exception.vector, 13);
    EXPECT_EQ(next_event(), valid | exception_type | 1ull << 11 | 13);
}

TEST_F(Exits, AnInterruptIsPossibleWithTheFlagSetNoShadowAndNothingQueued)
{
    vcpu.context.registers.rflags = x86::Rflags::always_one;
    EXPECT_FALSE(hvm.interrupt_possible(vcpu.context));
    vcpu.context.registers.rflags |= x86::Rflags::IF::mask;
    EXPECT_TRUE(hvm.interrupt_possible(vcpu.context));
    vcpu.enter([](Guest& guest) {
        guest.state.control.interrupt_state = 1;
        guest.exits(cpuid_exit);
    });
    EXPECT_FALSE(hvm.interrupt_possible(vcpu.context));
    vcpu.context.registers.rflags |= x86::Rflags::RF::mask;
    vcpu.context.end_instruction();
    EXPECT_TRUE(hvm.interrupt_possible(vcpu.context));
    EXPECT_FALSE(x86::Rflags::RF::get(vcpu.context.registers.rflags));
    hvm.inject(vcpu.context, {core::EventKind::interrupt, 0x31, false, 0});
    EXPECT_FALSE(hvm.interrupt_possible(vcpu.context));
}

TEST_F(Exits, AWindowExitEndsTheRequest)
{
    hvm.request_interrupt_window(vcpu.context, 5);
    EXPECT_EQ(exit_with(ExitCode::VINTR).kind, ExitKind::interrupt_window);
    vcpu.enter();
    EXPECT_FALSE(svm::VirtualInterrupt::IRQ::get(model().entered.control.virtual_interrupt));
    EXPECT_EQ(model().entered.control.intercept_instructions & svm::intercept_bit(ExitCode::VINTR), 0u);
    EXPECT_EQ(model().entered.control.intercept_cr, 0u);
}

TEST_F(Exits, AnNmiWaitsUntilTheOneBeforeHasReturned)
{
    EXPECT_TRUE(hvm.nmi_possible(vcpu.context));
    hvm.inject(vcpu.context, {core::EventKind::nmi, 0, false, 0});
    vcpu.enter();
    EXPECT_FALSE(hvm.nmi_possible(vcpu.context));
    vcpu.context.registers.rip = 0x500;
    EXPECT_EQ(exit_with(ExitCode::IRET).kind, ExitKind::interrupt_window);
    EXPECT_FALSE(hvm.nmi_possible(vcpu.context)) << "the IRET has yet to be executed";
    vcpu.enter([](Guest& guest) {
        guest.state.save.rip = 0x700;
        guest.exits(cpuid_exit);
    });
    EXPECT_TRUE(hvm.nmi_possible(vcpu.context));
}

TEST_F(Exits, DebugRegistersBelongToTheGuestFromItsFirstUseOn)
{
    unsigned accesses{0};
    const core::Exit exit = vcpu.enter([&](Guest& guest) {
        if (guest.state.control.intercept_dr != 0)
            return guest.exits(number(ExitCode::DR15_WRITE));
        ++accesses;
        here().debug_addresses[2] = 0x4242;
        guest.exits(cpuid_exit);
    });
    EXPECT_EQ(exit.kind, ExitKind::cpuid) << "the core does not see the access";
    EXPECT_EQ(accesses, 1u);
    vcpu.unload();
    here().debug_addresses[2] = 0;  // another VCPU's
    vcpu.load(1);
    EXPECT_EQ(here().debug_addresses[2], 0u) << "no breakpoint is enabled: nothing is loaded yet";
    vcpu.vmcb().save.dr7 |= 0x10;
    vcpu.unload();
    vcpu.load(1);
    EXPECT_EQ(here().debug_addresses[2], 0x4242u);
    vcpu.enter();
    EXPECT_EQ(model().entered.control.intercept_dr, 0u);
}
