// SPDX-License-Identifier: MIT
//
// interrupt_watch: a module is told when the guest takes and ends a vector, or has it ended as it is taken; what it watches outlives
// its instance's swap and ends with its detach.
#include <functional>

#include "extension_fixture.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"

namespace hv::test {
namespace {

constexpr std::uint8_t vector{0x71};
std::vector<std::string> told;
std::uint32_t detail{};

class InterruptWatch : public ExtensionTest {
protected:
    InterruptWatch() : binding{bound()}
    {
        told.clear();
        detail = 0;
        binding.hooks.interrupt_accepted = [](const abi::VcpuContext*, std::uint32_t taken) -> abi::Verdict {
            told.push_back("accepted " + std::to_string(taken));
            return {abi::VerdictKind::done, abi::verdict_unchanged, detail};
        };
        binding.hooks.interrupt_ended = [](const abi::VcpuContext*, std::uint32_t ended) -> abi::Verdict {
            told.push_back("ended " + std::to_string(ended));
            return abi::done_unchanged;
        };
        start();
        vcpu().apic.reset_as_by_firmware();
        vcpu().registers.rflags = 0x202;
    }
    [[nodiscard]] Vcpu& vcpu() const { return domain->vcpu(0); }
    [[nodiscard]] fake::FakeVcpu& guest() const { return fake::fake_vcpu(vcpu()); }
    void watch(std::uint32_t what, std::uint8_t of = vector)
    {
        from_hook(*binding.vcpus[0], [&](const abi::VcpuContext& context) {
            EXPECT_EQ(host().interrupt_watch(context.vcpu, of, what), abi::status_ok);
        });
    }
    /// The guest takes what is requested, does `then` in its handler, and stops when it has returned.
    void run(std::function<void()> then = {})
    {
        guest().script.push_back([then](VcpuContext& context, fake::FakeVcpu&) {
            if (then)
                then();
            context.registers.rflags = 0x202;  // IRET
            return fake::plain_exit(ExitKind::physical_nmi);
        });
        guest().when_done = [this](VcpuContext&, fake::FakeVcpu&) {
            domain->end(EndReason::poweroff);
            return fake::plain_exit(ExitKind::physical_nmi);
        };
        turn();
    }
    void end_by_register() { EXPECT_TRUE(apply_apic_effect(vcpu(), vcpu().apic.write_mmio(0xb0, 4, 0, 0))); }

    Binding& binding;
};

TEST_F(InterruptWatch, is_refused_where_it_makes_no_sense)
{
    from_hook(*binding.vcpus[0], [&](const abi::VcpuContext& context) {
        for (const std::uint32_t number : {0u, 15u, 256u, ~0u})
            EXPECT_EQ(host().interrupt_watch(context.vcpu, number, abi::watch_auto_eoi), abi::status_invalid_argument);
        for (unsigned bit = 3; bit < 32; ++bit)
            EXPECT_EQ(host().interrupt_watch(context.vcpu, vector, 1u << bit), abi::status_invalid_argument);
        EXPECT_EQ(host().interrupt_watch(context.domain, vector, 0), abi::status_invalid_argument);
    });
    binding.hooks.interrupt_ended = nullptr;
    from_hook(*binding.vcpus[0], [&](const abi::VcpuContext& context) {
        EXPECT_EQ(host().interrupt_watch(context.vcpu, vector, abi::watch_ended), abi::status_invalid_argument);
        EXPECT_EQ(host().interrupt_watch(context.vcpu, vector, abi::watch_accepted), abi::status_ok);
    });
    vcpu().watched = {};
    binding.vcpus[0]->watch = {};
}

TEST_F(InterruptWatch, of_a_vcpu_that_runs_elsewhere_is_busy)
{
    from_hook(*binding.vcpus[1], [&](const abi::VcpuContext&) {
        EXPECT_EQ(host().interrupt_watch(binding.vcpus[0]->context.vcpu, vector, abi::watch_auto_eoi), abi::status_busy);
    });
    EXPECT_FALSE(vcpu().watched.any_taken);
}

TEST_F(InterruptWatch, tells_what_the_guest_takes_and_ends)
{
    watch(abi::watch_accepted | abi::watch_ended);
    vcpu().apic.accept(vector, TriggerMode::edge);
    vcpu().apic.accept(0x41, TriggerMode::edge);  // nobody's
    std::vector<std::string> in_handler;
    run([&] {
        in_handler = told;
        EXPECT_TRUE(vcpu().apic.isr(vector));
        end_by_register();
    });
    EXPECT_EQ(in_handler, std::vector<std::string>{"accepted 113"});  // before the handler's first instruction
    EXPECT_EQ(told, (std::vector<std::string>{"accepted 113", "ended 113"}));
}

TEST_F(InterruptWatch, ends_a_vector_as_it_is_taken_without_a_hook)
{
    watch(abi::watch_auto_eoi);
    vcpu().apic.accept(vector, TriggerMode::edge);
    run([&] {
        EXPECT_FALSE(vcpu().apic.highest_in_service());
        vcpu().apic.accept(vector, TriggerMode::edge);  // of its own class: nothing stands against it
    });
    ASSERT_EQ(guest().delivered.size(), 2u);
    EXPECT_EQ(guest().delivered[1].vector, vector);
    EXPECT_FALSE(vcpu().apic.highest_in_service());
    EXPECT_TRUE(told.empty());
}

TEST_F(InterruptWatch, ends_it_too_where_the_hook_says_so)
{
    watch(abi::watch_accepted | abi::watch_ended);
    detail = abi::accepted_auto_eoi;
    vcpu().apic.accept(vector, TriggerMode::edge);
    run([&] { EXPECT_FALSE(vcpu().apic.highest_in_service()); });
    EXPECT_EQ(told, (std::vector<std::string>{"accepted 113", "ended 113"}));
}

TEST_F(InterruptWatch, of_an_end_forbids_the_lazy_one_for_that_vector_alone)
{
    constexpr std::uint64_t gpa{0x50'0000};
    watch(abi::watch_ended);
    from_hook(*binding.vcpus[0], [&](const abi::VcpuContext& context) {
        std::uint64_t page{};
        ASSERT_EQ(host().page_pin(context.domain, gpa, abi::pin_read | abi::pin_write, &page), abi::status_ok);
        const abi::DeclaredEoiAssist assist{page, 0, 0};
        ASSERT_EQ(host().declare_eoi_assist(context.vcpu, &assist), abi::status_ok);
    });
    const auto offered = [&] { return (domain->memory.guest().read_value<std::uint64_t>(GuestPhysical{gpa}).value() & 1) != 0; };
    vcpu().apic.accept(vector, TriggerMode::edge);
    guest().script.push_back([&](VcpuContext& context, fake::FakeVcpu&) {
        EXPECT_FALSE(offered());
        end_by_register();
        vcpu().apic.accept(0x41, TriggerMode::edge);
        context.registers.rflags = 0x202;
        return fake::plain_exit(ExitKind::physical_nmi);
    });
    run([&] { EXPECT_TRUE(offered()); });
    EXPECT_EQ(told, std::vector<std::string>{"ended 113"});
}

TEST_F(InterruptWatch, stops_when_it_is_taken_back)
{
    watch(abi::watch_accepted | abi::watch_ended | abi::watch_auto_eoi);
    watch(0);
    EXPECT_FALSE(vcpu().watched.any_taken || vcpu().watched.any_ended);
    vcpu().apic.accept(vector, TriggerMode::edge);
    run([&] { EXPECT_TRUE(vcpu().apic.isr(vector)); });
    EXPECT_TRUE(told.empty());
}

TEST_F(InterruptWatch, of_one_module_says_nothing_to_another)
{
    watch(abi::watch_accepted);
    vcpu().apic.accept(vector, TriggerMode::edge);
    vcpu().apic.accept(0x72, TriggerMode::edge);
    run([&] { end_by_register(); });
    EXPECT_EQ(told, std::vector<std::string>{"accepted 113"});
}

TEST_F(InterruptWatch, is_handed_to_the_instance_that_takes_the_place)
{
    watch(abi::watch_auto_eoi, 0x41);
    watch(abi::watch_ended);
    VcpuBinding next{binding, vcpu()};
    VcpuBinding& before = *binding.vcpus[0];
    Exchange exchange{};
    next.seat.exchange = &exchange;
    before.watch.ended_untold.set(vector);
    next.take_over(before);
    EXPECT_TRUE(next.watch.auto_eoi.test(0x41));
    EXPECT_TRUE(next.watch.ended.test(vector));
    EXPECT_TRUE(next.watch.ended_untold.test(vector));
    EXPECT_FALSE(before.watch.auto_eoi.highest() || before.watch.ended.highest());
    before.take_over(next);
    before.watch = {};
    renew_watched(vcpu());
}

TEST_F(InterruptWatch, ends_with_the_detach)
{
    watch(abi::watch_auto_eoi | abi::watch_ended);
    EXPECT_TRUE(vcpu().watched.any_taken);
    EXPECT_TRUE(ExtensionStack::detach(*domain, "puppet-one", why)) << why.view();
    EXPECT_FALSE(vcpu().watched.any_taken || vcpu().watched.any_ended);
}

}  // namespace
}  // namespace hv::test
