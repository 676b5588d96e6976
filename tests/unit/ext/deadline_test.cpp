// SPDX-License-Identifier: MIT
//
// A declared write that moves a timer: when the core does it by itself, when the module is asked, and that the timer stays one
// timer: at its new time alone, once, over pauses, swaps and restarts.
#include <cstring>

#include "extension_fixture.hpp"
#include "hv/core/ext/swap.hpp"
#include "hv/core/vcpu/exit_answer.hpp"

namespace hv::test {
namespace {

constexpr std::uint64_t unit_ns{100};
constexpr std::uint8_t vector{0x51};

/// Time passes, and what was asked of the VCPU before its next entry happens.
void let_pass(Domain& domain, std::uint64_t ns)
{
    fake::advance_ticks(ns);
    machine().here().timers.expire(platform::ticks());
    static_cast<void>(domain.vcpu(0).take_requests());
    domain.extensions->before_entry(domain.vcpu(0));
}

/// True once after the timer has expired.
bool take_interrupt(Domain& domain)
{
    LocalApic& apic = domain.vcpu(0).apic;
    if (!apic.irr(vector))
        return false;
    apic.acknowledge();
    apic.end_of_interrupt();
    return true;
}

/// WRMSR by VCPU 0, the short way of its exit.
void execute_wrmsr(Domain& domain, std::uint32_t msr, std::uint64_t value)
{
    Vcpu& vcpu = domain.vcpu(0);
    vcpu.on = &machine().here();
    vcpu.exit.instruction_length = 2;
    vcpu.registers.rip = 0x1000;
    vcpu.registers.general[rcx] = msr;
    vcpu.registers.general[rax] = value & 0xffff'ffff;
    vcpu.registers.general[rdx] = value >> 32;
    if (answer_msr_write(vcpu))
        announce_exit(vcpu);
    EXPECT_EQ(vcpu.registers.rip, 0x1002u);
}

// ---- a puppet, whose hook counts -------------------------------------------------------------------------------------------------

class Deadlines : public ExtensionTest {
protected:
    static constexpr std::uint32_t offset{7}, value_word{3}, timer_word{5};
    static inline unsigned asked{};

    Deadlines() : binding{bound()}
    {
        asked = 0;
        binding.hooks.msr_write = [](const abi::VcpuContext*, std::uint32_t, std::uint32_t at, std::uint64_t) -> abi::Verdict {
            asked += at == offset ? 1 : 100;
            return abi::done_unchanged;
        };
        start();
        fake::set_ticks_per_second(1'000'000'000);
        domain->vcpu(0).apic.reset_as_by_firmware();
        EXPECT_EQ(declare({.value_at = value_word * 8, .timer_at = timer_word * 8, .unit_ns = unit_ns}), abi::status_ok);
        hook([&](const abi::VcpuContext& context) { EXPECT_EQ(host().timer_create(context.vcpu, 1, &timer), abi::status_ok); });
    }
    template <typename Services>
    void hook(Services services, unsigned vcpu = 0)
    {
        from_hook(own(vcpu), services);
    }
    abi::Answer declare(abi::DeadlinePlaces places, abi::MsrWriteKind kind = abi::MsrWriteKind::deadline)
    {
        const abi::DeclaredMsrWrite one{
            .window = 2, .offset = offset, .kind = kind, .writable = ~0ull >> 1, .reserved = abi::as_word(places)};
        abi::Answer answer{};
        hook([&](const abi::VcpuContext& context) { answer = host().declare_msr_writes(context.domain, &one, 1); });
        return answer;
    }
    /// The module sets its timer, and lets its MSR move it.
    void set(abi::TimerSetting setting)
    {
        hook([&](const abi::VcpuContext& context) {
            EXPECT_EQ(host().timer_set(timer, &setting), abi::status_ok);
            static_cast<std::uint64_t*>(context.vcpu_state)[timer_word] = timer;
        });
    }
    void set_to_inject(std::uint64_t deadline_ns)
    {
        set({.deadline_ns = deadline_ns, .action = abi::TimerAction::inject_vector, .vector = vector});
    }
    Answered write(std::uint64_t value, unsigned vcpu = 0)
    {
        return domain->extensions->write_msr(domain->vcpu(vcpu), msr(), value);
    }
    [[nodiscard]] std::uint32_t msr() const { return static_cast<std::uint32_t>(binding.grants[1].base + offset); }
    VcpuBinding& own(unsigned vcpu = 0) { return *binding.vcpus[vcpu]; }
    std::uint64_t now() { return domain->time.nanoseconds(platform::ticks()); }
    void pass(std::uint64_t ns) { let_pass(*domain, ns); }
    bool fired() { return take_interrupt(*domain); }

    Binding& binding;
    std::uint64_t timer{};
};

TEST_F(Deadlines, move_the_timer_and_are_kept_without_a_hook)
{
    set_to_inject(now() + 1'000'000);
    const std::uint64_t value = now() / unit_ns + 50;
    EXPECT_EQ(write(value), Answered::done);
    EXPECT_EQ(asked, 0u);
    EXPECT_EQ(own().state.kept[value_word], value);
    EXPECT_EQ(own().state.working[value_word], value);
    pass(4'000);
    EXPECT_FALSE(fired());
    pass(2'000);
    EXPECT_TRUE(fired());
    pass(2'000'000);
    EXPECT_FALSE(fired());
}

TEST_F(Deadlines, start_a_timer_anew_that_has_expired_or_was_cancelled)
{
    set_to_inject(now() + 1'000);
    pass(2'000);
    ASSERT_TRUE(fired());
    EXPECT_EQ(write(now() / unit_ns + 50), Answered::done);
    pass(6'000);
    EXPECT_TRUE(fired());
    hook([&](const abi::VcpuContext&) { EXPECT_EQ(host().timer_cancel(timer), abi::status_ok); });
    EXPECT_EQ(write(now() / unit_ns + 50), Answered::done);
    pass(6'000);
    EXPECT_TRUE(fired());
    EXPECT_EQ(asked, 0u);
}

TEST_F(Deadlines, in_the_past_expire_at_once_and_beyond_all_time_never)
{
    set_to_inject(now() + 1'000'000);
    pass(10'000);
    EXPECT_EQ(write(1), Answered::done);
    pass(1);
    EXPECT_TRUE(fired());
    EXPECT_EQ(write(~0ull >> 1), Answered::done);
    pass(1'000'000'000'000);
    EXPECT_FALSE(fired());
    EXPECT_EQ(asked, 0u);
}

TEST_F(Deadlines, are_the_hooks_where_value_handle_or_timer_is_not_such)
{
    EXPECT_EQ(write(100), Answered::done);  // no handle
    EXPECT_EQ(asked, 1u);
    hook([&](const abi::VcpuContext& context) { static_cast<std::uint64_t*>(context.vcpu_state)[timer_word] = timer; });
    EXPECT_EQ(write(100), Answered::done);  // never set
    EXPECT_EQ(asked, 2u);
    set_to_inject(now() + 1'000'000);
    EXPECT_EQ(write(0), Answered::done);
    EXPECT_EQ(asked, 3u);
    hook([&](const abi::VcpuContext& context) { static_cast<std::uint64_t*>(context.vcpu_state)[timer_word] = timer; }, 1);
    EXPECT_EQ(write(100, 1), Answered::done);  // another VCPU's
    EXPECT_EQ(asked, 4u);
    set({.deadline_ns = now() + 1'000'000, .period_ns = 1'000'000, .action = abi::TimerAction::inject_vector, .vector = vector});
    EXPECT_EQ(write(100), Answered::done);
    EXPECT_EQ(asked, 5u);
    for (const std::uint64_t no_timer : {own().context.vcpu, ~std::uint64_t{}, timer + 1, timer ^ std::uint64_t{1} << 40}) {
        hook([&](const abi::VcpuContext& context) { static_cast<std::uint64_t*>(context.vcpu_state)[timer_word] = no_timer; });
        const unsigned before = asked;
        EXPECT_EQ(write(100), Answered::done);
        EXPECT_EQ(asked, before + 1);
    }
    EXPECT_EQ(own().state.kept[value_word], 0u);
    EXPECT_EQ(write(1ull << 63), Answered::fault);  // a bit that may not be written
    EXPECT_EQ(asked, 9u);
}

TEST_F(Deadlines, by_the_short_way_of_the_exit_are_the_same)
{
    const std::uint64_t value = now() / unit_ns + 50;
    execute_wrmsr(*domain, msr(), value);
    EXPECT_EQ(asked, 1u);
    set_to_inject(now() + 1'000'000);
    execute_wrmsr(*domain, msr(), value);
    EXPECT_EQ(asked, 1u);
    EXPECT_EQ(own().state.kept[value_word], value);
    pass(6'000);
    EXPECT_TRUE(fired());
    execute_wrmsr(*domain, msr(), 0);
    EXPECT_EQ(asked, 2u);
    std::uint64_t counted{};
    for (const auto& slot : domain->vcpu(0).exits.msrs.writes.read())
        counted += slot.key == msr() ? slot.count : 0;
    EXPECT_EQ(counted, 3u);
}

TEST_F(Deadlines, call_the_hook_of_a_timer_that_calls_it)
{
    static unsigned called;
    called = 0;
    binding.hooks.timer = [](const abi::VcpuContext*, std::uint64_t, std::uint64_t, std::uint64_t) -> abi::Verdict {
        ++called;
        return abi::done;
    };
    set({.deadline_ns = now() + 1'000});
    fake::advance_ticks(2'000);
    machine().here().timers.expire(platform::ticks());         // due, and not told yet
    EXPECT_EQ(write(now() / unit_ns + 50), Answered::done);  // as timer_set: of the former time nobody hears any more
    pass(1);
    EXPECT_EQ(called, 0u);
    pass(6'000);
    EXPECT_EQ(called, 1u);
    EXPECT_EQ(asked, 0u);
}

TEST_F(Deadlines, stand_still_with_the_guests_time)
{
    set_to_inject(now() + 1'000'000);
    EXPECT_EQ(write(now() / unit_ns + 50), Answered::done);
    ASSERT_TRUE(domain->pause());
    pass(50'000);
    EXPECT_FALSE(fired());
    ASSERT_TRUE(domain->unpause());
    pass(4'000);
    EXPECT_FALSE(fired());
    pass(2'000);
    EXPECT_TRUE(fired());
}

TEST_F(Deadlines, whose_places_make_no_sense_are_refused)
{
    constexpr std::uint16_t last{7 * 8}, beyond{8 * 8};
    EXPECT_EQ(declare({.value_at = 0, .timer_at = last, .unit_ns = 1}), abi::status_ok);
    EXPECT_EQ(declare({.value_at = 0, .timer_at = beyond, .unit_ns = 1}), abi::status_invalid_argument);
    EXPECT_EQ(declare({.value_at = beyond, .timer_at = 0, .unit_ns = 1}), abi::status_invalid_argument);
    EXPECT_EQ(declare({.value_at = 4, .timer_at = 8, .unit_ns = 1}), abi::status_invalid_argument);
    EXPECT_EQ(declare({.value_at = 8, .timer_at = 12, .unit_ns = 1}), abi::status_invalid_argument);
    EXPECT_EQ(declare({.value_at = 8, .timer_at = 8, .unit_ns = 1}), abi::status_invalid_argument);
    EXPECT_EQ(declare({.value_at = 8, .timer_at = 16, .unit_ns = 0}), abi::status_invalid_argument);
    EXPECT_EQ(declare({.value_at = 8, .timer_at = 16, .unit_ns = 1}, abi::MsrWriteKind::ignore), abi::status_invalid_argument);
    EXPECT_EQ(declare({}, static_cast<abi::MsrWriteKind>(7)), abi::status_invalid_argument);
}

// ---- the interface that has such an MSR ------------------------------------------------------------------------------------------

class TimerCounts : public ExtensionTest {
protected:
    static constexpr std::uint32_t config_msr{0x4000'00b0}, count_msr{0x4000'00b1};

    TimerCounts()
    {
        EXPECT_TRUE(bind("viridian")) << why.view();
        start();
        fake::set_ticks_per_second(1'000'000'000);
        domain->vcpu(0).apic.reset_as_by_firmware();
        EXPECT_EQ(write(config_msr, 1 << 12 | std::uint64_t{vector} << 4 | 9), Answered::done);  // direct, auto-enable, enabled
        EXPECT_EQ(write(count_msr, now() + 1'000), Answered::done);
    }
    Binding& binding() { return *domain->extensions->implementation().bindings[0]; }
    Answered write(std::uint32_t msr, std::uint64_t value) { return domain->extensions->write_msr(domain->vcpu(0), msr, value); }
    std::uint64_t read(std::uint32_t msr)
    {
        std::uint64_t value{};
        EXPECT_EQ(domain->extensions->read_msr(domain->vcpu(0), msr, value), Answered::done);
        return value;
    }
    /// Writes the count, and expects that no hook is called.
    void move(std::uint64_t count)
    {
        std::vector<std::byte> before(EventLog::bytes);
        std::memcpy(before.data(), binding().vcpus[0]->events.room(), EventLog::bytes);
        EXPECT_EQ(write(count_msr, count), Answered::done);
        EXPECT_EQ(std::memcmp(before.data(), binding().vcpus[0]->events.room(), EventLog::bytes), 0);
    }
    std::uint64_t now() { return domain->time.nanoseconds(platform::ticks()) / unit_ns; }
    void pass(std::uint64_t units) { let_pass(*domain, units * unit_ns); }
    bool fired() { return take_interrupt(*domain); }
    void swap()
    {
        why.clear();
        const auto next = registry->load_beside(file_of("viridian"), {}, "/lib/viridian.hvx", why);
        ASSERT_TRUE(next) << why.view();
        SwapReport report{};
        ASSERT_TRUE(swap_extension(*domain, "viridian", *next.value(), {}, report, why)) << why.view();
        registry->supersede(*next.value());
        registry->sweep();
        forget_replaced(*domain);
        EXPECT_EQ(report.armed_timers, 1u);
    }
};

TEST_F(TimerCounts, move_a_timer_that_enables_itself_without_the_module)
{
    const std::uint64_t count = now() + 2'000;
    move(count);
    EXPECT_EQ(read(count_msr), count);
    pass(1'500);
    EXPECT_FALSE(fired());
    EXPECT_EQ(read(config_msr) & 1, 1u);
    pass(600);
    EXPECT_TRUE(fired());
    EXPECT_EQ(read(config_msr) & 1, 0u);
    move(now() + 100);
    EXPECT_EQ(read(config_msr) & 1, 1u);
    pass(110);
    EXPECT_TRUE(fired());
    EXPECT_EQ(write(count_msr, 0), Answered::done);
    EXPECT_EQ(read(config_msr) & 1, 0u);
    EXPECT_EQ(write(count_msr, now() + 100), Answered::done);  // enables itself, by the module
    move(now() + 200);
    pass(150);
    EXPECT_FALSE(fired());
    pass(60);
    EXPECT_TRUE(fired());
}

TEST_F(TimerCounts, reach_the_module_where_the_configuration_is_another)
{
    EXPECT_EQ(write(config_msr, 1 << 12 | std::uint64_t{vector} << 4), Answered::done);  // disabled, and stays so
    EXPECT_EQ(write(count_msr, now() + 100), Answered::done);
    EXPECT_EQ(read(config_msr) & 1, 0u);
    pass(2'000);
    EXPECT_FALSE(fired());
    EXPECT_EQ(write(config_msr, 1 << 12 | std::uint64_t{vector} << 4 | 3), Answered::done);  // periodic
    EXPECT_EQ(write(count_msr, 5'000), Answered::done);
    pass(5'010);
    EXPECT_TRUE(fired());
    pass(5'000);
    EXPECT_TRUE(fired());
}

TEST_F(TimerCounts, survive_a_swap_and_fire_once)
{
    const std::uint64_t count = now() + 5'000;
    move(count);
    pass(1'000);
    swap();
    EXPECT_EQ(read(count_msr), count);
    pass(3'000);
    EXPECT_FALSE(fired());
    pass(1'500);
    EXPECT_TRUE(fired());
    pass(100'000);
    EXPECT_FALSE(fired());
    move(now() + 100);  // the next instance's too
    swap();
    move(now() + 200);
    pass(150);
    EXPECT_FALSE(fired());
    pass(100);
    EXPECT_TRUE(fired());
}

}  // namespace
}  // namespace hv::test
