// SPDX-License-Identifier: MIT
//
// Stacks that are announced before the first instance is bound: where their windows lie whatever the order, and
// what is refused.
#include "extension_fixture.hpp"

using namespace hv;
using namespace hv::test;

namespace {

class Announces : public ExtensionTest {
protected:
    Status announce(std::initializer_list<const char*> names)
    {
        std::vector<Module*> modules;
        for (const char* const name : names)
            modules.push_back(&module(name));
        why.clear();
        culprit = modules.size();
        return ExtensionStack::announce(*domain, modules, culprit, why);
    }
    void announce_and_bind(std::initializer_list<const char*> names)
    {
        ASSERT_TRUE(announce(names)) << why.view();
        for (const char* const name : names)
            bound(name);
    }
    const Binding& instance(std::size_t position)
    {
        return *domain->extensions->implementation().bindings[position];
    }
    std::size_t culprit{};
};

TEST_F(Announces, fixed_places_are_kept_for_who_demands_them_in_every_order)
{
    announce_and_bind({"puppet-one", "puppet-two", "puppet-fixed"});
    EXPECT_EQ(instance(0).grants[0].base, 0x4000'0100u);
    EXPECT_EQ(instance(1).grants[0].base, 0x4000'0200u);
    EXPECT_EQ(instance(2).grants[0].base, 0x4000'0000u);
    EXPECT_EQ(instance(2).grants[1].base, 0x4000'8000u);
    EXPECT_GE(instance(0).grants[1].base, 0x4000'8100u);
    EXPECT_GE(instance(1).grants[1].base, instance(0).grants[1].base + 0x100);
    end_domain();

    make_domain();
    announce_and_bind({"puppet-one", "puppet-fixed", "puppet-two"});
    EXPECT_EQ(instance(0).grants[0].base, 0x4000'0100u);
    EXPECT_EQ(instance(1).grants[0].base, 0x4000'0000u);
    EXPECT_EQ(instance(2).grants[0].base, 0x4000'0200u);
}

TEST_F(Announces, a_rule_goes_before_one_that_would_take_all_its_calls)
{
    for (const auto& order : {std::pair{"puppet-two", "puppet-fixed"}, std::pair{"puppet-fixed", "puppet-two"}}) {
        announce_and_bind({order.first, order.second});
        const auto& rules = domain->extensions->implementation().windows.hypercalls;
        ASSERT_EQ(rules.size(), 2u);
        EXPECT_EQ(rules[0]->owner, "puppet-fixed");
        EXPECT_EQ(rules[1]->owner, "puppet-two");
        end_domain();
        make_domain();
    }
}

TEST_F(Announces, without_it_the_order_decides)
{
    bound("puppet-one");
    const auto done = bind("puppet-fixed");
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error(), Error::conflict);
}

TEST_F(Announces, two_that_demand_one_place_are_refused_and_nothing_is_left)
{
    const auto allocations_before = domain->heap.allocations();
    const auto done = announce({"puppet-two", "puppet-fixed", "puppet-clash"});
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error(), Error::conflict);
    EXPECT_EQ(culprit, 2u);
    EXPECT_EQ(why.view(), "extensions 'puppet-clash' and 'puppet-fixed' both want MSRs 0x40008000 to 0x400080ff");
    EXPECT_EQ(domain->extensions, nullptr);
    EXPECT_EQ(domain->heap.allocations(), allocations_before);
}

TEST_F(Announces, a_module_is_in_a_stack_once)
{
    ASSERT_FALSE(announce({"puppet-one", "puppet-two", "puppet-one"}));
    EXPECT_EQ(culprit, 2u);
    EXPECT_EQ(why.view(), "extension 'puppet-one' is twice in the domain's stack");
}

TEST_F(Announces, it_is_said_once_and_before_the_first)
{
    ASSERT_TRUE(announce({"puppet-one"}));
    ASSERT_FALSE(announce({"puppet-one"}));
    EXPECT_EQ(why.view(), "a domain's extensions are announced once, before the first is bound");
    EXPECT_EQ(culprit, 1u);
}

TEST_F(Announces, just_the_announced_ones_are_bound_and_all_of_them)
{
    ASSERT_TRUE(announce({"puppet-one", "puppet-two"}));
    ASSERT_FALSE(bind("puppet-two"));
    EXPECT_EQ(why.view(), "extension 'puppet-two' is not the one that was announced for place 0");
    bound("puppet-one");
    why.clear();
    ASSERT_FALSE(domain->extensions->complete(*domain, why));
    EXPECT_EQ(why.view(), "of the 2 extensions that were announced 1 are bound");
    bound("puppet-two");
    ASSERT_FALSE(bind("puppet-serial"));
    EXPECT_EQ(why.view(), "extension 'puppet-serial' is not the one that was announced for place 2");
    ASSERT_TRUE(domain->extensions->complete(*domain, why));
    EXPECT_TRUE(domain->extensions->complete(*domain, why));
}

TEST_F(Announces, a_module_that_was_loaded_again_is_another)
{
    ASSERT_TRUE(announce({"puppet-one"}));
    ASSERT_TRUE(registry->unload("puppet-one", why));
    ASSERT_FALSE(bind("puppet-one"));
    EXPECT_EQ(why.view(), "extension 'puppet-one' is not the one that was announced for place 0");
}

TEST_F(Announces, a_domain_that_goes_before_a_bind_leaves_nothing)
{
    ASSERT_TRUE(announce({"puppet-one", "puppet-fixed"}));
    domain->extensions->freeze();  // as destroying it does
    domain->extensions->thaw();
    end_domain();  // the fixture looks at the heaps
}

}  // namespace
