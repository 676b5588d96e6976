// SPDX-License-Identifier: MIT
//
// HLT and what ends it, which interrupt comes first and when, and how other processors start, stop and interrupt a VCPU.
// A wake that cannot be taken must put the VCPU back to sleep: a main loop that never ends hangs this test, as it would
// hang the processor.
#include "hv/core/domain/virtual_pc.hpp"
#include "machine_fixture.hpp"

using namespace hv;
using namespace hv::test;

namespace {

Exit hlt() { return plain_exit(ExitKind::halt, 1); }
constexpr std::uint16_t pic_command{0x20}, pic_data{0x21};

class HaltAndInterrupt : public VcpuTest {
protected:
    HaltAndInterrupt()
    {
        for (unsigned index = 0; index < 2; ++index)
            vcpu(index).apic.reset_as_by_firmware();
    }
    /// HLT as kernels execute it, behind STI: nothing is taken before it.
    void halt(std::uint64_t rflags = interrupt_flag, unsigned index = 0)
    {
        guest(index).interrupt_shadow = true;
        vcpu(index).registers.rflags = 2 | rflags;
        run({exits(hlt())}, index);
    }
    bool asleep(unsigned index = 0) { return vcpu(index).blocked_by(Blocker::halted); }
    void interrupt(std::uint8_t vector, unsigned index = 0)
    {
        EXPECT_TRUE(domain->route({.destination = index, .vector = vector}, domain->vcpu_count()));
    }
    void message(DeliveryMode delivery, std::uint8_t vector, unsigned to)
    {
        EXPECT_TRUE(domain->route({.destination = to, .vector = vector, .delivery = delivery}, 0));
    }
    void start_second()
    {
        message(DeliveryMode::init, 0, 1);
        message(DeliveryMode::startup, 0x12, 1);
    }
    /// The PIC's interrupt 0 at vector 0x20, requested by the timer chip: its output is up and stays up.
    void raise_pic()
    {
        domain->pc->write_port(pic_command, 1, 0x11);
        for (const std::uint32_t word : {0x20u, 0x04u, 0x01u})
            domain->pc->write_port(pic_data, 1, word);
        domain->pc->write_port(pic_data, 1, 0xfe);
        domain->pc->write_port(0x43, 1, 0x34);
        domain->pc->write_port(0x40, 1, 0);
        domain->pc->write_port(0x40, 1, 1);
        fake::advance_ticks(10'000'000);
        turn();
        ASSERT_TRUE(domain->pc->pic_output());
    }
};

}  // namespace

TEST_F(HaltAndInterrupt, SleepsInHltUntilAnInterruptAndResumesBehindIt)
{
    halt();
    EXPECT_TRUE(asleep());
    EXPECT_FALSE(turn());
    interrupt(0x41);
    EXPECT_FALSE(asleep());
    turn();
    EXPECT_EQ(delivered(), std::vector<unsigned>{0x41});
    EXPECT_EQ(vcpu().registers.rip, 0x1001u);
    EXPECT_FALSE(vcpu().in_halt);
}

TEST_F(HaltAndInterrupt, DoesNotSleepWhenAnInterruptWaitsAlready)
{
    vcpu().registers.rflags = 2;
    interrupt(0x55);
    run(ExitKind::pause, 2);
    EXPECT_TRUE(delivered().empty()) << "IF is clear";
    halt();
    EXPECT_EQ(delivered(), std::vector<unsigned>{0x55});
    EXPECT_FALSE(asleep());
}

TEST_F(HaltAndInterrupt, EndsWithReasonHaltWhenEveryVcpuIsHaltedForGood)
{
    start_second();
    turn();
    halt(0);
    EXPECT_EQ(domain->state(), DomainState::running) << "the second one runs";
    halt(0, 1);
    EXPECT_EQ(domain->state(), DomainState::ended);
    EXPECT_EQ(domain->end_reason(), EndReason::halt);
}

TEST_F(HaltAndInterrupt, CountsAProcessorThatWasNeverStartedAsHalted)
{
    halt(0);
    EXPECT_EQ(domain->end_reason(), EndReason::halt);
}

TEST_F(HaltAndInterrupt, IsNotOverWhileAnNmiIsOnItsWayToAHaltedVcpu)
{
    start_second();
    turn();
    halt(0);
    vcpu(1).registers.rflags = 2;
    guest(1).script.push_back([this](VcpuContext&, FakeVcpu&) {
        message(DeliveryMode::nmi, 0, 0);
        return hlt();
    });
    turn();
    EXPECT_EQ(domain->state(), DomainState::running) << "the NMI had been sent before";
    turn();
    EXPECT_EQ(delivered(), std::vector<unsigned>{2});
}

TEST_F(HaltAndInterrupt, DropsAllTranslationsBeforeTheNextEntryWhereThatWasAskedFor)
{
    run(ExitKind::physical_nmi);
    const unsigned before = guest().flushes;
    run(ExitKind::physical_nmi);
    EXPECT_EQ(guest().flushes, before);
    vcpu().mark(VcpuRequest::flush);
    run(ExitKind::physical_nmi);
    EXPECT_EQ(guest().flushes, before + 1);
}

TEST_F(HaltAndInterrupt, WakesByAnNmiWithInterruptsDisabled)
{
    start_second();
    turn();
    halt(0);
    EXPECT_TRUE(asleep());
    message(DeliveryMode::nmi, 0, 0);
    turn();
    EXPECT_EQ(delivered(), std::vector<unsigned>{2});
    EXPECT_EQ(guest().queued, std::nullopt);
}

TEST_F(HaltAndInterrupt, SleepsOnWhenTheNmiThatWaitsMustWaitForTheHandlersEnd)
{
    message(DeliveryMode::nmi, 0, 0);
    run(ExitKind::pause, 2);
    EXPECT_EQ(delivered(), std::vector<unsigned>{2});
    message(DeliveryMode::nmi, 0, 0);
    halt();  // inside the handler of the first
    EXPECT_TRUE(asleep());
    EXPECT_TRUE(delivered().empty());
    guest().nmi_in_service = false;
    vcpu().request(VcpuRequest::look);
    turn();
    EXPECT_EQ(delivered(), std::vector<unsigned>{2});
}

TEST_F(HaltAndInterrupt, SleepsOnWhenThePicsOutputIsUpButTheLocalApicTakesNoneOfIt)
{
    domain->vcpu(0).apic.write_mmio(0x350, 4, 0x1'0700, 0);  // LINT0 masked
    raise_pic();
    halt();
    EXPECT_TRUE(asleep());
    EXPECT_TRUE(delivered().empty());
    interrupt(0x61);
    turn();
    EXPECT_EQ(delivered(), std::vector<unsigned>{0x61});
}

TEST_F(HaltAndInterrupt, TakesThePicsInterruptWhereLint0IsOpen)
{
    raise_pic();
    halt();
    EXPECT_EQ(delivered(), std::vector<unsigned>{0x20});
    EXPECT_FALSE(vcpu().in_halt);
}

TEST_F(HaltAndInterrupt, GivesASingleStepsExceptionInsteadOfSleeping)
{
    interrupt(0x61);
    halt(interrupt_flag | 0x100);
    EXPECT_FALSE(asleep());
    ASSERT_FALSE(guest().delivered.empty());
    EXPECT_EQ(delivered().front(), 1u);
    EXPECT_EQ(guest().system.dr6 & 0x4000, 0x4000u);
}

TEST_F(HaltAndInterrupt, HeedsATaskPriorityThatWasLoweredWithoutAnExitBeforeHlt)
{
    vcpu().registers.rflags = 2 | interrupt_flag;
    guest().task_priority = 0xf;
    interrupt(0x41);
    run(ExitKind::pause, 2);  // the core has seen the high priority
    EXPECT_TRUE(delivered().empty());
    guest().script.push_back([](VcpuContext&, FakeVcpu& self) {
        self.task_priority = 0;
        self.window_class = 0;
        return hlt();
    });
    turn();
    EXPECT_FALSE(asleep());
    EXPECT_EQ(delivered(), std::vector<unsigned>{0x41});
}

TEST_F(HaltAndInterrupt, DeliversTheHighestVectorFirstAndTheNextInItsOwnTime)
{
    vcpu().registers.rflags = 2 | interrupt_flag;
    interrupt(0x41);
    interrupt(0x81);
    run(ExitKind::pause, 2);
    EXPECT_EQ(delivered(), std::vector<unsigned>{0x81});
    vcpu().registers.rflags |= interrupt_flag;
    run(ExitKind::pause, 2);
    EXPECT_TRUE(delivered().empty()) << "0x81 is in service";
    static_cast<void>(vcpu().apic.end_of_interrupt());
    run(ExitKind::pause, 2);
    EXPECT_EQ(delivered(), std::vector<unsigned>{0x41});
}

TEST_F(HaltAndInterrupt, AsksForAWindowOfTheWaitingVectorsClassAndTakesItThere)
{
    interrupt(0x71);
    run(ExitKind::pause, 2);
    EXPECT_EQ(guest().window_class, 7);
    guest().script.push_back([](VcpuContext& context, FakeVcpu&) {
        context.registers.rflags |= interrupt_flag;  // STI
        return plain_exit(ExitKind::physical_nmi);
    });
    turn();
    EXPECT_EQ(delivered(), std::vector<unsigned>{0x71});
    EXPECT_EQ(guest().window_class, 0);
}

TEST_F(HaltAndInterrupt, DeliversTheNmiThatWaitsWhenTheHandlersEndSwitchesInterruptsOn)
{
    const auto nmi = [this] { message(DeliveryMode::nmi, 0, 0); };
    nmi();
    run(ExitKind::physical_nmi);
    EXPECT_EQ(delivered(), std::vector<unsigned>{2});
    EXPECT_EQ(guest().window_class, 0);
    nmi();
    vcpu().registers.rflags &= ~interrupt_flag;
    run(ExitKind::physical_nmi);
    EXPECT_TRUE(delivered().empty());
    EXPECT_NE(guest().window_class, 0) << "an exit as soon as interrupts are on";
    guest().nmi_in_service = false;
    vcpu().registers.rflags |= interrupt_flag;
    turn();
    EXPECT_EQ(delivered(), std::vector<unsigned>{2});

    nmi();
    run(ExitKind::physical_nmi);
    EXPECT_EQ(guest().window_class, 0) << "interrupts are on in this handler: an exit for nothing, for ever";
    guest().nmi_in_service = false;
    run(ExitKind::physical_nmi);
    EXPECT_EQ(delivered(), std::vector<unsigned>{2}) << "with the next exit";
}

TEST_F(HaltAndInterrupt, LetsAnNmiPassAnInterrupt)
{
    vcpu().registers.rflags = 2 | interrupt_flag;
    interrupt(0x71);
    message(DeliveryMode::nmi, 0, 0);
    run({exits(plain_exit(ExitKind::pause, 2)), exits(plain_exit(ExitKind::pause, 2))});
    EXPECT_EQ(delivered(), (std::vector<unsigned>{2, 0x71}));
}

TEST_F(HaltAndInterrupt, HoldsInterruptsInTheShadowOfSti)
{
    vcpu().registers.rflags = 2 | interrupt_flag;
    guest().interrupt_shadow = true;
    interrupt(0x33);
    guest().script.push_back([](VcpuContext&, FakeVcpu& self) {
        EXPECT_TRUE(self.delivered.empty());
        return plain_exit(ExitKind::pause, 2);
    });
    turn();
    EXPECT_EQ(delivered(), std::vector<unsigned>{0x33});
}

TEST_F(HaltAndInterrupt, StartsAnotherProcessorByInitAndOneStartupMessage)
{
    EXPECT_TRUE(vcpu(1).blocked_by(Blocker::waiting_for_startup));
    start_second();
    turn();
    EXPECT_TRUE(vcpu(1).started);
    EXPECT_GE(guest(1).entries, 1u);
    EXPECT_EQ(guest(1).system.segments[segment_cs].base, 0x1'2000u);
    EXPECT_EQ(guest(1).system.segments[segment_cs].selector, 0x1200);
    EXPECT_EQ(vcpu(1).registers.rip, 0u);
}

TEST_F(HaltAndInterrupt, IgnoresAStartupMessageToAProcessorThatRuns)
{
    start_second();
    turn();
    vcpu(1).registers.rip = 0x777;
    message(DeliveryMode::startup, 0x55, 1);
    turn();
    EXPECT_EQ(vcpu(1).registers.rip, 0x777u);
    EXPECT_EQ(guest(1).system.segments[segment_cs].base, 0x1'2000u);
}

TEST_F(HaltAndInterrupt, PutsAProcessorThatRunsBackToWaitingByInit)
{
    start_second();
    turn();
    const unsigned entries = guest(1).entries;
    message(DeliveryMode::init, 0, 1);
    turn();
    turn();
    EXPECT_FALSE(vcpu(1).started);
    EXPECT_TRUE(vcpu(1).blocked_by(Blocker::waiting_for_startup));
    EXPECT_EQ(guest(1).entries, entries);
    EXPECT_EQ(guest(1).system.cr0, 0x6000'0010u);
    message(DeliveryMode::startup, 0x34, 1);
    turn();
    EXPECT_EQ(guest(1).system.segments[segment_cs].base, 0x3'4000u);
    EXPECT_GT(guest(1).entries, entries);
}

TEST_F(HaltAndInterrupt, StartsWhereTheFirstStartupMessageSaid)
{
    start_second();
    message(DeliveryMode::startup, 0x55, 1);  // Linux sends two
    turn();
    EXPECT_EQ(guest(1).system.segments[segment_cs].base, 0x1'2000u);
}

TEST_F(HaltAndInterrupt, VoidsAStartupMessageByALaterInit)
{
    start_second();
    message(DeliveryMode::init, 0, 1);
    turn();
    EXPECT_FALSE(vcpu(1).started);
    EXPECT_EQ(guest(1).entries, 0u);
    message(DeliveryMode::startup, 0x34, 1);
    turn();
    EXPECT_EQ(guest(1).system.segments[segment_cs].base, 0x3'4000u);
}

TEST_F(HaltAndInterrupt, WaitsOnWhenAProcessorThatWaitsForAStartupMessageIsWokenForNothing)
{
    start_second();
    turn();
    message(DeliveryMode::init, 0, 1);
    turn();
    machine().scheduler.unblock(vcpu(1), Blocker::waiting_for_startup);  // a sender of old, come late
    turn();
    EXPECT_TRUE(vcpu(1).blocked_by(Blocker::waiting_for_startup));
    message(DeliveryMode::startup, 0x34, 1);
    turn();
    EXPECT_TRUE(vcpu(1).started);
}

TEST_F(HaltAndInterrupt, EndsAsHaltedWhenTheLastThatRanIsPutToWaitByInit)
{
    start_second();
    turn();
    halt(0);
    guest(1).script.push_back([this](VcpuContext&, FakeVcpu&) {
        message(DeliveryMode::init, 0, 1);
        return plain_exit(ExitKind::pause, 2);
    });
    turn();
    EXPECT_EQ(domain->state(), DomainState::ended);
    EXPECT_EQ(domain->end_reason(), EndReason::halt);
}

TEST_F(HaltAndInterrupt, StartsTheMachineOverWhenTheBootstrapProcessorGetsInit)
{
    start_second();
    turn();
    message(DeliveryMode::init, 0, 0);
    EXPECT_EQ(domain->state(), DomainState::ended);
    EXPECT_EQ(domain->end_reason(), EndReason::reboot);
}
