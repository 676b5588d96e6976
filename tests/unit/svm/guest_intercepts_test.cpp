// SPDX-License-Identifier: MIT
//
// What subscribers want, laid over the back end's own intercepts: neither takes the other's away.
#include <span>

#include <gtest/gtest.h>

#include "hv/arch/x86/svm/intercepts.hpp"
#include "hv/arch/x86/svm/permission_map.hpp"
#include "hv/x86/exceptions.hpp"
#include "svm_machine.hpp"

using namespace hv;
using namespace hv::test;
using svm::ExitCode;
using svm::intercept_bit;
using svm::number;

namespace {

constexpr std::uint32_t page_fault{1u << static_cast<unsigned>(x86::Exception::PF)};
constexpr std::uint32_t task_priority_write{1u << number(ExitCode::CR8_WRITE)};

class GuestIntercepts : public testing::Test {
protected:
    GuestIntercepts() { vcpu.load(0); }
    svm::VmcbControlArea& control() { return vcpu.vmcb().control; }

    SvmMachine machine;
    TestVcpu vcpu{machine};
    const core::HvmTable& hvm{machine.hvm()};
};

}  // namespace

TEST_F(GuestIntercepts, AreWhatIsWantedAndGoWithIt)
{
    vcpu.enter();
    const svm::VmcbControlArea before = control();
    ASSERT_EQ(before.clean_bits, svm::clean_all);
    core::Intercepts wanted;
    wanted.exceptions = page_fault;
    wanted.control_reads = 1 << 3;
    wanted.control_writes = 1 << 3 | 1 << 4;
    wanted.pause = wanted.read_tsc = wanted.invalidate_page = true;
    hvm.intercept(vcpu.context, wanted);
    EXPECT_EQ(control().intercept_exceptions, before.intercept_exceptions | page_fault);
    EXPECT_EQ(control().intercept_cr & 0x0018'0008u, 0x0018'0008u);
    EXPECT_NE(control().intercept_instructions & intercept_bit(ExitCode::RDTSC), 0u);
    EXPECT_NE(control().intercept_instructions & intercept_bit(ExitCode::INVLPG), 0u);
    EXPECT_NE(control().intercept_instructions & intercept_bit(ExitCode::PAUSE), 0u);
    EXPECT_NE(control().intercept_svm & intercept_bit(ExitCode::RDTSCP), 0u);
    EXPECT_EQ(control().pause_filter_count, 0u) << "each PAUSE";
    EXPECT_EQ(control().clean_bits & (svm::clean_intercepts | svm::clean_permissions), 0u);
    hvm.intercept(vcpu.context, {});
    EXPECT_EQ(control().intercept_exceptions, before.intercept_exceptions);
    EXPECT_EQ(control().intercept_cr, before.intercept_cr);
    EXPECT_EQ(control().intercept_instructions, before.intercept_instructions);
    EXPECT_EQ(control().intercept_svm, before.intercept_svm);
    EXPECT_EQ(control().pause_filter_count, before.pause_filter_count);
}

TEST_F(GuestIntercepts, ShareTheTaskPriorityWithAWaitingInterrupt)
{
    core::Intercepts wanted;
    wanted.control_writes = 1 << 8;
    hvm.intercept(vcpu.context, wanted);
    hvm.request_interrupt_window(vcpu.context, 5);
    hvm.request_interrupt_window(vcpu.context, 0);
    EXPECT_NE(control().intercept_cr & task_priority_write, 0u) << "the subscriber still wants it";
    hvm.request_interrupt_window(vcpu.context, 5);
    hvm.intercept(vcpu.context, {});
    EXPECT_NE(control().intercept_cr & task_priority_write, 0u) << "the window still wants it";
    hvm.request_interrupt_window(vcpu.context, 0);
    EXPECT_EQ(control().intercept_cr & task_priority_write, 0u);
}

TEST_F(GuestIntercepts, KeepHiddenBitsOfControl4Hidden)
{
    hvm.offer(vcpu.context, {.cr4 = 0, .efer = ~0ull, .xcr0 = 0});
    const std::uint32_t before = control().intercept_cr;
    EXPECT_NE(before, 0u);
    hvm.intercept(vcpu.context, {});
    EXPECT_EQ(control().intercept_cr, before);
}

TEST_F(GuestIntercepts, ChooseAmongTheRegistersThatAGuestHasForItself)
{
    core::Ledger ledger;
    void* const map = hvm.msr_map_create(ledger).value();
    const core::MsrIntercept ranges[]{{0xc000'0100, 0xc000'0101, true, false}, {0x10, 0x10, true, false}, {0, 0xffff'ffff, false, false}};
    hvm.msr_map_set(map, std::span{ranges});
    const auto& chosen = *static_cast<const svm::MsrPermissionMap*>(map);
    EXPECT_TRUE(chosen.read_exits(0xc000'0100) && !chosen.write_exits(0xc000'0100));
    EXPECT_TRUE(chosen.read_exits(0x10) && chosen.write_exits(0x10)) << "writes of the counter always";
    EXPECT_FALSE(chosen.read_exits(0xc000'0102));
    EXPECT_TRUE(chosen.read_exits(0x1b) && chosen.write_exits(0x1b)) << "what is not the guest's own";
    core::Intercepts wanted;
    wanted.msr_map = map;
    const HostPhysical usual = control().msrpm_base;
    hvm.intercept(vcpu.context, wanted);
    EXPECT_NE(control().msrpm_base, usual);
    hvm.msr_map_set(map, {});
    EXPECT_FALSE(chosen.read_exits(0xc000'0100));
    hvm.intercept(vcpu.context, {});
    EXPECT_EQ(control().msrpm_base, usual);
    hvm.msr_map_destroy(map, ledger);
    EXPECT_EQ(ledger.frames(), 0u);
}

TEST_F(GuestIntercepts, OfDebugRegistersStayWhenTheGuestsAreInTheProcessor)
{
    core::Intercepts wanted;
    wanted.debug_reads = 1 << 6;
    wanted.debug_writes = 1 << 7;
    hvm.intercept(vcpu.context, wanted);
    EXPECT_EQ(control().intercept_dr, svm::all_debug_registers);
    unsigned entries{};
    const auto access = [&](std::uint64_t code) {
        entries = 0;
        return vcpu.enter([&entries, code](Guest& guest) {
            guest.exits(entries++ == 0 ? code : cpuid_exit);
        }).kind;
    };
    EXPECT_EQ(access(number(ExitCode::DR0_READ)), core::ExitKind::cpuid) << "nobody wants DR0";
    EXPECT_EQ(control().intercept_dr, 1u << 6 | 1u << 23);
    EXPECT_EQ(model().entered.control.intercept_dr, 1u << 6 | 1u << 23) << "the processor was told";
    EXPECT_EQ(access(number(ExitCode::DR0_READ) + 6), core::ExitKind::debug_register);
    EXPECT_EQ(access(number(ExitCode::DR0_WRITE) + 7), core::ExitKind::debug_register);
    hvm.intercept(vcpu.context, {});
    EXPECT_EQ(control().intercept_dr, 0u);
    vcpu.enter();
    EXPECT_EQ(model().entered.control.intercept_dr, 0u);
    hvm.intercept(vcpu.context, wanted);
    vcpu.unload();
    vcpu.load(0);
    EXPECT_EQ(control().intercept_dr, svm::all_debug_registers);
    EXPECT_EQ(access(number(ExitCode::DR0_READ) + 6), core::ExitKind::debug_register) << "the first access since it was loaded";
}

class DebugRegisters : public GuestIntercepts {
protected:
    DebugRegisters()
    {
        EXPECT_TRUE(hvm.write_system(vcpu.context, long_mode_state()));
        vcpu.enter();
    }
    Status move(std::uint8_t opcode, unsigned number)
    {
        core::Exit exit{};
        exit.kind = core::ExitKind::debug_register;
        const std::byte bytes[]{std::byte{0x0f}, std::byte{opcode}, static_cast<std::byte>(0xc3 | number << 3)};  // RBX
        return hvm.emulate_system_instruction(vcpu.context, exit, bytes, 3);
    }
    Status write(unsigned number, std::uint64_t value)
    {
        rbx() = value;
        return move(0x23, number);
    }
    std::uint64_t read(unsigned number)
    {
        EXPECT_TRUE(move(0x21, number));
        return rbx();
    }
    std::uint64_t& rbx() { return vcpu.context.registers.general[core::rbx]; }
};

TEST_F(DebugRegisters, AreMovedAsTheProcessorWouldMoveThem)
{
    EXPECT_TRUE(write(2, 0x1234'5678'9abc));
    EXPECT_EQ(read(2), 0x1234'5678'9abcu);
    EXPECT_EQ(write(6, 1ull << 32).error(), Error::invalid_argument);
    EXPECT_EQ(write(7, 1ull << 63).error(), Error::invalid_argument);
    EXPECT_TRUE(write(6, 0));
    EXPECT_EQ(read(6), 0xffff'0ff0u) << "bits that are always one";
    EXPECT_TRUE(write(7, 0xd001));
    EXPECT_EQ(read(7), 0x401u) << "bits that are always zero";
    EXPECT_EQ(read(5), 0x401u);
    vcpu.enter();
    EXPECT_EQ(model().entered.save.dr7, 0x401u) << "the processor was told";
    EXPECT_EQ(model().entered.save.dr6, 0xffff'0ff0u);
    vcpu.vmcb().save.cr4 |= 1 << 3;  // DE
    EXPECT_EQ(write(5, 0).error(), Error::not_supported);
    vcpu.vmcb().save.cpl = 3;
    EXPECT_EQ(write(7, 0).error(), Error::invalid_argument);
    EXPECT_EQ(vcpu.vmcb().save.dr7, 0x401u) << "refused means untouched";
}

TEST_F(DebugRegisters, ThatAreGuardedRaiseADebugException)
{
    EXPECT_TRUE(write(7, 0x2400));
    vcpu.enter();
    EXPECT_EQ(write(0, 0x77).error(), Error::conflict);
    vcpu.enter();
    EXPECT_EQ(model().entered.save.dr7, 0x400u);
    EXPECT_EQ(model().entered.save.dr6, 0xffff'0ff0u | 1 << 13);
    EXPECT_NE(read(0), 0x77u);
}

TEST_F(GuestIntercepts, AWantedExceptionIsTheGuestsUnlessAnEventWasUnderWay)
{
    core::Intercepts wanted;
    wanted.exceptions = page_fault;
    hvm.intercept(vcpu.context, wanted);
    const auto fault = [&](std::uint64_t interrupted) {
        return vcpu.enter([=](Guest& guest) {
            guest.exits(number(ExitCode::EXCEPTION_FIRST) + 14, 2, 0x5000);
            guest.state.control.exit_interrupt_info = interrupted;
        });
    };
    core::Exit exit = fault(0);
    EXPECT_FALSE(exit.exception.in_delivery);
    EXPECT_EQ(exit.exception.error_code, 2u);
    EXPECT_EQ(vcpu.vmcb().save.cr2, 0x5000u);
    EXPECT_TRUE(hvm.event_pending(vcpu.context));
    constexpr std::uint64_t interrupt{1ull << 31 | 0x40};
    exit = fault(interrupt);
    EXPECT_TRUE(exit.exception.in_delivery);
    EXPECT_EQ(control().event_injection, interrupt) << "the event comes first";
}

TEST_F(GuestIntercepts, AnExceptionThatIsCancelledHasNotHappened)
{
    core::Intercepts wanted;
    wanted.exceptions = page_fault;
    hvm.intercept(vcpu.context, wanted);
    vcpu.vmcb().save.cr2 = 0x1111;
    vcpu.enter();
    const auto fault = [&](unsigned vector, std::uint64_t interrupted) {
        return vcpu.enter([=](Guest& guest) {
            guest.exits(number(ExitCode::EXCEPTION_FIRST) + vector, 2, 0x5000);
            guest.state.control.exit_interrupt_info = interrupted;
        });
    };
    fault(14, 0);
    hvm.cancel_exception(vcpu.context);
    EXPECT_FALSE(hvm.event_pending(vcpu.context));
    vcpu.enter();
    EXPECT_EQ(model().entered.save.cr2, 0x1111u) << "the processor was told";
    fault(14, 0);
    vcpu.enter();
    EXPECT_EQ(model().entered.save.cr2, 0x5000u);
    EXPECT_EQ(model().entered.control.event_injection & 0xff, 14u);
    constexpr std::uint64_t interrupt{1ull << 31 | 0x40}, general_protection{1ull << 31 | 1 << 11 | 3 << 8 | 13};
    core::Exit exit = fault(14, interrupt);
    EXPECT_FALSE(exit.exception.delivering_exception);
    hvm.cancel_exception(vcpu.context);
    vcpu.enter();
    EXPECT_EQ(model().entered.control.event_injection, interrupt) << "its delivery goes on";
    exit = fault(14, general_protection);
    EXPECT_TRUE(exit.exception.in_delivery && exit.exception.delivering_exception);
    EXPECT_EQ(exit.exception.delivering_vector, 13u);
    exit = fault(1, interrupt);  // one of the back end's own
    hvm.cancel_exception(vcpu.context);
    vcpu.enter();
    EXPECT_EQ(model().entered.control.event_injection, interrupt);
    fault(1, 0);
    hvm.cancel_exception(vcpu.context);
    EXPECT_FALSE(hvm.event_pending(vcpu.context));
}
