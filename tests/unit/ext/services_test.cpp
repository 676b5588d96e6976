// SPDX-License-Identifier: MIT
//
// Services as hooks call them: handles, pages and what the guest sees of them, timers, blocking, registers.
#include <atomic>
#include <chrono>
#include <thread>

#include "extension_fixture.hpp"
#include "handle.hpp"

namespace hv::test {
namespace {

class Services : public ExtensionTest {
protected:
    Services() : binding{bound()}, stack{*domain->extensions} {}

    VcpuBinding& own(unsigned vcpu = 0) { return *binding.vcpus[vcpu]; }
    template <typename Body>
    void in_hook(Body body, unsigned vcpu = 0)
    {
        from_hook(own(vcpu), body);
    }
    /// What the guest reads at this address through the nested table.
    std::uint64_t seen(std::uint64_t gpa)
    {
        const auto value = domain->memory.guest().read_value<std::uint64_t>(GuestPhysical{gpa});
        EXPECT_TRUE(value);
        return value ? value.value() : 0;
    }
    void poke(std::uint64_t gpa, std::uint64_t value)
    {
        EXPECT_TRUE(domain->memory.guest().write_value(GuestPhysical{gpa}, value));
    }

    Binding& binding;
    ExtensionStack& stack;
};

TEST_F(Services, outside_of_a_hook_nothing_is_served)
{
    std::uint64_t value{};
    EXPECT_EQ(host().time_now(binding.context.domain, &value), abi::status_permission_denied);
}

TEST_F(Services, a_need_that_the_manifest_does_not_name_is_refused)
{
    in_hook([&](const abi::VcpuContext&) {
        void* memory{};
        EXPECT_EQ(host().allocate(16, 16, &memory),
                  abi::status_permission_denied);  // the puppet's manifest leaves it out
        EXPECT_EQ(memory, nullptr);
    });
}

TEST_F(Services, what_0_1_does_not_have_says_so)
{
    in_hook([&](const abi::VcpuContext& context) {
        EXPECT_EQ(host().intercept_msr(context.domain, 1, 1), abi::status_not_supported);
        EXPECT_EQ(host().page_map(context.domain, 1, nullptr), abi::status_not_supported);
        EXPECT_EQ(host().mmio_withdraw(context.domain, 1), abi::status_not_supported);
    });
}

TEST_F(Services, vector_registers_are_the_guests)
{
    std::array<std::byte, 256>& guest = fake::fake_vcpu(domain->vcpu(0)).vectors;
    for (std::size_t at = 0; at < guest.size(); ++at)
        guest[at] = static_cast<std::byte>(at);
    in_hook([&](const abi::VcpuContext& context) {
        std::array<std::byte, 272> own{};
        EXPECT_EQ(host().vector_registers_read(context.vcpu, 0, 16, own.data()), abi::status_ok);
        EXPECT_TRUE(std::ranges::equal(guest, std::span{own}.first(256)));
        own.fill(std::byte{0xee});
        EXPECT_EQ(host().vector_registers_read(context.vcpu, 15, 1, own.data()), abi::status_ok);
        EXPECT_EQ(own[0], std::byte{240});
        EXPECT_EQ(own[15], std::byte{255});
        EXPECT_EQ(own[16], std::byte{0xee});
        EXPECT_EQ(host().vector_registers_write(context.vcpu, 2, 1, own.data()), abi::status_ok);
        EXPECT_EQ(guest[31], std::byte{31});
        EXPECT_EQ(guest[32], std::byte{240});
        EXPECT_EQ(guest[48], std::byte{48});
        for (const auto& [first, count] : {std::pair{0u, 0u}, {0u, 17u}, {15u, 2u}, {16u, 1u}, {1u, ~0u}, {~0u, 1u}}) {
            EXPECT_EQ(host().vector_registers_read(context.vcpu, first, count, own.data()), abi::status_invalid_argument);
            EXPECT_EQ(host().vector_registers_write(context.vcpu, first, count, own.data()), abi::status_invalid_argument);
        }
        EXPECT_EQ(host().vector_registers_read(context.vcpu, 0, 1, nullptr), abi::status_invalid_argument);
        EXPECT_EQ(host().vector_registers_write(context.vcpu, 0, 1, nullptr), abi::status_invalid_argument);
        EXPECT_EQ(host().vector_registers_read(context.domain, 0, 1, own.data()), abi::status_invalid_argument);
    });
}

TEST_F(Services, what_parameters_came_to_is_kept_for_the_operator)
{
    const std::string longest(63, 'v');
    in_hook([&](const abi::VcpuContext& context) {
        const auto settle = [&](std::string_view key, std::string_view value) {
            return host().settled(context.domain, key.data(), key.size(), value.data(), value.size());
        };
        EXPECT_EQ(settle("", "x"), abi::status_invalid_argument);
        EXPECT_EQ(settle(std::string(32, 'k'), "x"), abi::status_invalid_argument);
        EXPECT_EQ(settle("key", longest + "v"), abi::status_invalid_argument);
        EXPECT_EQ(host().settled(context.domain, "key", 3, nullptr, 1), abi::status_invalid_argument);
        EXPECT_EQ(host().settled(context.vcpu, "key", 3, "x", 1), abi::status_invalid_argument);
        EXPECT_EQ(settle("words", "one"), abi::status_ok);
        EXPECT_EQ(settle(std::string(31, 'k'), longest), abi::status_ok);
        EXPECT_EQ(host().settled(context.domain, "empty", 5, nullptr, 0), abi::status_ok);
        for (std::uint32_t count = 3; count < SettledParameters::maximum; ++count)
            EXPECT_EQ(settle("more", ""), abi::status_ok);
        EXPECT_EQ(settle("more", ""), abi::status_limit_reached);
    });
    EXPECT_EQ(stack.settled(0, 0)->key.view(), "words");
    EXPECT_EQ(stack.settled(0, 0)->value.view(), "one");
    EXPECT_EQ(stack.settled(0, 1)->value.view(), longest);
    EXPECT_EQ(stack.settled(0, 2)->value.view(), "");
    EXPECT_NE(stack.settled(0, SettledParameters::maximum - 1), nullptr);
    EXPECT_EQ(stack.settled(0, SettledParameters::maximum), nullptr);
}

TEST_F(Services, what_a_module_counts_is_read_for_each_vcpu)
{
    const auto count = [&](unsigned index, unsigned vcpu) {
        ExtensionStack::Counter counter;
        stack.counter(0, index, vcpu, counter);
        EXPECT_EQ(counter.name.view(), index == 0 ? "first" : "last");
        return counter.value;
    };
    ASSERT_EQ(stack.counter_count(0), 2u);
    EXPECT_EQ(count(1, 0), 0u);
    in_hook([&](const abi::VcpuContext& context) {
        static_cast<std::uint64_t*>(context.vcpu_state)[0] = 11;
        static_cast<std::uint64_t*>(context.vcpu_state)[7] = 12;
        EXPECT_EQ(count(0, 0), 0u) << "the hook has not returned";
    });
    in_hook([&](const abi::VcpuContext& context) { static_cast<std::uint64_t*>(context.vcpu_state)[7] = 13; }, 1);
    EXPECT_EQ(count(0, 0), 11u);
    EXPECT_EQ(count(1, 0), 12u);
    EXPECT_EQ(count(0, 1), 0u);
    EXPECT_EQ(count(1, 1), 13u);
}

TEST_F(Services, foreign_and_made_up_handles_lead_nowhere)
{
    Binding& second = bound("puppet-two");
    in_hook([&](const abi::VcpuContext& context) {
        std::uint64_t value{};
        EXPECT_EQ(host().time_now(second.context.domain, &value), abi::status_invalid_argument);
        EXPECT_EQ(host().time_now(context.vcpu, &value), abi::status_invalid_argument);
        EXPECT_EQ(host().vcpu_kick(context.domain), abi::status_invalid_argument);
        EXPECT_EQ(host().vcpu_kick(second.vcpus[0]->context.vcpu), abi::status_invalid_argument);
        EXPECT_EQ(host().vcpu_kick(context.vcpu + 2),
                  abi::status_invalid_argument);  // a VCPU that there is not
        std::uint64_t page{};
        ASSERT_EQ(host().overlay_create(context.domain, &page), abi::status_ok);
        std::uint64_t timer{};
        ASSERT_EQ(host().timer_create(context.vcpu, 1, &timer), abi::status_ok);
        EXPECT_EQ(host().overlay_destroy(context.domain, timer), abi::status_invalid_argument);
        EXPECT_EQ(host().timer_cancel(page), abi::status_invalid_argument);
        EXPECT_EQ(host().overlay_destroy(context.domain, page + 1000), abi::status_invalid_argument);
        EXPECT_EQ(host().overlay_destroy(context.domain, page), abi::status_ok);
        EXPECT_EQ(host().overlay_destroy(context.domain, page), abi::status_gone);
        EXPECT_EQ(host().timer_destroy(timer), abi::status_ok);
        EXPECT_EQ(host().timer_destroy(timer), abi::status_gone);
        std::uint64_t again{};
        ASSERT_EQ(host().timer_create(context.vcpu, 1, &again), abi::status_ok);
        EXPECT_NE(again, timer);  // the slot is the same, the generation is not
        EXPECT_EQ(host().timer_cancel(timer), abi::status_gone);
        for (std::uint64_t raw = 1; raw != 0; raw <<= 1) {
            EXPECT_LT(host().page_load(context.domain, raw, 0, 8, &value), 0);
            EXPECT_LT(host().timer_cancel(raw), 0);
            EXPECT_LT(host().vcpu_pause(raw), 0);
        }
    });
}

// ---- pages
// ------------------------------------------------------------------------------------------------------

TEST_F(Services, an_overlay_hides_ram_and_gives_it_back)
{
    constexpr std::uint64_t gpa{0x30'0000};
    poke(gpa, 0x11);
    poke(gpa + page_size, 0x12);
    const std::uint64_t generation = domain->memory.map().generation().load();
    std::uint64_t page{};
    in_hook([&](const abi::VcpuContext& context) {
        ASSERT_EQ(host().overlay_create(context.domain, &page), abi::status_ok);
        ASSERT_EQ(host().page_store(context.domain, page, 0, 8, 0x99), abi::status_ok);
        ASSERT_EQ(host().overlay_place(context.domain, page, gpa, 0), abi::status_ok);
    });
    EXPECT_EQ(seen(gpa), 0x99u);
    EXPECT_EQ(seen(gpa + page_size), 0x12u);
    EXPECT_GT(domain->memory.map().generation().load(), generation);
    EXPECT_FALSE(domain->memory.guest().write_value(GuestPhysical{gpa}, std::uint64_t{1}));  // read-only
    in_hook([&](const abi::VcpuContext& context) {
        ASSERT_EQ(host().overlay_place(context.domain, page, gpa + page_size, 1), abi::status_ok);
    });
    EXPECT_EQ(seen(gpa), 0x11u);
    poke(gpa + page_size, 0x77);
    in_hook([&](const abi::VcpuContext& context) {
        std::uint64_t value{};
        EXPECT_EQ(host().page_load(context.domain, page, 0, 8, &value), abi::status_ok);
        EXPECT_EQ(value, 0x77u);
        EXPECT_EQ(host().overlay_remove(context.domain, page), abi::status_ok);
        EXPECT_EQ(host().overlay_remove(context.domain, page), abi::status_not_found);
    });
    EXPECT_EQ(seen(gpa + page_size), 0x12u);
}

TEST_F(Services, an_overlay_on_ram_that_nobody_touched_yet_does_not_hide_its_neighbours)
{
    constexpr std::uint64_t gpa{0x100'0000};
    std::uint64_t page{};
    in_hook([&](const abi::VcpuContext& context) {
        ASSERT_EQ(host().overlay_create(context.domain, &page), abi::status_ok);
        ASSERT_EQ(host().overlay_place(context.domain, page, gpa, 1), abi::status_ok);
    });
    EXPECT_EQ(seen(gpa + page_size), 0u);
    poke(gpa + page_size, 5);
    EXPECT_EQ(seen(gpa + page_size), 5u);
}

TEST_F(Services, an_overlay_outside_of_ram_leaves_nothing_when_it_goes)
{
    constexpr std::uint64_t gpa{0xfe00'0000};
    std::uint64_t page{};
    in_hook([&](const abi::VcpuContext& context) {
        ASSERT_EQ(host().overlay_create(context.domain, &page), abi::status_ok);
        ASSERT_EQ(host().overlay_place(context.domain, page, gpa, 1), abi::status_ok);
    });
    EXPECT_TRUE(domain->memory.map().lookup(GuestPhysical{gpa}));
    in_hook([&](const abi::VcpuContext& context) {
        ASSERT_EQ(host().overlay_destroy(context.domain, page), abi::status_ok);
    });
    EXPECT_FALSE(domain->memory.map().lookup(GuestPhysical{gpa}));
}

TEST_F(Services, two_overlays_at_one_place_conflict_even_of_two_modules)
{
    Binding& second = bound("puppet-two");
    constexpr std::uint64_t gpa{0x30'0000};
    std::uint64_t page{};
    in_hook([&](const abi::VcpuContext& context) {
        std::uint64_t other{};
        ASSERT_EQ(host().overlay_create(context.domain, &page), abi::status_ok);
        ASSERT_EQ(host().overlay_create(context.domain, &other), abi::status_ok);
        ASSERT_EQ(host().overlay_place(context.domain, page, gpa, 0), abi::status_ok);
        EXPECT_EQ(host().overlay_place(context.domain, other, gpa, 0), abi::status_conflict);
        EXPECT_EQ(host().overlay_place(context.domain, other, 0xfee0'0000, 0), abi::status_conflict);
        EXPECT_EQ(host().overlay_place(context.domain, other, gpa + 1, 0), abi::status_invalid_argument);
        EXPECT_EQ(host().overlay_place(context.domain, other, 1ull << 52, 0), abi::status_invalid_argument);
        EXPECT_EQ(host().hypercall_page_place(context.domain, 0, gpa, abi::hypercall_page_overlay),
                  abi::status_conflict);
    });
    from_hook(*second.vcpus[0], [&](const abi::VcpuContext& context) {
        EXPECT_EQ(host().hypercall_page_place(context.domain, 0, gpa, abi::hypercall_page_copy),
                  abi::status_conflict);
        EXPECT_EQ(host().hypercall_page_place(context.domain, 1, gpa, abi::hypercall_page_copy),
                  abi::status_invalid_argument);
    });
}

TEST_F(Services, hypercall_pages_are_laid_over_moved_copied_and_taken_away)
{
    constexpr std::uint64_t gpa{0x30'0000};
    poke(gpa, 0x11);
    poke(gpa + page_size, 0x12);
    const auto place = [&](std::uint64_t at, std::uint32_t how) {
        in_hook([&](const abi::VcpuContext& context) {
            EXPECT_EQ(host().hypercall_page_place(context.domain, 0, at, how), abi::status_ok);
        });
    };
    std::uint64_t code{};
    std::memcpy(&code, binding.pages.hypercall_page(0), sizeof code);
    place(gpa, abi::hypercall_page_overlay);
    EXPECT_EQ(seen(gpa), code);
    EXPECT_EQ(domain->memory.map().lookup(GuestPhysical{gpa})->access, access_read_execute);
    place(gpa + page_size, abi::hypercall_page_overlay);
    EXPECT_EQ(seen(gpa), 0x11u);
    EXPECT_EQ(seen(gpa + page_size), code);
    place(0, abi::hypercall_page_remove);
    EXPECT_EQ(seen(gpa + page_size), 0x12u);
    place(gpa, abi::hypercall_page_copy);
    EXPECT_EQ(seen(gpa), code);
    poke(gpa, 1);  // the guest's own page
    EXPECT_EQ(seen(gpa), 1u);
}

TEST_F(Services, pinned_pages_are_the_guests_ram_with_atomic_operations)
{
    constexpr std::uint64_t gpa{0x40'0000};
    poke(gpa + 8, 0x1111'2222'3333'4444);
    in_hook([&](const abi::VcpuContext& context) {
        const std::uint64_t domain_handle = context.domain;
        std::uint64_t page{};
        std::uint64_t reading{};
        std::uint64_t value{};
        std::uint32_t before{};
        EXPECT_EQ(host().page_pin(domain_handle, 0xfe00'0000, abi::pin_read, &page),
                  abi::status_out_of_range);
        EXPECT_EQ(host().page_pin(domain_handle, gpa, 4, &page), abi::status_invalid_argument);
        ASSERT_EQ(host().page_pin(domain_handle, gpa, abi::pin_read | abi::pin_write, &page), abi::status_ok);
        ASSERT_EQ(host().page_pin(domain_handle, gpa, abi::pin_read, &reading), abi::status_ok);
        EXPECT_EQ(host().page_load(domain_handle, page, 12, 4, &value), abi::status_ok);
        EXPECT_EQ(value, 0x1111'2222u);
        EXPECT_EQ(host().page_load(domain_handle, page, 9, 4, &value), abi::status_invalid_argument);
        EXPECT_EQ(host().page_load(domain_handle, page, 4096, 1, &value), abi::status_invalid_argument);
        EXPECT_EQ(host().page_load(domain_handle, page, 0, 3, &value), abi::status_invalid_argument);
        EXPECT_EQ(host().page_store(domain_handle, reading, 0, 8, 1), abi::status_permission_denied);
        EXPECT_EQ(host().page_exchange(domain_handle, page, 8, 2, 0xffff, &value), abi::status_ok);
        EXPECT_EQ(value, 0x4444u);
        EXPECT_EQ(host().page_compare_exchange(domain_handle, page, 8, 2, 1, 2, &value), abi::status_ok);
        EXPECT_EQ(value, 0xffffu);
        EXPECT_EQ(host().page_compare_exchange(domain_handle, page, 8, 2, 0xffff, 2, &value), abi::status_ok);
        EXPECT_EQ(host().page_load(domain_handle, page, 8, 2, &value), abi::status_ok);
        EXPECT_EQ(value, 2u);
        EXPECT_EQ(host().page_test_and_set(domain_handle, page, 32767, &before), abi::status_ok);
        EXPECT_EQ(before, 0u);
        EXPECT_EQ(host().page_test_and_clear(domain_handle, page, 32767, &before), abi::status_ok);
        EXPECT_EQ(before, 1u);
        EXPECT_EQ(host().page_test_and_set(domain_handle, page, 32768, &before),
                  abi::status_invalid_argument);
        EXPECT_EQ(host().page_unpin(domain_handle, page), abi::status_ok);
        EXPECT_EQ(host().page_load(domain_handle, page, 8, 2, &value), abi::status_gone);
    });
    EXPECT_EQ(seen(gpa + 8), 0x1111'2222'3333'0002u);
}

TEST_F(Services, unbinding_shows_the_guest_its_own_pages_again)
{
    constexpr std::uint64_t gpa{0x30'0000};
    poke(gpa, 0x11);
    in_hook([&](const abi::VcpuContext& context) {
        std::uint64_t page{};
        std::uint64_t timer{};
        ASSERT_EQ(host().overlay_create(context.domain, &page), abi::status_ok);
        ASSERT_EQ(host().overlay_place(context.domain, page, gpa, 0), abi::status_ok);
        ASSERT_EQ(host().timer_create(context.vcpu, 1, &timer), abi::status_ok);
    });
    EXPECT_EQ(seen(gpa), 0u);
    ExtensionStack::unbind_all(*domain);
    EXPECT_EQ(seen(gpa), 0x11u);
}

TEST_F(Services, guest_memory_is_copied_within_its_bounds)
{
    in_hook([&](const abi::VcpuContext& context) {
        std::uint64_t value{0x55};
        EXPECT_EQ(host().guest_write(context.domain, 0x20'0ffc, &value, 8),
                  abi::status_ok);  // over a page's end
        value = 0;
        EXPECT_EQ(host().guest_read(context.domain, 0x20'0ffc, &value, 8), abi::status_ok);
        EXPECT_EQ(value, 0x55u);
        EXPECT_EQ(host().guest_read(context.domain, memory_bytes - 4, &value, 8), abi::status_out_of_range);
        EXPECT_EQ(host().guest_read(context.domain, ~0ull, &value, 8), abi::status_out_of_range);
        EXPECT_EQ(host().guest_read(context.domain, 0, nullptr, 8), abi::status_invalid_argument);
        EXPECT_EQ(host().guest_read(context.domain, 0, &value, 65537), abi::status_invalid_argument);
        EXPECT_EQ(host().guest_read(context.domain, 0, nullptr, 0), abi::status_ok);
    });
}

TEST_F(Services, linear_addresses_fault_as_the_guest_would)
{
    fake::FakeVcpu& guest = fake::fake_vcpu(domain->vcpu(0));
    guest.system.cr0 = 0x8000'0001;
    guest.system.cr3 = 0x10'0000;
    poke(0x10'0000, 0x10'1000 | 3);  // 32-bit paging: 0 to 4 MiB by a table
    poke(0x10'1000, 0x20'0000 | 1);  // its first page is read-only for the supervisor alone
    guest.system.cr0 |= 1 << 16;     // WP
    poke(0x20'0010, 0x1234);
    in_hook([&](const abi::VcpuContext& context) {
        std::uint64_t value{};
        std::uint64_t gpa{};
        abi::GuestFault fault{};
        EXPECT_EQ(host().guest_read_linear(context.vcpu, 0x10, &value, 8, 0, &fault), abi::status_ok);
        EXPECT_EQ(value, 0x1234u);
        EXPECT_EQ(host().translate(context.vcpu, 0x10, 0, &gpa, &fault), abi::status_ok);
        EXPECT_EQ(gpa, 0x20'0010u);
        EXPECT_EQ(host().guest_write_linear(context.vcpu, 0x10, &value, 8, 0, &fault),
                  abi::status_out_of_range);
        EXPECT_EQ(fault.vector, 14u);
        EXPECT_EQ(fault.error_code, 3u);
        EXPECT_EQ(fault.address, 0x10u);
        EXPECT_EQ(host().guest_read_linear(context.vcpu, 0xffc, &value, 8, 0, &fault),
                  abi::status_out_of_range);
        EXPECT_EQ(fault.address, 0x1000u);
        EXPECT_EQ(fault.error_code, 0u);
        EXPECT_EQ(host().guest_read_linear(own(1).context.vcpu, 0x10, &value, 8, 0, &fault),
                  abi::status_invalid_argument);
    });
}

// ---- time and timers
// --------------------------------------------------------------------------------------------

TEST_F(Services, a_snapshot_is_one_instant)
{
    start();
    fake::advance_ticks(12'345);
    in_hook([&](const abi::VcpuContext& context) {
        abi::TimeSnapshot snapshot{};
        std::uint64_t now{};
        ASSERT_EQ(host().time_snapshot(context.vcpu, &snapshot), abi::status_ok);
        ASSERT_EQ(host().time_now(context.domain, &now), abi::status_ok);
        EXPECT_EQ(snapshot.guest_ns, now);
        EXPECT_EQ(snapshot.tsc_hz, platform::ticks_per_second());
        EXPECT_EQ(snapshot.guest_tsc, domain->vcpu(0).guest_tsc(platform::ticks()));
    });
}

class TimerServices : public Services {
protected:
    struct Call {
        std::uint64_t cookie;
        std::uint64_t missed;
        std::uint32_t vcpu;
    };
    static inline std::vector<Call> calls;

    TimerServices()
    {
        calls.clear();
        binding.hooks.timer = [](const abi::VcpuContext* context, std::uint64_t, std::uint64_t cookie,
                                 std::uint64_t missed) -> abi::Verdict {
            calls.push_back({cookie, missed, context->index});
            return abi::done;
        };
        start();
        in_hook([&](const abi::VcpuContext& context) {
            EXPECT_EQ(host().timer_create(context.vcpu, 42, &timer), abi::status_ok);
        });
    }
    void set(const abi::TimerSetting& setting, abi::Answer answer = abi::status_ok)
    {
        in_hook([&](const abi::VcpuContext&) { EXPECT_EQ(host().timer_set(timer, &setting), answer); });
    }
    std::uint64_t now() { return domain->time.nanoseconds(platform::ticks()); }
    /// Time passes, and the processor's main loop looks at it.
    void pass(std::uint64_t ns)
    {
        fake::advance_ticks(ns);
        machine().here().timers.expire(platform::ticks());
        if (domain->vcpu(0).has_requests()) {
            static_cast<void>(domain->vcpu(0).take_requests());
            stack.before_entry(domain->vcpu(0));
        }
    }
    std::uint64_t timer{};
};

TEST_F(TimerServices, a_one_shot_calls_its_hook_once)
{
    set({.deadline_ns = now() + 1000});
    pass(900);
    EXPECT_TRUE(calls.empty());
    pass(200);
    ASSERT_EQ(calls.size(), 1u);
    EXPECT_EQ(calls[0].cookie, 42u);
    EXPECT_EQ(calls[0].vcpu, 0u);
    pass(100'000);
    EXPECT_EQ(calls.size(), 1u);
}

TEST_F(TimerServices, a_periodic_one_counts_what_it_missed)
{
    set({.deadline_ns = now() + 100'000, .period_ns = 100'000});
    pass(100'010);
    ASSERT_EQ(calls.size(), 1u);
    EXPECT_EQ(calls[0].missed, 0u);
    pass(350'000);  // three and a half more
    ASSERT_EQ(calls.size(), 2u);
    EXPECT_EQ(calls[1].missed, 2u);
    pass(60'000);
    EXPECT_EQ(calls.size(), 3u);
}

TEST_F(TimerServices, nothing_of_a_cancelled_setting_is_delivered)
{
    set({.deadline_ns = now() + 1000});
    fake::advance_ticks(2000);
    machine().here().timers.expire(platform::ticks());  // expired, and not delivered yet
    in_hook([&](const abi::VcpuContext&) { EXPECT_EQ(host().timer_cancel(timer), abi::status_ok); });
    pass(10);
    EXPECT_TRUE(calls.empty());
}

TEST_F(TimerServices, an_injecting_timer_needs_no_module)
{
    LocalApic& apic = domain->vcpu(0).apic;
    apic.reset_as_by_firmware();
    set({.deadline_ns = 0,
         .action = abi::TimerAction::inject_vector,
         .vector = 0x51});  // in the past: at once
    pass(2);
    EXPECT_TRUE(apic.irr(0x51));
    EXPECT_TRUE(calls.empty());
}

TEST_F(TimerServices, wrong_settings_are_refused_and_change_nothing)
{
    set({.deadline_ns = now() + 1000});
    set({.deadline_ns = 0, .period_ns = 99'999}, abi::status_invalid_argument);
    set({.deadline_ns = 0, .action = abi::TimerAction::inject_vector, .vector = 15},
        abi::status_invalid_argument);
    set({.deadline_ns = 0, .action = static_cast<abi::TimerAction>(2), .vector = 50},
        abi::status_invalid_argument);
    pass(500);
    EXPECT_TRUE(calls.empty());
    pass(600);
    EXPECT_EQ(calls.size(), 1u);
}

TEST_F(TimerServices, the_guests_frozen_time_holds_timers_up)
{
    forget_said();
    set({.deadline_ns = now() + 1000});
    ASSERT_TRUE(domain->pause());
    pass(5000);
    EXPECT_TRUE(calls.empty());
    ASSERT_TRUE(domain->unpause());
    pass(900);
    EXPECT_TRUE(calls.empty());
    pass(200);
    EXPECT_EQ(calls.size(), 1u);
    EXPECT_EQ(said(), (std::vector<std::string>{"puppet-one freeze", "puppet-one thaw"}));
}

// ---- VCPUs
// ------------------------------------------------------------------------------------------------------

TEST_F(Services, pauses_are_counted)
{
    start();
    Vcpu& vcpu = domain->vcpu(1);
    in_hook([&](const abi::VcpuContext& context) {
        std::uint64_t other{};
        ASSERT_EQ(host().vcpu_by_index(context.domain, 1, &other), abi::status_ok);
        EXPECT_EQ(host().vcpu_by_index(context.domain, 2, &other), abi::status_not_found);
        EXPECT_EQ(host().vcpu_unpause(other), abi::status_conflict);
        EXPECT_EQ(host().vcpu_pause(other), abi::status_ok);
        EXPECT_EQ(host().vcpu_pause(other), abi::status_ok);
        EXPECT_EQ(host().vcpu_unpause(other), abi::status_ok);
        EXPECT_TRUE(vcpu.blocked_by(Blocker::extension));
        EXPECT_EQ(host().vcpu_unpause(other), abi::status_ok);
        EXPECT_FALSE(vcpu.blocked_by(Blocker::extension));
    });
}

TEST_F(Services, hooks_of_a_serial_module_hold_its_lock_and_give_it_back)
{
    static Binding* serial;
    serial = &bound("puppet-serial");
    ASSERT_TRUE(serial->serial);
    static bool was_free;
    was_free = true;
    for (const abi::Verdict& verdict : {abi::done, abi::done_unchanged, abi::inject_undefined_opcode}) {
        static abi::Verdict answer;
        answer = verdict;
        serial->hooks.msr_write = [](const abi::VcpuContext*, std::uint32_t, std::uint32_t, std::uint64_t) {
            was_free = serial->serial_lock.try_lock();
            return answer;
        };
        const auto number = static_cast<std::uint32_t>(serial->grants[1].base + 0x20);
        stack.write_msr(domain->vcpu(0), number, 1);
        EXPECT_FALSE(was_free);
        EXPECT_TRUE(serial->serial_lock.try_lock());
        serial->serial_lock.unlock();
    }
}

TEST_F(Services, a_block_ends_with_its_deadline_or_a_kick)
{
    start();
    Vcpu& vcpu = domain->vcpu(0);
    ASSERT_EQ(machine().scheduler.pick(platform::ticks()), &vcpu);
    static_cast<void>(vcpu.take_requests());
    const auto block = [&](std::uint32_t wake, std::uint64_t deadline) {
        in_hook([&](const abi::VcpuContext& context) {
            EXPECT_EQ(host().vcpu_block(context.vcpu, 0, 0), abi::status_invalid_argument);
            EXPECT_EQ(host().vcpu_block(context.vcpu, wake, deadline), abi::status_ok);
        });
        settle(own(), abi::block);
    };
    const auto blocked = [&] {
        return vcpu.blocked_by(Blocker::extension) || vcpu.blocked_by(Blocker::halted);
    };
    const std::uint64_t now = domain->time.nanoseconds(platform::ticks());
    block(abi::wake_deadline, now + 1000);
    EXPECT_TRUE(blocked());
    vcpu.apic.reset_as_by_firmware();
    vcpu.apic.accept(0x61, TriggerMode::edge);
    vcpu.notice_interrupt();
    EXPECT_TRUE(blocked());  // an interrupt does not end this one
    fake::advance_ticks(1100);
    machine().here().timers.expire(platform::ticks());
    EXPECT_FALSE(blocked());
    block(abi::wake_deadline, now + 500);  // past already
    EXPECT_FALSE(blocked());
    vcpu.apic.cancel(0x61);
    static_cast<void>(vcpu.take_requests());
    block(abi::wake_interrupt, 0);
    EXPECT_TRUE(blocked());
    vcpu.apic.accept(0x61, TriggerMode::edge);
    vcpu.notice_interrupt();
    EXPECT_FALSE(blocked());
    block(abi::wake_interrupt, 0);  // one is pending: there is nothing to wait for
    EXPECT_FALSE(blocked());
    block(abi::wake_kick, 0);
    EXPECT_TRUE(blocked());
    in_hook(
        [&](const abi::VcpuContext&) { EXPECT_EQ(host().vcpu_kick(own(0).context.vcpu), abi::status_ok); },
        1);
    EXPECT_FALSE(blocked());
    machine().scheduler.put_back(vcpu, platform::ticks());
}

TEST_F(Services, run_state_times_add_up_and_say_since_when)
{
    constexpr auto offline = static_cast<unsigned>(abi::RunState::offline);
    constexpr auto runnable = static_cast<unsigned>(abi::RunState::runnable);
    const auto times_of = [&](unsigned vcpu) {
        abi::RunStateTimes times{};
        in_hook([&](const abi::VcpuContext& context) {
            EXPECT_EQ(host().run_state_times(context.vcpu, nullptr), abi::status_invalid_argument);
            EXPECT_EQ(host().run_state_times(own(vcpu).context.vcpu, &times), abi::status_ok);
        });
        return times;
    };
    start();
    const abi::RunStateTimes first = times_of(0);
    fake::advance_ticks(1000);
    const abi::RunStateTimes second = times_of(0);
    EXPECT_EQ(second.now, abi::RunState::runnable);
    EXPECT_EQ(second.ns[runnable] - first.ns[runnable], 1000u);
    EXPECT_EQ(second.since_ns, first.since_ns);
    EXPECT_EQ(times_of(1).now, abi::RunState::offline);  // waits for its startup message
    ASSERT_TRUE(domain->pause());
    fake::advance_ticks(500);
    ASSERT_TRUE(domain->unpause());
    fake::advance_ticks(10);
    const abi::RunStateTimes third = times_of(0);
    EXPECT_EQ(third.ns[offline] - second.ns[offline], 500u);
    EXPECT_EQ(third.ns[runnable] - second.ns[runnable], 10u);
    EXPECT_EQ(third.since_ns, domain->time.nanoseconds(platform::ticks()) - 10);
}

TEST_F(Services, registers_are_those_of_the_own_vcpu_or_of_one_that_stands_still)
{
    start();
    in_hook([&](const abi::VcpuContext& context) {
        auto registers = std::make_unique<abi::GuestRegisters>();
        domain->vcpu(0).registers.general[rbx] = 0x33;
        EXPECT_EQ(host().registers_read(context.vcpu, abi::registers_all, registers.get()), abi::status_ok);
        EXPECT_EQ(registers->general[rbx], 0x33u);
        registers->general[rbx] = 0x44;
        registers->cr8 = 5;
        registers->kernel_gs_base = 0x1000;
        EXPECT_EQ(host().registers_write(context.vcpu, abi::registers_general | abi::registers_control,
                                         registers.get()),
                  abi::status_ok);
        EXPECT_EQ(domain->vcpu(0).registers.general[rbx], 0x44u);
        EXPECT_EQ(domain->vcpu(0).apic.task_priority(), 0x50);
        EXPECT_EQ(fake::fake_vcpu(domain->vcpu(0)).system.kernel_gs_base, 0u);  // not in the groups
        registers->cr8 = 16;
        EXPECT_EQ(host().registers_write(context.vcpu, abi::registers_control, registers.get()),
                  abi::status_invalid_argument);
        EXPECT_EQ(host().registers_read(context.vcpu, 64, registers.get()), abi::status_invalid_argument);
        const std::uint64_t other = own(1).context.vcpu;
        EXPECT_EQ(host().registers_read(other, abi::registers_general, registers.get()), abi::status_busy);
        EXPECT_EQ(host().vcpu_pause(other), abi::status_ok);
        EXPECT_EQ(host().registers_read(other, abi::registers_general, registers.get()), abi::status_ok);
    });
}

TEST_F(Services, events_reach_the_local_apic_or_go_past_it)
{
    start();
    Vcpu& vcpu = domain->vcpu(0);
    fake::FakeVcpu& guest = fake::fake_vcpu(vcpu);
    vcpu.apic.reset_as_by_firmware();
    vcpu.registers.rflags = 0x202;
    in_hook([&](const abi::VcpuContext& context) {
        EXPECT_EQ(host().inject_interrupt(context.vcpu, 15, abi::inject_local_apic),
                  abi::status_invalid_argument);
        EXPECT_EQ(host().inject_interrupt(context.vcpu, 256, abi::inject_local_apic),
                  abi::status_invalid_argument);
        EXPECT_EQ(host().inject_interrupt(context.vcpu, 0x71, abi::inject_local_apic), abi::status_ok);
        EXPECT_EQ(host().inject_interrupt(context.vcpu, 0xf3, abi::inject_bare), abi::status_ok);
        EXPECT_EQ(host().inject_interrupt(context.vcpu, 0xf4, abi::inject_bare), abi::status_busy);
    });
    unsigned steps{};
    guest.when_done = [&](VcpuContext& context, fake::FakeVcpu&) {
        context.registers.rflags = 0x202;  // IRET
        if (guest.delivered.size() >= 2 || ++steps == 10)
            domain->end(EndReason::poweroff);
        return fake::plain_exit(ExitKind::physical_nmi);
    };
    turn();
    ASSERT_EQ(guest.delivered.size(), 2u);
    EXPECT_EQ(guest.delivered[0].vector, 0xf3);
    EXPECT_EQ(guest.delivered[1].vector, 0x71);
    EXPECT_TRUE(vcpu.apic.isr(0x71));
    EXPECT_FALSE(vcpu.apic.isr(0xf3));
}

TEST_F(Services, the_interrupt_window_is_told_once)
{
    static unsigned told;
    told = 0;
    binding.hooks.interrupt_window = [](const abi::VcpuContext*) -> abi::Verdict {
        ++told;
        return abi::done_unchanged;
    };
    start();
    Vcpu& vcpu = domain->vcpu(0);
    fake::FakeVcpu& guest = fake::fake_vcpu(vcpu);
    in_hook([&](const abi::VcpuContext& context) {
        EXPECT_EQ(host().interrupt_window_request(context.vcpu), abi::status_ok);
    });
    unsigned told_while_closed{};
    guest.script.push_back([&](VcpuContext& context, fake::FakeVcpu&) {
        told_while_closed = told;
        context.registers.rflags = 0x202;
        return fake::plain_exit(ExitKind::physical_nmi);
    });
    guest.script.push_back(fake::exits(fake::plain_exit(ExitKind::physical_nmi)));
    guest.when_done = [&](VcpuContext&, fake::FakeVcpu&) {
        domain->end(EndReason::poweroff);
        return fake::plain_exit(ExitKind::physical_nmi);
    };
    turn();
    EXPECT_EQ(told_while_closed, 0u);
    EXPECT_EQ(told, 1u);
}

TEST_F(Services, the_assist_bit_ends_an_interrupt_without_an_exit)
{
    start();
    Vcpu& vcpu = domain->vcpu(0);
    fake::FakeVcpu& guest = fake::fake_vcpu(vcpu);
    vcpu.apic.reset_as_by_firmware();
    vcpu.registers.rflags = 0x202;
    constexpr std::uint64_t gpa{0x50'0000};
    in_hook([&](const abi::VcpuContext& context) {
        std::uint64_t page{};
        ASSERT_EQ(host().page_pin(context.domain, gpa, abi::pin_read | abi::pin_write, &page),
                  abi::status_ok);
        const abi::DeclaredEoiAssist assist{page, 8, 3};
        ASSERT_EQ(host().declare_eoi_assist(context.vcpu, &assist), abi::status_ok);
        ASSERT_EQ(host().inject_interrupt(context.vcpu, 0x71, abi::inject_local_apic), abi::status_ok);
    });
    const auto bit = [&] { return (seen(gpa + 8) & 8) != 0; };
    bool offered{};
    bool offered_with_another_pending{};
    guest.script.push_back([&](VcpuContext&, fake::FakeVcpu&) {
        offered = bit();
        EXPECT_TRUE(vcpu.apic.isr(0x71));
        poke(gpa + 8, 0);  // instead of writing EOI
        return fake::plain_exit(ExitKind::physical_nmi);
    });
    guest.script.push_back([&](VcpuContext& context, fake::FakeVcpu&) {
        EXPECT_FALSE(vcpu.apic.highest_in_service());
        EXPECT_FALSE(bit());
        vcpu.apic.accept(0x61, TriggerMode::edge);
        vcpu.apic.accept(0x62, TriggerMode::edge);  // of the same class: it waits for the other's end
        context.registers.rflags = 0x202;
        return fake::plain_exit(ExitKind::physical_nmi);
    });
    guest.script.push_back([&](VcpuContext&, fake::FakeVcpu&) {
        offered_with_another_pending = bit();
        domain->end(EndReason::poweroff);
        return fake::plain_exit(ExitKind::physical_nmi);
    });
    turn();
    EXPECT_TRUE(offered);
    EXPECT_FALSE(offered_with_another_pending);
    EXPECT_TRUE(vcpu.apic.isr(0x62));
}

TEST_F(Services, flushes_mark_those_who_do_not_run_and_wake_nobody)
{
    start();
    static_cast<void>(domain->vcpu(0).take_requests());
    static_cast<void>(domain->vcpu(1).take_requests());
    machine().scheduler.block(domain->vcpu(0), Blocker::halted);
    in_hook([&](const abi::VcpuContext& context) {
        const std::uint64_t mask{1ull | 1ull << 40};
        EXPECT_EQ(host().tlb_flush(context.domain, &mask, 1, 2), abi::status_invalid_argument);
        EXPECT_EQ(host().tlb_flush(context.domain, &mask, 1, abi::flush_all), abi::status_ok);
    });
    EXPECT_EQ(domain->vcpu(0).take_requests(), static_cast<std::uint32_t>(VcpuRequest::flush));
    EXPECT_TRUE(domain->vcpu(0).blocked_by(Blocker::halted));
    EXPECT_FALSE(domain->vcpu(1).has_requests());
}

TEST_F(Services, a_flush_is_over_when_those_in_the_guest_have_left_it)
{
    start();
    Vcpu& other = domain->vcpu(1);
    std::atomic<bool> asked{}, left{};
    other.guest_turns.store(other.guest_turns.load() | 1);  // it runs on another processor
    std::thread processor{[&] {
        while (!asked.load())
            std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds{50});  // so that who does not wait is ahead
        left.store(true);
        other.guest_turns.fetch_add(1);
    }};
    in_hook([&](const abi::VcpuContext& context) {
        const std::uint64_t mask{1ull << 1};
        EXPECT_EQ(host().tlb_flush(context.domain, &mask, 1, abi::flush_all), abi::status_ok);
        asked.store(true);
    });
    EXPECT_TRUE(left.load());
    asked.store(true);
    processor.join();
}

/// Such a one may stay in the guest as long as it likes, in a loop that waits for this very call.
TEST_F(Services, a_flush_does_not_wait_for_one_that_has_left_and_is_back)
{
    start();
    Vcpu& other = domain->vcpu(1);
    other.guest_turns.store(other.guest_turns.load() | 1);  // it runs on another processor
    std::atomic<bool> over{}, freed{};
    std::thread guard{[&] {  // an end to a wait that has none
        for (int turn = 0; turn < 200 && !over.load(); ++turn)
            std::this_thread::sleep_for(std::chrono::milliseconds{50});
        freed.store(!over.load());
        other.guest_turns.fetch_add(1);
    }};
    in_hook([&](const abi::VcpuContext& context) {
        const std::uint64_t mask{1ull << 1};
        EXPECT_EQ(host().tlb_flush(context.domain, &mask, 1, abi::flush_all), abi::status_ok);
        other.guest_turns.fetch_add(2);
    });
    over.store(true);
    guard.join();
    EXPECT_FALSE(freed.load());
}

TEST_F(Services, a_shutdown_happens_at_the_hooks_return)
{
    start();
    in_hook([&](const abi::VcpuContext& context) {
        EXPECT_EQ(host().domain_shutdown(context.domain, static_cast<abi::ShutdownReason>(9), nullptr, 0),
                  abi::status_invalid_argument);
        EXPECT_EQ(host().domain_shutdown(context.domain, abi::ShutdownReason::crash, "bug check 0x7", 13),
                  abi::status_ok);
        EXPECT_EQ(domain->state(), DomainState::running);
    });
    EXPECT_EQ(domain->state(), DomainState::ended);
    EXPECT_EQ(domain->end_reason(), EndReason::crash);
    EXPECT_EQ(domain->end_text(), "bug check 0x7");
}

TEST_F(Services, a_module_that_talks_too_much_is_cut_short)
{
    const std::size_t before = fake::console().size();
    in_hook([&](const abi::VcpuContext&) {
        for (unsigned line = 0; line < 100; ++line)
            EXPECT_EQ(host().log(abi::LogLevel::info, "chatter", 7), abi::status_ok);
        EXPECT_EQ(host().log(abi::LogLevel::info, nullptr, 7), abi::status_invalid_argument);
    });
    const std::string text = fake::console().substr(before);
    std::size_t lines{};
    for (std::size_t at = text.find("chatter"); at != std::string::npos; at = text.find("chatter", at + 1))
        ++lines;
    EXPECT_LE(lines, 32u);
    EXPECT_GE(lines, 16u);
    EXPECT_NE(text.find("says too much"), std::string::npos);
}

}  // namespace
}  // namespace hv::test
