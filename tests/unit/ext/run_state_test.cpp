// SPDX-License-Identifier: MIT
//
// run_state_changed: each change of a VCPU's run state, with the guest's time at which it happened, told in order and once before the
// VCPU's next instruction; over a restart and a swap too.
#include "extension_fixture.hpp"
#include "hv/core/ext/swap.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"

namespace hv::test {
namespace {

struct Change {
    abi::RunState from, to;
    std::uint64_t ns;
    bool operator==(const Change&) const = default;
};
std::vector<Change> told;

using enum abi::RunState;

class RunStates : public ExtensionTest {
protected:
    RunStates() : binding{&bound()} { told.clear(); }

    static abi::Verdict hear(const abi::VcpuContext*, abi::RunState from, abi::RunState to, std::uint64_t when_ns)
    {
        told.push_back({from, to, when_ns});
        return abi::done_unchanged;
    }
    void listen()
    {
        binding->hooks.run_state_changed = hear;
        renew_subscriptions(*domain);
    }
    [[nodiscard]] Vcpu& vcpu() const { return domain->vcpu(0); }
    [[nodiscard]] fake::FakeVcpu& guest() const { return fake::fake_vcpu(vcpu()); }
    /// The guest runs for `ns` and halts; what was told before its first instruction is in `told_first`.
    void run(std::uint64_t ns)
    {
        vcpu().registers.rflags = 0x202;
        guest().script.push_back([this, ns](VcpuContext&, fake::FakeVcpu&) {
            told_first = told.size();
            fake::advance_ticks(ns);
            return fake::plain_exit(ExitKind::halt, 1);
        });
        turn();
        EXPECT_TRUE(guest().script.empty());
        EXPECT_TRUE(vcpu().blocked_by(Blocker::halted));
    }
    /// An NMI, `ns` from now; its handler has returned from the one before.
    void wake(std::uint64_t ns)
    {
        guest().nmi_in_service = false;
        fake::advance_ticks(ns);
        vcpu().request(VcpuRequest::nmi);
    }
    static void expect_told(std::vector<Change> wanted)
    {
        ASSERT_EQ(told.size(), wanted.size());
        for (std::size_t index = 0; index < wanted.size(); ++index) {
            EXPECT_EQ(told[index].from, wanted[index].from) << index;
            EXPECT_EQ(told[index].to, wanted[index].to) << index;
            EXPECT_EQ(told[index].ns, wanted[index].ns) << index;
        }
        told.clear();
    }
    Status swap_for_itself()
    {
        why.clear();
        const auto loaded = registry->load_beside(file_of("puppet-one"), {}, "/lib/puppet-one.hvx", why);
        EXPECT_TRUE(loaded) << why.view();
        SwapReport report{};
        const Status done = swap_extension(*domain, "puppet-one", *loaded.value(), {}, report, why);
        EXPECT_TRUE(done) << why.view();
        registry->supersede(*loaded.value());
        forget_replaced(*domain);
        registry->sweep();
        binding = domain->extensions->implementation().bindings[0];
        return done;
    }

    Binding* binding;
    std::size_t told_first{};
};

TEST_F(RunStates, are_told_in_order_with_the_guests_time_before_the_next_instruction)
{
    listen();
    start();
    run(1000);
    EXPECT_EQ(told_first, 2u);
    expect_told({{offline, runnable, 0}, {runnable, running, 0}});
    wake(500);
    fake::advance_ticks(30);  // it waits for the processor
    EXPECT_TRUE(told.empty());  // nobody runs it yet
    run(100);
    EXPECT_EQ(told_first, 3u);
    expect_told({{running, blocked, 1000}, {blocked, runnable, 1500}, {runnable, running, 1530}});
}

TEST_F(RunStates, a_pause_stops_the_guests_time_and_shows_as_offline)
{
    listen();
    start();
    run(1000);
    told.clear();
    ASSERT_TRUE(domain->pause());
    fake::advance_ticks(70'000);
    ASSERT_TRUE(domain->unpause());
    wake(0);
    run(10);
    expect_told({{running, blocked, 1000},
                 {blocked, offline, 1000},
                 {offline, runnable, 1000},  // for a look at its timer
                 {runnable, running, 1000}});
}

TEST_F(RunStates, of_many_that_wait_the_last_are_told)
{
    listen();
    start();
    run(0);
    told.clear();
    for (unsigned round = 0; round < 10; ++round) {
        machine().scheduler.block(vcpu(), Blocker::paused);
        fake::advance_ticks(1);
        machine().scheduler.unblock(vcpu(), Blocker::paused);
    }
    wake(0);
    run(0);
    ASSERT_EQ(told.size(), RunChanges::kept);
    for (std::size_t index = 1; index < told.size(); ++index) {
        EXPECT_EQ(told[index].from, told[index - 1].to);
        EXPECT_GE(told[index].ns, told[index - 1].ns);
    }
    EXPECT_EQ(told.back(), (Change{runnable, running, 10}));
}

TEST_F(RunStates, nobody_is_told_without_asking_for_it_and_nothing_is_noted)
{
    start();
    run(1000);
    EXPECT_EQ(vcpu().run_changes.count(), 0u);
    listen();
    wake(500);
    run(10);
    expect_told({{blocked, runnable, 1500}, {runnable, running, 1500}});  // from when it hears
    binding->hooks.run_state_changed = nullptr;
    renew_subscriptions(*domain);
    const std::uint64_t before = vcpu().run_changes.count();
    wake(500);
    run(10);
    EXPECT_EQ(vcpu().run_changes.count(), before);
}

/// The puppet that comes has no hook of its own until the test gives it one: so the end of the swap is not noted.
TEST_F(RunStates, are_told_once_over_a_swap_which_shows_itself)
{
    listen();
    start();
    run(1000);
    told.clear();
    wake(500);
    ASSERT_TRUE(swap_for_itself());
    listen();
    run(10);
    expect_told({{running, blocked, 1000},
                 {blocked, runnable, 1500},
                 {runnable, blocked, 1500},  // the swap
                 {runnable, running, 1500}});
}

TEST_F(RunStates, a_verdict_may_pause_the_domain)
{
    binding->hooks.run_state_changed = [](const abi::VcpuContext*, abi::RunState, abi::RunState to, std::uint64_t) -> abi::Verdict {
        return to == running ? abi::Verdict{abi::VerdictKind::pause, 0, 0} : abi::done;
    };
    renew_subscriptions(*domain);
    start();
    turn();
    EXPECT_TRUE(vcpu().blocked_by(Blocker::paused));
    EXPECT_EQ(guest().entries, 0u);
}

}  // namespace
}  // namespace hv::test
