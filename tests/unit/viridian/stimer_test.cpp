// SPDX-License-Identifier: MIT
//
// The synthetic timers: when they run, what the core is asked to do at which time, and that nothing a guest writes makes a storm.
// Guest time in the fake stands still unless a test moves it; a timer fires when the test says so.
#include "stimer.hpp"

#include "guest.hpp"

namespace hv::viridian::test {
namespace {

using namespace tlfs;

static_assert(signal_period(0) == 0);
static_assert(signal_period(1) == 1'000 && signal_period(3) == 1'002 && signal_period(999) == 1'998);
static_assert(signal_period(1'000) == 1'000 && signal_period(1'001) == 1'001 && signal_period(~0ull) == ~0ull);
static_assert(nanoseconds_of(0) == 0 && nanoseconds_of(7) == 700);
static_assert(nanoseconds_of(~0ull) == end_of_time_ns && nanoseconds_of(end_of_time_ns) == end_of_time_ns);

constexpr std::uint64_t enabled{1};
constexpr std::uint64_t periodic{2};
constexpr std::uint64_t lazy{4};
constexpr std::uint64_t auto_enable{8};
constexpr std::uint64_t direct{1 << 12 | 0xed << 4};
constexpr std::uint64_t sint2{2 << 16};
constexpr std::uint64_t now_units{10'000'000};  ///< of the fake's first second

class ViridianTimers : public testing::Test {
protected:
    ViridianTimers()
    {
        guest.host.now_ns = now_units * 100;
        EXPECT_TRUE(guest.create());
    }
    static constexpr std::uint32_t config_msr(std::uint32_t timer) { return HV_X64_MSR_STIMER0_CONFIG + 2 * timer; }
    bool configure(std::uint64_t value, std::uint32_t timer = 0) { return guest.module.write_msr(config_msr(timer), value); }
    bool count(std::uint64_t value, std::uint32_t timer = 0) { return guest.module.write_msr(config_msr(timer) + 1, value); }
    std::uint64_t config(std::uint32_t timer = 0) { return guest.module.read_msr(config_msr(timer)).value_or(~0ull); }
    /// The core's timer, where it is armed.
    std::optional<abi::TimerSetting> armed(std::uint32_t timer = 0)
    {
        for (const auto& [handle, one] : guest.host.timers)
            if (one.cookie == timer)
                return one.setting;
        return std::nullopt;
    }
    abi::Verdict fire(std::uint32_t timer = 0, std::uint64_t missed = 0)
    {
        for (const auto& [handle, one] : guest.host.timers)
            if (one.cookie == timer)
                return guest.module.fire(handle, missed);
        ADD_FAILURE() << "no timer " << timer;
        return {};
    }
    void use_messages()
    {
        ASSERT_TRUE(guest.module.write_msr(HV_X64_MSR_SIMP, 0x6001));
        ASSERT_TRUE(guest.module.write_msr(HV_X64_MSR_SINT0 + 2, 0xf3));
        ASSERT_TRUE(guest.module.write_msr(HV_X64_MSR_SCONTROL, 1));
    }
    /// The expiration in the slot of SINT2, which is emptied; nothing where it is empty.
    std::optional<std::uint64_t> take_message()
    {
        TimerMessage message{};
        EXPECT_TRUE(guest.host.copy(0x6000 + 2 * message_bytes, &message, sizeof message, false));
        if (message.header.type == message_none)
            return std::nullopt;
        guest.put(0x6000 + 2 * message_bytes, std::uint32_t{0});
        guest.module.write_msr(HV_X64_MSR_EOM, 0);
        return message.expiration;
    }

    Guest guest;
};

TEST_F(ViridianTimers, InDirectModeInjectWithoutEnteringTheModule)
{
    ASSERT_TRUE(configure(enabled | auto_enable | direct));  // as Linux does
    EXPECT_TRUE(guest.host.timers.empty());
    ASSERT_TRUE(count(now_units + 500));
    ASSERT_TRUE(armed());
    EXPECT_EQ(armed()->action, abi::TimerAction::inject_vector);
    EXPECT_EQ(armed()->vector, 0xedu);
    EXPECT_EQ(armed()->deadline_ns, (now_units + 500) * 100);
    EXPECT_EQ(armed()->period_ns, 0u);
    fire();
    ASSERT_EQ(guest.host.injected.size(), 1u);
    EXPECT_EQ(guest.host.injected[0].vector, 0xedu);
}

TEST_F(ViridianTimers, ThatHaveFiredOnceReadAsDisabledAndStartAnewByTheirCount)
{
    ASSERT_TRUE(configure(auto_enable | direct));
    ASSERT_TRUE(count(now_units + 500));
    EXPECT_EQ(config(), enabled | auto_enable | direct);
    guest.host.now_ns += 500 * 100;
    EXPECT_EQ(config(), auto_enable | direct);
    ASSERT_TRUE(count(now_units + 900));
    EXPECT_EQ(config(), enabled | auto_enable | direct);
    EXPECT_EQ(armed()->deadline_ns, (now_units + 900) * 100);
    EXPECT_EQ(guest.host.timers.size(), 1u);
}

TEST_F(ViridianTimers, WithoutAutoEnableStartByTheirConfiguration)
{
    ASSERT_TRUE(configure(direct));
    ASSERT_TRUE(count(now_units + 500));
    EXPECT_FALSE(armed());
    ASSERT_TRUE(configure(direct | enabled));
    EXPECT_TRUE(armed());
    guest.host.now_ns += 500 * 100;
    fire();
    ASSERT_TRUE(count(now_units + 900));  // it has expired: it is disabled
    EXPECT_FALSE(armed());
    EXPECT_EQ(config(), direct);
}

TEST_F(ViridianTimers, WithAnExpirationInThePastExpireAtOnce)
{
    ASSERT_TRUE(configure(auto_enable | direct));
    ASSERT_TRUE(count(1));
    ASSERT_TRUE(armed());
    EXPECT_EQ(armed()->deadline_ns, 100u);  // which the core takes as at once
}

TEST_F(ViridianTimers, OfPeriodZeroAreHarmless)
{
    for (const std::uint64_t mode : {direct, sint2}) {
        ASSERT_TRUE(configure(enabled | periodic | mode));
        EXPECT_FALSE(armed());
        ASSERT_TRUE(count(0));
        EXPECT_FALSE(armed());
        EXPECT_EQ(config() & enabled, 0u);
        ASSERT_TRUE(configure(enabled | periodic | auto_enable | mode));
        ASSERT_TRUE(count(0));
        EXPECT_EQ(config() & enabled, 0u);
    }
    EXPECT_TRUE(guest.host.timers.empty());
}

TEST_F(ViridianTimers, StopByACountOfZero)
{
    ASSERT_TRUE(configure(auto_enable | direct));
    ASSERT_TRUE(count(now_units + 500));
    ASSERT_TRUE(count(0));
    EXPECT_FALSE(armed());
    EXPECT_EQ(config(), auto_enable | direct);
}

TEST_F(ViridianTimers, ThatCouldSignalNothingAreDisabled)
{
    use_messages();
    ASSERT_TRUE(count(now_units + 500));
    ASSERT_TRUE(configure(enabled));  // message mode, SINT0
    EXPECT_EQ(config(), 0u);
    for (std::uint64_t vector = 0; vector < 16; ++vector) {
        ASSERT_TRUE(configure(enabled | 1 << 12 | vector << 4));
        EXPECT_EQ(config() & enabled, 0u);
    }
    ASSERT_TRUE(configure(auto_enable));
    ASSERT_TRUE(count(now_units + 600));
    EXPECT_EQ(config(), auto_enable);
    EXPECT_TRUE(guest.host.timers.empty());
}

TEST_F(ViridianTimers, OfAnyPeriodNeverStorm)
{
    for (std::uint64_t period = 1; period != 0; period <<= 1) {
        ASSERT_TRUE(configure(0));
        ASSERT_TRUE(count(period));
        ASSERT_TRUE(configure(enabled | periodic | direct)) << period;
        ASSERT_TRUE(armed());
        EXPECT_GE(armed()->period_ns, 100'000u);
        EXPECT_GE(armed()->deadline_ns, guest.host.now_ns + 100'000) << period;
        EXPECT_LE(armed()->deadline_ns, end_of_time_ns);
    }
    for (const std::uint64_t expiration : {~0ull, ~0ull - 1, 1ull << 63, 1ull << 62}) {
        ASSERT_TRUE(configure(0));
        ASSERT_TRUE(configure(auto_enable | direct));
        ASSERT_TRUE(count(expiration));
        EXPECT_EQ(armed()->deadline_ns, end_of_time_ns);
    }
}

TEST_F(ViridianTimers, OfAPeriodBeginItWhenTheyAreEnabled)
{
    use_messages();
    ASSERT_TRUE(count(20'000));
    guest.host.now_ns += 5'000 * 100;
    ASSERT_TRUE(configure(enabled | periodic | sint2));
    EXPECT_EQ(armed()->action, abi::TimerAction::call_hook);
    EXPECT_EQ(armed()->deadline_ns, (now_units + 25'000) * 100);
    EXPECT_EQ(armed()->period_ns, 2'000'000u);
    for (std::uint64_t round = 0; round < 3; ++round) {
        guest.host.now_ns += 20'000 * 100;
        fire();
        EXPECT_EQ(take_message(), now_units + 25'000 + round * 20'000);
    }
    EXPECT_EQ(config(), enabled | periodic | sint2);
}

TEST_F(ViridianTimers, SkipThePeriodsThatNobodySaw)
{
    use_messages();
    ASSERT_TRUE(count(20'000));
    ASSERT_TRUE(configure(enabled | periodic | sint2));
    guest.host.now_ns += 85'000 * 100;
    fire(0, 3);
    EXPECT_EQ(take_message(), now_units + 80'000);
    EXPECT_EQ(take_message(), std::nullopt);
    guest.host.now_ns += 15'000 * 100;
    fire();
    EXPECT_EQ(take_message(), now_units + 100'000);
}

TEST_F(ViridianTimers, ThatAreLazySkipASignalShortlyBeforeTheNext)
{
    use_messages();
    ASSERT_TRUE(count(20'000));
    for (const std::uint64_t kind : {std::uint64_t{0}, lazy}) {
        ASSERT_TRUE(configure(0));
        guest.host.now_ns = now_units * 100;
        ASSERT_TRUE(configure(enabled | periodic | kind | sint2));
        guest.host.now_ns += 37'500 * 100;  // seven eighths of a period too late
        fire();
        EXPECT_EQ(take_message().has_value(), kind == 0);
        ASSERT_TRUE(configure(0));
        guest.host.now_ns = now_units * 100;
        ASSERT_TRUE(configure(enabled | periodic | kind | sint2));
        guest.host.now_ns += 37'499 * 100;
        fire();
        EXPECT_TRUE(take_message());
    }
}

TEST_F(ViridianTimers, InMessageModeAreDisabledWhenTheyHaveFiredOnce)
{
    use_messages();
    ASSERT_TRUE(count(now_units + 500));
    ASSERT_TRUE(configure(enabled | sint2));
    guest.host.now_ns += 600 * 100;
    EXPECT_EQ(config(), enabled | sint2);  // not before its signal
    fire();
    EXPECT_EQ(config(), sint2);
    EXPECT_EQ(take_message(), now_units + 500);
}

TEST_F(ViridianTimers, ThatWereStoppedSayNothingMore)
{
    use_messages();
    ASSERT_TRUE(count(now_units + 500));
    ASSERT_TRUE(configure(enabled | sint2));
    const std::uint64_t handle{guest.host.timers.begin()->first};
    ASSERT_TRUE(configure(0));
    EXPECT_FALSE(armed());
    guest.host.timers[handle].setting = abi::TimerSetting{};  // one that was under way
    EXPECT_EQ(guest.module.fire(handle).flags, abi::verdict_unchanged);
    EXPECT_EQ(take_message(), std::nullopt);
}

TEST_F(ViridianTimers, AreFourOfEachVcpu)
{
    for (std::uint32_t timer = 0; timer < stimer_count; ++timer) {
        ASSERT_TRUE(configure(auto_enable | 1 << 12 | (0x40ull + timer) << 4, timer));
        ASSERT_TRUE(count(now_units + 1'000 * (timer + 1), timer));
    }
    for (std::uint32_t timer = 0; timer < stimer_count; ++timer) {
        EXPECT_EQ(armed(timer)->vector, 0x40u + timer);
        EXPECT_EQ(armed(timer)->deadline_ns, (now_units + 1'000 * (timer + 1)) * 100);
    }
    EXPECT_EQ(guest.host.timers.size(), 4u);
}

TEST_F(ViridianTimers, StopAtAResetAndStartAgainWithTheSameTimersOfTheCore)
{
    ASSERT_TRUE(configure(auto_enable | direct));
    ASSERT_TRUE(count(now_units + 500));
    guest.module.reset_vcpu();
    EXPECT_FALSE(armed());
    EXPECT_EQ(config(), 0u);
    ASSERT_TRUE(configure(auto_enable | direct));
    ASSERT_TRUE(count(now_units + 500));
    EXPECT_TRUE(armed());
    EXPECT_EQ(guest.host.timers.size(), 1u);
}

}  // namespace
}  // namespace hv::viridian::test
