// SPDX-License-Identifier: MIT
//
// A domain from its making to its end: what it costs, its time while it is paused, why it ended, and that all of it is
// given back.
#include "machine_fixture.hpp"

using namespace hv;
using namespace hv::test;

namespace {

class DomainMaking : public MachineTest {};

class DomainLife : public VcpuTest {
protected:
    void expect_crash(std::string_view text)
    {
        EXPECT_EQ(domain->state(), DomainState::ended);
        EXPECT_EQ(domain->end_reason(), EndReason::crash);
        EXPECT_EQ(domain->end_text(), text);
    }
    void write_msr(std::uint32_t msr, std::uint64_t value)
    {
        reg(rcx) = msr;
        reg(rax) = value & 0xffff'ffff;
        reg(rdx) = value >> 32;
        run(ExitKind::msr_write, 2);
    }
};

}  // namespace

TEST_F(DomainMaking, GivesBackEveryFrameInWhicheverStepItFails)
{
    const std::uint64_t free = frames.free_frames();
    const auto attempt = [](DomainConfig config) { return Domain::create(1, config); };
    EXPECT_EQ(attempt({.name = "a", .memory_bytes = 1 << 20, .vcpus = 0}).error(), Error::invalid_argument);
    EXPECT_EQ(attempt({.name = "a", .memory_bytes = 1 << 20, .vcpus = 65}).error(), Error::invalid_argument);
    EXPECT_EQ(attempt({.name = "a", .memory_bytes = 4097}).error(), Error::invalid_argument);
    EXPECT_EQ(attempt({.name = "a", .memory_bytes = 1ull << 40}).error(), Error::no_memory);
    fake::fail_vcpu_create(1);
    EXPECT_EQ(attempt({.name = "a", .memory_bytes = 1 << 20, .vcpus = 3}).error(), Error::no_memory);
    EXPECT_EQ(frames.free_frames(), free);
    EXPECT_EQ(fake::fake_vcpus(), 0u);
    for (const std::uint64_t spare : {0ull, 1ull, 2ull, 4ull, 8ull, 16ull, 32ull, 64ull}) {
        Ledger others;
        std::vector<HostPhysical> taken;
        while (frames.free_frames() > (8 << 8) + spare)
            taken.push_back(frames.allocate(0, others).value());
        const auto made = attempt({.name = "a", .memory_bytes = 8 << 20, .vcpus = 64});
        if (made) {
            made.value()->end(EndReason::destroyed);
            Domain::destroy(made.value());
        } else {
            EXPECT_EQ(made.error(), Error::no_memory);
        }
        EXPECT_EQ(frames.free_frames(), (8u << 8) + spare);
        for (const HostPhysical frame : taken)
            frames.release(frame, 0, others);
    }
    EXPECT_EQ(frames.free_frames(), free);
}

TEST_F(DomainMaking, TakesTheStepsOfALifeInTheirOrderOnly)
{
    Domain& domain = *Domain::create(3, {.name = "x", .memory_bytes = 1 << 20}).value();
    domain.vcpu(0).started = true;
    EXPECT_EQ(domain.state(), DomainState::building);
    EXPECT_EQ(domain.unpause().error(), Error::conflict);
    EXPECT_EQ(domain.pause().error(), Error::conflict);
    EXPECT_TRUE(domain.finish_build());
    EXPECT_EQ(domain.finish_build().error(), Error::conflict);
    EXPECT_TRUE(domain.unpause());
    EXPECT_EQ(domain.unpause().error(), Error::conflict);
    EXPECT_TRUE(domain.pause());
    EXPECT_EQ(domain.pause().error(), Error::conflict);
    domain.end(EndReason::destroyed);
    EXPECT_EQ(domain.unpause().error(), Error::conflict);
    Domain::destroy(&domain);
}

TEST_F(DomainLife, EndsByATripleFaultAndSaysWhere)
{
    vcpu().registers.rip = 0xabc;
    run(ExitKind::shutdown);
    expect_crash("triple fault on VCPU 0, RIP 0xabc");
    EXPECT_FALSE(turn()) << "nothing of it runs any more";
}

TEST_F(DomainLife, EndsByWhatTheProcessorRefusesOrNobodyKnows)
{
    run(ExitKind::invalid_state);
    expect_crash("the processor refused the state on VCPU 0, RIP 0x1000");
}

TEST_F(DomainLife, EndsByAnExitWithoutAName)
{
    Exit exit = plain_exit(ExitKind::unknown);
    exit.code = 0x99;
    run({exits(exit)});
    expect_crash("VCPU 0 left the guest for an unknown reason, exit code 0x99");
}

TEST_F(DomainLife, EndsByAMachineCheckAndNotByOtherExceptions)
{
    Exit exit = plain_exit(ExitKind::exception);
    exit.exception = {.vector = 14, .in_delivery = false, .delivering_exception = false, .delivering_vector = 0, .error_code = 0, .address = 0};
    run({exits(exit)});
    EXPECT_EQ(domain->state(), DomainState::running);
    exit.exception.vector = 18;
    run({exits(exit)});
    expect_crash("machine check on VCPU 0, RIP 0x1000");
}

TEST_F(DomainLife, KeepsItsFirstReasonAndTellsItOnce)
{
    domain->end(EndReason::poweroff, "first");
    domain->end(EndReason::crash, "second");
    EXPECT_EQ(domain->end_reason(), EndReason::poweroff);
    EXPECT_EQ(domain->end_text(), "first");
    EXPECT_TRUE(domain->take_end_announcement());
    EXPECT_FALSE(domain->take_end_announcement());
}

TEST_F(DomainLife, CutsAReasonThatIsTooLong)
{
    domain->end(EndReason::crash, std::string(500, 'x'));
    EXPECT_EQ(domain->end_text(), std::string(maximum_end_text, 'x'));
}

TEST_F(DomainLife, PowersOffAndResetsByTheGuestsOwnHand)
{
    reg(rax) = 0x06;
    run({exits(fake::port_exit({0xcf9, 1, false, false, false, 0xff, 0x1001}))});
    EXPECT_EQ(domain->end_reason(), EndReason::reboot);
}

TEST_F(DomainLife, HoldsTheGuestsTimeWhilePausedAndArmsItsTimersAgainBehindThePause)
{
    fake::set_ticks(1'000);
    vcpu().apic.reset_as_by_firmware();
    vcpu().registers.rflags = 2 | interrupt_flag;
    static_cast<void>(vcpu().apic.write_mmio(0x320, 4, 0x4'0050, 1'000));  // TSC deadline, vector 0x50
    write_msr(0x6e0, 50'000);
    EXPECT_EQ(machine_->here().timers.earliest(), 50'000u);
    fake::set_ticks(20'000);
    ASSERT_TRUE(domain->pause());
    EXPECT_EQ(machine_->here().timers.earliest(), TimerQueue::never);
    fake::set_ticks(1'020'000);
    EXPECT_FALSE(turn());
    EXPECT_EQ(vcpu().guest_tsc(1'020'000), 20'000u);
    ASSERT_TRUE(domain->unpause());
    turn();
    EXPECT_EQ(vcpu().guest_tsc(1'020'000), 20'000u);
    EXPECT_EQ(guest().tsc_offset, 0 - 1'000'000ull);
    EXPECT_EQ(machine_->here().timers.earliest(), 1'050'000u);
    fake::set_ticks(1'049'999);
    turn();
    EXPECT_TRUE(delivered().empty());
    fake::set_ticks(1'050'000);
    turn();
    turn();
    EXPECT_EQ(delivered(), std::vector<unsigned>{0x50});
}

TEST_F(DomainLife, FlushesWhatTheGuestRemembersOfAPageThatWasTakenAway)
{
    put<std::uint32_t>(0x5000, 0x11);
    const auto frame = frames.allocate(0, ledger);
    ASSERT_TRUE(frame);
    const auto look = [](std::uint32_t expected) {
        return [expected](VcpuContext& context, FakeVcpu&) {
            std::uint32_t value{};
            Exit exit = plain_exit(ExitKind::physical_nmi);
            EXPECT_TRUE(fake::guest_read(context, GuestPhysical{0x5000}, &value, 4, exit));
            EXPECT_EQ(value, expected);
            return exit;
        };
    };
    run({look(0x11)});
    *static_cast<std::uint32_t*>(platform::to_pointer(frame.value())) = 0x22;
    ASSERT_TRUE(domain->memory.map().replace(GuestPhysical{0x5000}, frame.value(), page_size, access_all));
    run({look(0x22)});
    ASSERT_TRUE(domain->memory.map().replace(GuestPhysical{0x5000}, domain->memory.ram_page(GuestPhysical{0x5000}).value(),
                                             page_size, access_all));
    run({look(0x11)});
    frames.release(frame.value(), 0, ledger);
}
