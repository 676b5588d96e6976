// SPDX-License-Identifier: MIT
//
// The intercept strategies, each loaded as it is and shown exits: what they count, how long they poll, what they trade, and that
// the interface of the guest is the same under each.
#include <vector>

#include <gtest/gtest.h>

#include "module_under_test.hpp"
#include "novell_defs.hpp"
#include "strategy.hpp"

namespace hv::test {
namespace {

using novell::StrategyState;

std::string file_of(const std::string& name) { return std::string{EXTENSIONS} + "/" + name + "/" + name + ".hvx"; }

abi::ExitFrame exit_of(abi::ExitKind kind, std::uint64_t rip, std::uint64_t number = 0)
{
    abi::ExitFrame frame{};
    frame.kind = kind;
    frame.rip = rip;
    frame.number = number;
    return frame;
}

class Under : public ::testing::Test {
protected:
    explicit Under(const std::string& name) : module{host, file_of(name), 2} { host.vcpu_count = 2; }
    StrategyState& state(unsigned vcpu = 0) { return *static_cast<StrategyState*>(module.vcpu(vcpu).vcpu_state); }
    abi::VerdictKind halt(std::uint64_t asked)
    {
        auto frame = exit_of(abi::ExitKind::halt, 0x1000);
        frame.value = asked;
        return module.exit(frame).kind;
    }

    FakeHost host;
    ModuleUnderTest module;
};

class CountStrategy : public Under {
protected:
    CountStrategy() : Under{"novell-count"} { EXPECT_TRUE(module.create()); }
    void exits(abi::ExitKind kind, std::uint64_t rip, std::uint64_t took)
    {
        auto frame = exit_of(kind, rip);
        EXPECT_EQ(module.exit(frame).kind, abi::VerdictKind::done);
        host.now_ns += took;
        EXPECT_EQ(module.exit(frame, true).kind, abi::VerdictKind::done);
    }
};

TEST_F(CountStrategy, CountsAndTimesByKindAndPlace)
{
    exits(abi::ExitKind::cpuid, 0x1000, 300);
    exits(abi::ExitKind::cpuid, 0x2000, 500);
    exits(abi::ExitKind::port, 0x1000, 70);
    exits(abi::ExitKind::cpuid, 0x1000, 200);
    const auto& cpuid = state().kinds[static_cast<unsigned>(abi::ExitKind::cpuid)];
    EXPECT_EQ(cpuid.count, 3u);
    EXPECT_EQ(cpuid.total_ns, 1000u);
    EXPECT_EQ(state().sites[0].rip, 0x1000u);
    EXPECT_EQ(state().sites[0].cost.count, 2u);
    EXPECT_EQ(state().sites[0].cost.total_ns, 500u);
    EXPECT_EQ(state().sites[2].kind, static_cast<std::uint64_t>(abi::ExitKind::port));
    for (std::uint64_t rip = 0; rip < 100; ++rip)
        exits(abi::ExitKind::halt, 0x8000 + rip, 1);
    EXPECT_EQ(state().elsewhere.count, 100 - (novell::kept_sites - 3));
    EXPECT_EQ(state(1).kinds[1].count, 0u) << "the other VCPU's are its own";
}

TEST_F(CountStrategy, WantsNothingThatWouldNotExitAnyway)
{
    for (std::uint32_t index = 0; index < module.module().exit_count(); ++index)
        EXPECT_NE(module.module().exit(index).flags & abi::exit_passive, 0u) << index;
}

class PollStrategy : public Under {
protected:
    PollStrategy() : Under{"novell-poll"} {}
};

TEST_F(PollStrategy, PollsForAsLongAsItIsWorthIt)
{
    ASSERT_TRUE(module.parameter("poll-us", std::int64_t{40}));
    ASSERT_TRUE(module.create());
    EXPECT_EQ(halt(0), abi::VerdictKind::again);
    host.now_ns += 39'000;
    EXPECT_EQ(halt(1), abi::VerdictKind::again);
    host.now_ns += 1'000;
    EXPECT_EQ(halt(2), abi::VerdictKind::done);
    EXPECT_EQ(state().window_ns, 20'000u) << "it came to nothing";
    EXPECT_EQ(state().polls_given_up, 1u);
    EXPECT_EQ(state().polled_ns, 40'000u);
    EXPECT_EQ(halt(0), abi::VerdictKind::again);
    host.now_ns += 1'000'000;  // an event ended it, the guest ran
    EXPECT_EQ(halt(0), abi::VerdictKind::again);
    EXPECT_EQ(state().window_ns, 40'000u);
    EXPECT_EQ(halt(0), abi::VerdictKind::again);
    EXPECT_EQ(state().window_ns, 40'000u) << "no longer than the parameter says";
    EXPECT_EQ(state().polls, 4u);
    for (unsigned round = 0; round < 20; ++round) {
        state().poll_began_ns = 0;
        halt(0);
        host.now_ns += 40'000;
        EXPECT_EQ(halt(1), abi::VerdictKind::done);
    }
    EXPECT_EQ(state().window_ns, 1000u) << "it never ends to try";
}

class TradeStrategy : public Under {
protected:
    TradeStrategy() : Under{"novell-trade"} {}
    std::uint64_t timer() { return state().timer; }
    void period() { EXPECT_EQ(module.fire(timer()).kind, abi::VerdictKind::done); }
    void writes_of_cr3(unsigned count)
    {
        for (unsigned one = 0; one < count; ++one) {
            auto frame = exit_of(abi::ExitKind::control_register, 0x1000, 3);
            frame.write = 1;
            module.exit(frame);
        }
    }
};

TEST_F(TradeStrategy, LooksAtOneSettingAfterTheOther)
{
    ASSERT_TRUE(module.parameter("period-ms", std::int64_t{5}));
    ASSERT_TRUE(module.create());
    ASSERT_NE(timer(), 0u);
    EXPECT_EQ(host.timers.at(timer()).setting->period_ns, 5'000'000u);
    EXPECT_TRUE(host.conditions.empty());
    writes_of_cr3(3);
    EXPECT_EQ(state().phase_exits, 0u) << "it does not look yet";
    for (const std::uint32_t setting : {1u, 2u, 3u}) {
        period();
        EXPECT_EQ(host.conditions, std::set<std::uint32_t>{setting});
    }
    period();
    EXPECT_TRUE(host.conditions.empty());
}

TEST_F(TradeStrategy, LeavesOutForAWhileWhatCostsTooMuch)
{
    ASSERT_TRUE(module.parameter("most-exits", std::int64_t{10}));
    ASSERT_TRUE(module.create());
    period();
    writes_of_cr3(11);
    EXPECT_EQ(state().phase_exits, 11u);
    period();
    EXPECT_EQ(state().most_exits[0], 11u);
    EXPECT_EQ(state().rounds_out[0], 8u);
    unsigned looked{};
    for (unsigned one = 0; one < 3 * 9 + 1; ++one) {
        period();
        looked += host.conditions.contains(1) ? 1 : 0;
    }
    EXPECT_EQ(looked, 1u) << "once in nine rounds";
}

TEST_F(TradeStrategy, StartsAtTheFirstExitWhereNobodyInitialisedIt)
{
    ASSERT_TRUE(module.create());
    state().timer = 0;  // as after a swap from a strategy that had none
    auto frame = exit_of(abi::ExitKind::port, 0x1000, 0x1'0080);
    EXPECT_EQ(module.exit(frame).kind, abi::VerdictKind::done);
    EXPECT_NE(timer(), 0u);
    EXPECT_EQ(module.exit(frame).flags, abi::verdict_unchanged);
}

class UnderEach : public ::testing::TestWithParam<const char*> {};

/// What a guest finds: the leaves, the place of the MSRs, and which of them can be read.
struct Interface {
    std::vector<abi::CpuidResult> leaves;
    std::uint64_t first_msr{};
    std::vector<bool> readable;

    friend bool operator==(const Interface&, const Interface&) = default;
};

Interface interface_of(const std::string& file)
{
    FakeHost host;
    ModuleUnderTest module{host, file};
    EXPECT_TRUE(module.create());
    Interface found{.leaves = {}, .first_msr = module.grant(2).base, .readable = {}};
    for (std::uint32_t leaf = 0x4000'0000; leaf < 0x4000'0000 + novell::leaf_count; ++leaf)
        found.leaves.push_back(module.cpuid(leaf));
    for (std::uint32_t offset = 0; offset < novell::msr_count; ++offset)
        found.readable.push_back(module.read_msr(static_cast<std::uint32_t>(found.first_msr) + offset).has_value());
    return found;
}

TEST_P(UnderEach, TheGuestsInterfaceIsTheSame)
{
    EXPECT_EQ(interface_of(file_of(GetParam())), interface_of(NOVELL_HVX));
}

TEST_P(UnderEach, TheFiguresHaveOneLayout)
{
    FakeHost host;
    const ModuleUnderTest module{host, file_of(GetParam())};
    EXPECT_EQ(module.module().manifest().vcpu_state.size, sizeof(StrategyState));
    EXPECT_EQ(module.module().manifest().vcpu_state.version, 2u);
}
INSTANTIATE_TEST_SUITE_P(Strategies, UnderEach, ::testing::Values("novell-count", "novell-poll", "novell-trade"));

}  // namespace
}  // namespace hv::test
