// SPDX-License-Identifier: MIT
//
// Extensions that come to a running guest and go from it: what the guest finds before and after, and that a failure at any step
// leaves everything as it was.
#include "extension_fixture.hpp"

namespace hv::test {
namespace {

using Strings = std::vector<std::string>;

class Attaches : public ExtensionTest {
protected:
    Status attach(const std::string& name, std::vector<ExtensionParameter> parameters = {})
    {
        Module& of = module(name);
        why.clear();
        field.clear();
        return ExtensionStack::attach(*domain, of, parameters, options, why, field);
    }
    Status detach(const std::string& name)
    {
        why.clear();
        return ExtensionStack::detach(*domain, name, why);
    }
    Answered cpuid(std::uint32_t leaf, unsigned vcpu = 0, std::uint32_t subleaf = 0)
    {
        found = {};
        return domain->extensions->cpuid(domain->vcpu(vcpu), leaf, subleaf, found);
    }
    Answered read(std::uint32_t msr) { return domain->extensions->read_msr(domain->vcpu(0), msr, value); }
    Binding& top() { return *domain->extensions->implementation().bindings.back(); }
    void expect_guest_runs()
    {
        EXPECT_TRUE(domain->vcpu(0).runnable());
        EXPECT_FALSE(domain->vcpu(1).blocked_by(Blocker::swapping));
    }
    HostPhysical seen_at(std::uint64_t guest) { return domain->memory.map().lookup(GuestPhysical{guest})->host; }
    x86::CpuidResult found{};
    std::uint64_t value{};
};

TEST_F(Attaches, a_guest_without_extensions_finds_one_from_then_on)
{
    start();
    ASSERT_TRUE(attach("puppet-one", {number_parameter("count", 3)})) << why.view();
    EXPECT_EQ(said(), (Strings{"puppet-one parameter_set", "puppet-one domain_create", "puppet-one hypercall_page",
                               "puppet-one vcpu_initialise", "puppet-one vcpu_initialise"}));
    EXPECT_EQ(cpuid(0x4000'0000), Answered::done);
    EXPECT_EQ(found.eax, 0x4000'0003u);
    EXPECT_EQ(cpuid(0x4000'0001, 1), Answered::done);
    EXPECT_EQ(found.ebx, 1u << 8);
    EXPECT_EQ(domain->extensions->size(), 1u);
    expect_guest_runs();
}

TEST_F(Attaches, one_on_top_leaves_what_the_guest_has_where_it_is)
{
    Binding& one = bound();
    start();
    ASSERT_TRUE(attach("puppet-two")) << why.view();
    EXPECT_EQ(domain->extensions->size(), 2u);
    EXPECT_EQ(one.grants[0].base, 0x4000'0000u);
    EXPECT_EQ(top().grants[0].base, 0x4000'0100u);
    EXPECT_EQ(cpuid(0x4000'0100), Answered::done);
    EXPECT_EQ(found.eax, 0x4000'0103u);
}

TEST_F(Attaches, a_window_that_is_taken_is_refused_by_name)
{
    bound();
    start();
    forget_said();
    const auto refused = attach("puppet-clash");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), Error::conflict);
    EXPECT_NE(why.view().find("'puppet-clash' and 'puppet-one' both want"), std::string_view::npos) << why.view();
    EXPECT_EQ(said(), Strings{});
    ASSERT_FALSE(attach("puppet-one"));
    EXPECT_NE(why.view().find("is in the domain's stack already"), std::string_view::npos) << why.view();
    EXPECT_EQ(domain->extensions->size(), 1u);
    expect_guest_runs();
}

TEST_F(Attaches, a_refusal_in_any_hook_leaves_everything_as_it_was)
{
    for (const bool alone : {true, false}) {
        if (!alone)
            ASSERT_TRUE(attach("puppet-two")) << why.view();
        else
            start();
        Module& puppet = module("puppet-one");
        const std::uint64_t frames_before = domain->ledger.frames();
        const std::uint64_t allocations_before = domain->heap.allocations();
        for (const char* const hook : {"parameter_set", "domain_create", "hypercall_page", "vcpu_initialise"}) {
            const auto done = attach("puppet-one", {text_parameter("fail", hook)});
            ASSERT_FALSE(done) << hook;
            EXPECT_EQ(done.error(), Error::busy);
            EXPECT_EQ(why.view(), "extension 'puppet-one' refuses: the puppet was told to");
            EXPECT_EQ(domain->extensions == nullptr, alone);
            EXPECT_EQ(domain->ledger.frames(), frames_before) << hook;
            EXPECT_EQ(domain->heap.allocations(), allocations_before) << hook;
            EXPECT_EQ(puppet.bindings(), 0u);
            expect_guest_runs();
            if (!alone) {
                EXPECT_EQ(cpuid(0x4000'0000), Answered::done);
                EXPECT_EQ(found.eax, 0x4000'0003u);
                EXPECT_EQ(cpuid(0x4000'0100), Answered::no);
            }
        }
    }
}

TEST_F(Attaches, too_little_memory_at_any_point_is_a_refusal)
{
    Binding& one = bound();
    start();
    const std::uint64_t before = domain->ledger.frames();
    unsigned refused{};
    for (std::uint64_t limit = before;; ++limit) {
        domain->ledger.set_limit(limit);
        const Status done = attach("puppet-two");
        domain->ledger.set_limit(Ledger::unlimited);
        if (done)
            break;
        ++refused;
        ASSERT_EQ(domain->ledger.frames(), before);
        ASSERT_EQ(domain->extensions->size(), 1u);
        ASSERT_EQ(&top(), &one);
        ASSERT_EQ(cpuid(0x4000'0100), Answered::no);
        expect_guest_runs();
    }
    EXPECT_GT(refused, 5u);
}

TEST_F(Attaches, it_hears_that_a_paused_guests_time_stands_still_and_goes_on)
{
    start();
    ASSERT_TRUE(attach("puppet-two")) << why.view();
    ASSERT_TRUE(domain->pause());
    forget_said();
    ASSERT_TRUE(attach("puppet-one")) << why.view();
    EXPECT_EQ(count_said("puppet-one freeze"), 1);
    EXPECT_EQ(domain->state(), DomainState::paused);
    EXPECT_FALSE(domain->vcpu(0).runnable());
    ASSERT_TRUE(domain->unpause());
    EXPECT_EQ(count_said("puppet-one thaw"), 1);
    EXPECT_TRUE(domain->vcpu(0).runnable());
}

TEST_F(Attaches, neither_is_done_before_the_domain_is_built)
{
    EXPECT_EQ(attach("puppet-one").error(), Error::conflict);
    EXPECT_NE(why.view().find("is not running"), std::string_view::npos);
    bound();
    EXPECT_EQ(detach("puppet-one").error(), Error::conflict);
    EXPECT_EQ(domain->extensions->size(), 1u);
}

TEST_F(Attaches, what_the_guest_was_told_outlives_a_detach)
{
    Binding& one = bound();
    const auto msr = static_cast<std::uint32_t>(one.grants[1].base);
    const auto port = static_cast<std::uint16_t>(one.grants[3].base);
    start();
    one.hooks.cpuid = [](const abi::VcpuContext*, std::uint32_t, std::uint32_t leaf, std::uint32_t subleaf,
                         abi::CpuidResult* result) -> abi::Verdict {
        if (leaf == 5)
            *result = {.eax = 50 + subleaf};
        return abi::done;
    };
    one.hooks.hypercall = [](const abi::VcpuContext*, abi::HypercallFrame*) -> abi::Verdict { return abi::done; };
    one.hooks.port_read = [](const abi::VcpuContext*, std::uint32_t, std::uint32_t, std::uint32_t,
                             std::uint32_t* word) -> abi::Verdict { *word = 9; return abi::done; };
    ASSERT_EQ(read(msr), Answered::done);
    forget_said();
    ASSERT_TRUE(detach("puppet-one")) << why.view();

    EXPECT_EQ(said(), (Strings{"puppet-one vcpu_destroy", "puppet-one vcpu_destroy", "puppet-one domain_destroy"}));
    EXPECT_EQ(domain->extensions->size(), 0u);
    EXPECT_EQ(cpuid(0x4000'0000), Answered::done);
    EXPECT_EQ(found.eax, 0x4000'0003u);
    EXPECT_EQ(cpuid(0x4000'0001, 1), Answered::done);
    EXPECT_EQ(found.ebx, 1u << 8);
    EXPECT_EQ(cpuid(0x4000'0005, 0, 2), Answered::done);
    EXPECT_EQ(found.eax, 52u);
    EXPECT_EQ(read(msr), Answered::fault);
    EXPECT_EQ(read(msr + 7), Answered::fault);
    EXPECT_EQ(domain->extensions->write_msr(domain->vcpu(0), msr + 1, 0), Answered::fault);
    EXPECT_EQ(call(0x1000), Answered::no);
    std::uint32_t word{};
    EXPECT_EQ(domain->extensions->port(domain->vcpu(0), port, 4, true, word), Answered::no);
    expect_guest_runs();

    EXPECT_TRUE(registry->unload("puppet-one", why)) << why.view();
    EXPECT_EQ(cpuid(0x4000'0000), Answered::done);
    EXPECT_FALSE(attach("puppet-clash"));  // named though its module is gone
    EXPECT_NE(why.view().find("'puppet-clash' and 'puppet-one' both want"), std::string_view::npos) << why.view();
}

TEST_F(Attaches, what_a_detached_one_held_goes_back)
{
    Binding& one = bound();
    start();
    std::uint64_t page{};
    std::uint64_t timer{};
    from_hook(*one.vcpus[0], [&](const abi::VcpuContext& context) {
        EXPECT_EQ(host().overlay_create(context.domain, &page), abi::status_ok);
        EXPECT_EQ(host().overlay_place(context.domain, page, 0x5000, 1), abi::status_ok);
        EXPECT_EQ(host().hypercall_page_place(context.domain, 0, 0x6000, abi::hypercall_page_overlay), abi::status_ok);
        EXPECT_EQ(host().timer_create(context.vcpu, 1, &timer), abi::status_ok);
        EXPECT_EQ(host().vcpu_pause(context.vcpu), abi::status_ok);
    });
    const HostPhysical own = domain->memory.ram_page(GuestPhysical{0x5000}).value();
    ASSERT_NE(seen_at(0x5000), own);
    const HostPhysical called = seen_at(0x6000);
    one.vcpus[0]->continuing = domain->vcpu(0).entry_held = true;
    ASSERT_FALSE(domain->vcpu(0).runnable());

    ASSERT_TRUE(detach("puppet-one")) << why.view();
    EXPECT_EQ(seen_at(0x5000), own);
    EXPECT_EQ(seen_at(0x6000), called);  // the guest's calls go there
    EXPECT_FALSE(domain->vcpu(0).entry_held);
    EXPECT_EQ(fake::module_reservations(), 0u);
    EXPECT_EQ(fake::isolated_spaces(), 0u);
    EXPECT_EQ(domain->resident_space, nullptr);
    expect_guest_runs();

    ASSERT_TRUE(attach("puppet-one")) << why.view();
    EXPECT_EQ(seen_at(0x5000), own);
    EXPECT_NE(seen_at(0x6000), domain->memory.ram_page(GuestPhysical{0x6000}).value());  // the guest may be there now
    EXPECT_NE(seen_at(0x6000), called);
    expect_guest_runs();
}

TEST_F(Attaches, the_next_of_the_name_takes_what_is_left)
{
    bound("puppet-two");
    start();
    ASSERT_TRUE(attach("puppet-one")) << why.view();
    ASSERT_TRUE(detach("puppet-one")) << why.view();
    std::uint64_t frames_held{};
    std::uint64_t allocations{};
    for (unsigned round = 0; round < 10; ++round) {
        ASSERT_TRUE(attach("puppet-one")) << why.view();
        ASSERT_EQ(top().grants[0].base, 0x4000'0100u);
        ASSERT_EQ(read(static_cast<std::uint32_t>(top().grants[1].base)), Answered::done);
        ASSERT_TRUE(detach("puppet-one")) << why.view();
        if (round == 0) {
            frames_held = domain->ledger.frames();
            allocations = domain->heap.allocations();
        }
        ASSERT_LE(domain->ledger.frames(), frames_held);  // the heap may come to need fewer
        ASSERT_EQ(domain->heap.allocations(), allocations);
    }
    EXPECT_EQ(domain->extensions->size(), 1u);
    ASSERT_FALSE(attach("puppet-one", {text_parameter("fail", "domain_create")}));
    EXPECT_EQ(cpuid(0x4000'0100), Answered::done);  // what was left is there still
    EXPECT_EQ(found.eax, 0x4000'0103u);
}

TEST_F(Attaches, a_guest_whose_last_extension_is_gone_is_paused_and_goes_on)
{
    bound();
    start();
    ASSERT_TRUE(detach("puppet-one")) << why.view();
    ASSERT_TRUE(domain->pause());
    ASSERT_TRUE(domain->unpause());
    expect_guest_runs();
}

TEST_F(Attaches, an_extension_that_is_not_there_is_not_detached)
{
    start();
    EXPECT_EQ(detach("puppet-one").error(), Error::not_found);
    EXPECT_NE(why.view().find("has no extension 'puppet-one'"), std::string_view::npos);
    ASSERT_TRUE(attach("puppet-one"));
    ASSERT_TRUE(detach("puppet-one"));
    EXPECT_EQ(detach("puppet-one").error(), Error::not_found);
}

TEST_F(Attaches, no_memory_for_what_the_guest_was_told_leaves_the_instance)
{
    Binding& one = bound();
    start();
    one.hooks.cpuid = [](const abi::VcpuContext*, std::uint32_t, std::uint32_t leaf, std::uint32_t subleaf,
                         abi::CpuidResult* result) -> abi::Verdict {
        *result = {.eax = leaf, .ebx = 1000 + subleaf};
        return abi::done;
    };
    domain->ledger.set_limit(domain->ledger.frames());
    const auto refused = detach("puppet-one");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), Error::no_memory);
    domain->ledger.set_limit(Ledger::unlimited);
    EXPECT_EQ(&top(), &one);
    EXPECT_EQ(read(static_cast<std::uint32_t>(one.grants[1].base)), Answered::done);
    expect_guest_runs();
    ASSERT_TRUE(detach("puppet-one")) << why.view();
    EXPECT_EQ(cpuid(0x4000'003f, 0, 3), Answered::done);
    EXPECT_EQ(found.ebx, 1003u);
}

}  // namespace
}  // namespace hv::test
