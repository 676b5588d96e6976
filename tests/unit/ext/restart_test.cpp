// SPDX-License-Identifier: MIT
//
// What becomes of a domain whose instance fails: the fresh instance goes on with the state of the last hook that returned well
// and with all that is the binding's, the guest's access is made once more, and when instances fail too fast the guest goes
// on without.  Nothing leaks.
#include "extension_fixture.hpp"
#include "failure.hpp"
#include "hv/core/ext/failure_report.hpp"
#include "hv/core/ext/swap.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"

namespace hv::test {
namespace {

unsigned requests_heard{};

class Restarted : public ExtensionTest {
protected:
    Restarted()
    {
        options = {.placement = Placement::isolated, .on_fault = OnFault::restart};
        requests_heard = 0;
        Domain::on_request = [](Domain&) { ++requests_heard; };
    }
    ~Restarted() override { Domain::on_request = nullptr; }

    void bind_and_start()
    {
        ASSERT_TRUE(bind("swap-1")) << why.view();
        first_msr = binding().grants[1].base;
        start();
    }
    Binding& binding() { return *domain->extensions->implementation().bindings[0]; }
    [[nodiscard]] std::uint32_t msr(std::uint64_t offset) const { return static_cast<std::uint32_t>(first_msr + offset); }
    Answered write(std::uint64_t offset, std::uint64_t value, unsigned vcpu = 0)
    {
        return domain->extensions->write_msr(domain->vcpu(vcpu), msr(offset), value);
    }
    Answered read(std::uint64_t offset, std::uint64_t& value, unsigned vcpu = 0)
    {
        return domain->extensions->read_msr(domain->vcpu(vcpu), msr(offset), value);
    }
    /// #GP, which a hook's verdict has raised already.
    bool is_fault(Answered answered)
    {
        return answered == Answered::fault ||
               (answered == Answered::taken && !domain->vcpu(0).blocked_by(Blocker::restarting));
    }
    std::uint64_t value_of(std::uint64_t offset)
    {
        std::uint64_t value{};
        EXPECT_EQ(read(offset, value), Answered::done);
        return value;
    }
    static void fail_next() { fake::fail_next_hook(platform::HookEnd::fault, {.vector = 13}); }
    void carry_out() { ExtensionStack::carry_out_failures(*domain); }
    void look()
    {
        static_cast<void>(domain->vcpu(0).take_requests());
        domain->extensions->before_entry(domain->vcpu(0));
    }
    void pass(std::uint64_t ns)
    {
        fake::advance_ticks(ns);
        machine().here().timers.expire(platform::ticks());
    }
    std::uint32_t restarts() { return domain->extensions->describe(0).restarts; }

    std::uint64_t first_msr{};
};

TEST_F(Restarted, the_access_that_failed_is_made_once_more_on_the_state_before_it)
{
    bind_and_start();
    EXPECT_EQ(write(0, 5), Answered::done);
    const Binding* const failed = &binding();
    fail_next();
    EXPECT_EQ(write(0, 6), Answered::taken);  // it had written the six
    EXPECT_EQ(requests_heard, 1u);
    for (unsigned index = 0; index < 2; ++index)
        EXPECT_TRUE(domain->vcpu(index).blocked_by(Blocker::restarting));
    std::uint64_t value{};
    EXPECT_EQ(read(0, value), Answered::taken);  // nor is any other VCPU answered meanwhile
    carry_out();
    EXPECT_NE(&binding(), failed);
    EXPECT_EQ(domain->state(), DomainState::running);
    EXPECT_TRUE(domain->vcpu(0).runnable());
    EXPECT_EQ(value_of(0), 5u);
    EXPECT_EQ(write(0, 6), Answered::done);
    EXPECT_EQ(value_of(0), 6u);
    EXPECT_EQ(value_of(5), 0x77u);  // declared again by the fresh one
    EXPECT_EQ(restarts(), 1u);
    EXPECT_FALSE(domain->extensions->describe(0).failed);
    EXPECT_EQ(domain->resident_space, &binding().isolated->space);
}

TEST_F(Restarted, a_vcpus_own_state_is_that_before_the_hook_too)
{
    bind_and_start();
    EXPECT_EQ(write(2, 1000), Answered::done);
    pass(2000);
    look();
    EXPECT_EQ(value_of(1), 1u);
    EXPECT_EQ(write(2, 1000), Answered::done);
    pass(2000);
    fail_next();
    look();  // it counted, and failed
    EXPECT_TRUE(domain->vcpu(0).blocked_by(Blocker::restarting));
    carry_out();
    EXPECT_EQ(value_of(1), 1u);
    look();  // the expiry that it did not hear of is told again
    EXPECT_EQ(value_of(1), 2u);
    look();
    EXPECT_EQ(value_of(1), 2u);
}

TEST_F(Restarted, what_is_the_bindings_goes_on)
{
    bind_and_start();
    EXPECT_EQ(write(3, 0x5000), Answered::done);
    EXPECT_EQ(write(2, 5000), Answered::done);
    fail_next();
    EXPECT_EQ(write(0, 1), Answered::taken);
    carry_out();
    EXPECT_EQ(binding().holdings.timers.armed(), 1u);
    EXPECT_EQ(binding().holdings.pages.placed(), 1u);
    EXPECT_EQ(write(3, 0x6000), Answered::done);  // moves the same page
    EXPECT_EQ(binding().holdings.pages.placed(), 1u);
    pass(6000);
    look();
    EXPECT_EQ(value_of(1), 1u);
}

TEST_F(Restarted, an_open_call_goes_on_from_its_last_answer)
{
    bind_and_start();
    Vcpu& vcpu = domain->vcpu(0);
    EXPECT_EQ(call(7, 3), Answered::taken);
    look();
    fail_next();
    look();  // the second part
    EXPECT_TRUE(vcpu.entry_held);
    carry_out();
    look();
    EXPECT_TRUE(vcpu.entry_held);
    look();
    EXPECT_FALSE(vcpu.entry_held);
    EXPECT_EQ(vcpu.registers.general[0], 3u);
}

TEST_F(Restarted, a_call_that_failed_at_its_beginning_begins_again)
{
    bind_and_start();
    Vcpu& vcpu = domain->vcpu(0);
    const std::uint64_t rip = vcpu.registers.rip;
    fail_next();
    EXPECT_EQ(call(7, 1), Answered::taken);
    EXPECT_FALSE(vcpu.entry_held);
    EXPECT_EQ(vcpu.registers.rip, rip);
    carry_out();
    EXPECT_EQ(call(7, 1), Answered::taken);
    look();
    EXPECT_EQ(vcpu.registers.general[0], 1u);
    EXPECT_EQ(vcpu.registers.rip, rip + 3);
}

TEST_F(Restarted, the_time_that_stands_still_is_told_to_the_next_instance)
{
    ASSERT_TRUE(bind("puppet-one")) << why.view();
    start();
    forget_said();
    fail_next();
    ASSERT_TRUE(domain->pause());
    carry_out();
    ASSERT_TRUE(domain->unpause());
    EXPECT_EQ(said(), (std::vector<std::string>{"puppet-one freeze", "puppet-one domain_create", "puppet-one freeze",
                                               "puppet-one thaw"}));
    EXPECT_EQ(restarts(), 1u);
}

TEST_F(Restarted, it_happens_before_the_domain_is_paused_where_it_is_still_to_come)
{
    ASSERT_TRUE(bind("puppet-one")) << why.view();
    start();
    fail_next();
    from_hook(binding().of(domain->vcpu(0)), [](const abi::VcpuContext&) {});
    forget_said();
    ASSERT_TRUE(domain->pause());
    EXPECT_EQ(said(), (std::vector<std::string>{"puppet-one domain_create", "puppet-one freeze"}));
    EXPECT_FALSE(domain->vcpu(0).blocked_by(Blocker::restarting));
}

TEST_F(Restarted, an_instance_with_a_bad_verdict_is_restarted_in_the_trusted_placement_too)
{
    options.placement = Placement::trusted;
    bind_and_start();
    EXPECT_EQ(write(0, 5), Answered::done);
    binding().hooks.msr_write = [](const abi::VcpuContext*, std::uint32_t, std::uint32_t, std::uint64_t) {
        return abi::Verdict{abi::VerdictKind::again, 0, 0};
    };
    EXPECT_EQ(write(0, 6), Answered::taken);
    carry_out();
    EXPECT_EQ(value_of(0), 5u);
    EXPECT_EQ(write(0, 6), Answered::done);
}

TEST_F(Restarted, many_leave_nothing_behind)
{
    bind_and_start();
    EXPECT_EQ(write(2, 1000), Answered::done);
    std::uint64_t frames_held{}, of_heap{};
    for (unsigned round = 0; round < 50; ++round) {
        EXPECT_EQ(write(0, round), Answered::done);
        fail_next();
        EXPECT_EQ(write(0, 1'000'000), Answered::taken);
        carry_out();
        ASSERT_EQ(value_of(0), round);
        if (round == 5) {  // as many reports are kept as ever will be
            frames_held = domain->ledger.frames();
            of_heap = heap->allocations();
        }
        if (round >= 5) {
            ASSERT_EQ(domain->ledger.frames(), frames_held);
            ASSERT_EQ(heap->allocations(), of_heap);
        }
        ASSERT_EQ(fake::isolated_spaces(), 1u);
        fake::advance_ticks(platform::ticks_per_second() * 2);  // no storm
    }
    EXPECT_EQ(restarts(), 50u);
}

TEST_F(Restarted, a_storm_ends_in_detach)
{
    bind_and_start();
    EXPECT_EQ(write(0, 5), Answered::done);
    for (unsigned round = 0; round < Restarts::most; ++round) {
        fail_next();
        ASSERT_EQ(write(0, 6), Answered::taken);
        carry_out();
        ASSERT_EQ(domain->extensions->describe(0).restarts, round + 1);
    }
    fail_next();
    EXPECT_TRUE(is_fault(write(0, 6)));
    carry_out();
    EXPECT_EQ(restarts(), Restarts::most);
    EXPECT_TRUE(domain->extensions->describe(0).failed);
    EXPECT_EQ(fake::isolated_spaces(), 0u);
    EXPECT_NE(binding().failure.view().find("restarted 8 times in 10000 ms, so it is detached"), std::string_view::npos)
        << binding().failure.view();
    EXPECT_EQ(domain->state(), DomainState::running);
    EXPECT_TRUE(domain->vcpu(0).runnable());
}

TEST_F(Restarted, where_there_is_no_memory_the_guest_goes_on_without)
{
    bind_and_start();
    domain->ledger.set_limit(domain->ledger.frames());
    fail_next();
    EXPECT_EQ(write(0, 6), Answered::taken);
    carry_out();
    domain->ledger.set_limit(Ledger::unlimited);
    EXPECT_TRUE(is_fault(write(0, 6)));
    EXPECT_NE(binding().failure.view().find("could not be restarted: not enough memory"), std::string_view::npos)
        << binding().failure.view();
    EXPECT_TRUE(domain->vcpu(0).runnable());
}

TEST_F(Restarted, a_domain_that_has_ended_meanwhile_gets_no_instance)
{
    bind_and_start();
    fail_next();
    EXPECT_EQ(write(0, 6), Answered::taken);
    domain->end(EndReason::destroyed);
    carry_out();
    EXPECT_EQ(restarts(), 0u);
    EXPECT_TRUE(domain->extensions->describe(0).failed);
}

TEST_F(Restarted, detach_leaves_the_leaves_and_takes_every_msr)
{
    options.on_fault = OnFault::detach;
    bind_and_start();
    std::uint64_t value{};
    EXPECT_EQ(read(5, value), Answered::done);
    fail_next();
    EXPECT_TRUE(is_fault(write(0, 6)));
    EXPECT_TRUE(is_fault(read(5, value)));  // declared as a constant
    EXPECT_TRUE(is_fault(read(0, value)));
    EXPECT_TRUE(is_fault(write(2, 1)));
    x86::CpuidResult leaf{};
    EXPECT_EQ(domain->extensions->cpuid(domain->vcpu(0), 0x4000'0001, 0, leaf), Answered::done);
    EXPECT_EQ(leaf.eax, 5u);
    EXPECT_EQ(requests_heard, 1u);
    EXPECT_EQ(domain->state(), DomainState::running);
}

/// What an instance held that nobody follows goes back as soon as no VCPU is in it.
class FailedForGood : public Restarted {
protected:
    /// It has memory, an overlay that the guest sees, a timer, and holds a VCPU.
    Binding& busy_instance()
    {
        bind_and_start();
        EXPECT_EQ(write(3, 0x5000), Answered::done);
        EXPECT_EQ(write(2, 1'000'000), Answered::done);
        EXPECT_NE(seen_at(0x5000), own_page(0x5000));
        EXPECT_TRUE(binding().isolated->allocate(40'000));
        from_hook(*binding().vcpus[1], [&](const abi::VcpuContext& context) {
            EXPECT_EQ(isolated_services.vcpu_pause(context.vcpu), abi::status_ok);
        });
        return binding();
    }
    void fail_for_good()
    {
        fail_next();
        EXPECT_TRUE(is_fault(write(0, 6)));
        EXPECT_EQ(requests_heard, 1u);
        carry_out();
    }
    static std::uint64_t frames_of(const Binding& binding) { return binding.ledger.frames() + binding.holdings.ledger.frames(); }
    HostPhysical seen_at(std::uint64_t guest) { return domain->memory.map().lookup(GuestPhysical{guest})->host; }
    HostPhysical own_page(std::uint64_t guest) { return domain->memory.ram_page(GuestPhysical{guest}).value(); }

    void expect_given_back(Binding& failed, std::uint64_t frames_left, std::uint64_t allocations_left)
    {
        EXPECT_EQ(frames_of(failed), frames_left);
        EXPECT_EQ(failed.heap.allocations(), allocations_left);
        EXPECT_EQ(fake::isolated_spaces(), 0u);
        EXPECT_EQ(domain->resident_space, nullptr);
        EXPECT_EQ(seen_at(0x5000), own_page(0x5000));
        EXPECT_FALSE(domain->vcpu(1).blocked_by(Blocker::extension));
    }
    void expect_known_to_the_operator()
    {
        ASSERT_EQ(domain->extensions->size(), 1u);
        EXPECT_TRUE(domain->extensions->describe(0).failed);
        EXPECT_EQ(domain->extensions->describe(0).name, "swappable");
        EXPECT_TRUE(domain->extensions->reports().visit("swappable", 0, [](const FailureReport&) {}));
        EXPECT_TRUE(domain->extensions->reports().visit_core(
            [](const FailureCore& core) { EXPECT_GT(core.segments().size(), 3u); }));
    }
};

TEST_F(FailedForGood, gives_back_what_an_orderly_detach_does)
{
    Binding& orderly = busy_instance();
    const std::uint64_t held = frames_of(orderly);
    ASSERT_TRUE(ExtensionStack::detach(*domain, "swappable", why)) << why.view();
    const std::uint64_t left = frames_of(orderly);
    const std::uint64_t allocations = orderly.heap.allocations();
    EXPECT_LT(left + 20, held);
    for (const OnFault action : {OnFault::detach, OnFault::pause}) {
        end_domain();
        make_domain();
        requests_heard = 0;
        options.on_fault = action;
        Binding& failing = busy_instance();
        EXPECT_EQ(frames_of(failing), held);
        fail_for_good();
        expect_given_back(failing, left, allocations);
        expect_known_to_the_operator();
        EXPECT_EQ(domain->carry_out_pause_request(), action == OnFault::pause);
    }
}

TEST_F(FailedForGood, leaves_the_guest_what_it_was_told)
{
    options.on_fault = OnFault::detach;
    busy_instance();
    fail_for_good();
    x86::CpuidResult leaf{};
    std::uint64_t value{};
    EXPECT_EQ(domain->extensions->cpuid(domain->vcpu(0), 0x4000'0001, 0, leaf), Answered::done);
    EXPECT_EQ(leaf.eax, 5u);
    EXPECT_EQ(domain->extensions->read_msr(domain->vcpu(0), msr(0), value), Answered::fault);
    EXPECT_EQ(domain->extensions->write_msr(domain->vcpu(0), msr(2), 1), Answered::fault);
    EXPECT_EQ(call(7), Answered::no);
    pass(2'000'000);  // its timer is gone
    look();
    domain->extensions->vcpu_reset(domain->vcpu(0));
    EXPECT_TRUE(domain->pause());
    EXPECT_TRUE(domain->unpause());
    EXPECT_EQ(domain->state(), DomainState::running);
    std::vector<std::byte> room(4096);
    why.clear();
    EXPECT_EQ(export_extension(*domain, "swappable", room, why).error(), Error::busy);
    EXPECT_NE(why.view().find("has failed"), std::string_view::npos) << why.view();
}

TEST_F(FailedForGood, makes_room_for_the_next_of_its_name)
{
    options.on_fault = OnFault::detach;
    busy_instance();
    fail_for_good();
    EXPECT_FALSE(ExtensionStack::attach(*domain, module("swap-1"), {}, options, why, field));
    ASSERT_TRUE(ExtensionStack::detach(*domain, "swappable", why)) << why.view();
    EXPECT_EQ(domain->extensions->size(), 0u);
    why.clear();
    ASSERT_TRUE(ExtensionStack::attach(*domain, module("swap-1"), {}, options, why, field)) << why.view();
    EXPECT_EQ(write(0, 7), Answered::done);
    EXPECT_EQ(value_of(0), 7u);
}

TEST_F(FailedForGood, is_the_domains_to_end_where_that_has_ended)
{
    options.on_fault = OnFault::detach;
    Binding& failing = busy_instance();
    fail_next();
    EXPECT_TRUE(is_fault(write(0, 6)));
    domain->end(EndReason::poweroff);
    const std::uint64_t held = frames_of(failing);
    carry_out();
    EXPECT_EQ(frames_of(failing), held);
}

}  // namespace
}  // namespace hv::test
