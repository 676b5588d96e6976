// SPDX-License-Identifier: MIT
//
// Loading, binding and unbinding: the order of hooks, what a failure leaves behind, windows and parameters.
#include "extension_fixture.hpp"

namespace hv::test {
namespace {

using Binds = ExtensionTest;
using Strings = std::vector<std::string>;

TEST_F(Binds, hooks_are_called_in_the_order_of_the_abi)
{
    ASSERT_TRUE(bind("puppet-one", {text_parameter("word", "abc"), number_parameter("count", 3)}))
        << why.view();
    EXPECT_EQ(said(), (Strings{"puppet-one parameter_set", "puppet-one parameter_set",
                               "puppet-one domain_create", "puppet-one hypercall_page",
                               "puppet-one vcpu_initialise", "puppet-one vcpu_initialise"}));
    forget_said();
    ExtensionStack::unbind_all(*domain);
    EXPECT_EQ(said(),
              (Strings{"puppet-one vcpu_destroy", "puppet-one vcpu_destroy", "puppet-one domain_destroy"}));
    EXPECT_EQ(domain->extensions, nullptr);
}

TEST_F(Binds, a_refusal_in_any_hook_leaves_nothing_behind)
{
    struct Case {
        const char* hook;
        Strings undone;
    };
    const Case cases[]{{"parameter_set", {}},
                       {"domain_create", {}},
                       {"hypercall_page", {"puppet-one domain_destroy"}},
                       {"vcpu_initialise", {"puppet-one vcpu_destroy", "puppet-one domain_destroy"}}};
    Module& puppet = module("puppet-one");
    const std::uint64_t frames_before = domain->ledger.frames();
    const std::uint64_t allocations_before = domain->heap.allocations();
    for (const Case& one : cases) {
        forget_said();
        const auto done = bind("puppet-one", {text_parameter("fail", one.hook)});
        ASSERT_FALSE(done) << one.hook;
        EXPECT_EQ(done.error(), Error::busy);
        EXPECT_EQ(why.view(), "extension 'puppet-one' refuses: the puppet was told to");
        EXPECT_EQ(field.view(), std::string_view{one.hook} == "parameter_set" ? "0" : "");
        Strings ends;
        for (const std::string& hook : said())
            if (hook.ends_with("destroy"))
                ends.push_back(hook);
        EXPECT_EQ(ends, one.undone) << one.hook;
        EXPECT_EQ(domain->extensions, nullptr);
        EXPECT_EQ(domain->ledger.frames(), frames_before) << one.hook;
        EXPECT_EQ(domain->heap.allocations(), allocations_before) << one.hook;
        EXPECT_EQ(fake::module_reservations(), 0u);
        EXPECT_EQ(puppet.bindings(), 0u);
    }
}

TEST_F(Binds, no_memory_at_any_step_leaves_nothing_behind)
{
    Module& puppet = module("puppet-one");
    ASSERT_TRUE(bind("puppet-one"));
    const std::uint64_t whole = domain->ledger.frames();
    ExtensionStack::unbind_all(*domain);
    const std::uint64_t before = domain->ledger.frames();
    unsigned refusals{};
    for (std::uint64_t limit = before; limit < whole; ++limit) {
        domain->ledger.set_limit(limit);
        ASSERT_FALSE(ExtensionStack::bind(*domain, puppet, {}, options, why, field)) << limit;
        EXPECT_EQ(domain->ledger.frames(), before);
        EXPECT_EQ(domain->extensions, nullptr);
        EXPECT_EQ(fake::module_reservations(), 0u);
        ++refusals;
    }
    EXPECT_GT(refusals, 8u);
    domain->ledger.set_limit(Ledger::unlimited);
    for (unsigned after = 0; after < 2; ++after) {  // text, constants: it has no data
        fake::fail_module_mapping(after);
        EXPECT_FALSE(ExtensionStack::bind(*domain, puppet, {}, options, why, field));
        EXPECT_EQ(fake::module_reservations(), 0u);
    }
    fake::fail_module_mapping(~0u);
    EXPECT_TRUE(bind("puppet-one")) << why.view();
}

TEST_F(Binds, an_instance_holds_frames_of_its_own_ledger)
{
    const std::uint64_t before = domain->ledger.frames();
    const Binding& binding = bound();
    EXPECT_GT(binding.ledger.frames(), 4u);
    EXPECT_GE(domain->ledger.frames(), before + binding.ledger.frames());
    const auto description = domain->extensions->describe(0);
    EXPECT_EQ(description.name, "puppet-one");
    EXPECT_EQ(description.version[1], 2);
    EXPECT_EQ(description.cpuid_base, 0x4000'0000u);
    EXPECT_EQ(description.memory_bytes,
              (binding.ledger.frames() + binding.holdings.ledger.frames()) * page_size);
}

TEST_F(Binds, two_modules_get_windows_of_their_own)
{
    const Binding& one = bound("puppet-one");
    const Binding& two = bound("puppet-two");
    EXPECT_EQ(one.grants[0].base, 0x4000'0000u);
    EXPECT_EQ(two.grants[0].base, 0x4000'0100u);
    EXPECT_NE(one.grants[1].base, two.grants[1].base);
    EXPECT_GE(two.grants[1].base, one.grants[1].base + one.grants[1].length);
    EXPECT_EQ(domain->extensions->size(), 2u);
}

TEST_F(Binds, a_clash_names_both_modules)
{
    bound("puppet-one");
    const auto done = bind("puppet-clash");
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error(), Error::conflict);
    EXPECT_EQ(why.view(),
              "extensions 'puppet-clash' and 'puppet-one' both want MSRs 0x40008000 to 0x400080ff");
    EXPECT_EQ(domain->extensions->size(), 1u);
}

TEST_F(Binds, a_module_is_in_a_stack_once)
{
    bound("puppet-one");
    const auto again = bind("puppet-one");
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error(), Error::already_exists);
}

TEST_F(Binds, only_a_domain_that_is_being_built_takes_extensions)
{
    start();
    const auto late = bind("puppet-one");
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error(), Error::conflict);
}

TEST_F(Binds, wrong_parameters_are_refused_by_number_before_the_module_sees_them)
{
    struct Case {
        std::vector<ExtensionParameter> parameters;
        const char* culprit;
        const char* sentence;
    };
    const Case cases[]{
        {{text_parameter("nothing", "x")},
         "0",
         "extension 'puppet-one' has no parameter 'nothing'; it knows 'fail', 'count', 'loud', 'word'"},
        {{text_parameter("count", "3")}, "0", "parameter 'count' is an integer"},
        {{number_parameter("count", 0)}, "0", "parameter 'count' is 0, and can be 1 to 5"},
        {{text_parameter("word", "abc"), number_parameter("count", 6)}, "1", "parameter 'count' is 6, and can be 1 to 5"},
        {{number_parameter("loud", 1)}, "0", "parameter 'loud' is true or false"},
        {{text_parameter("word", "a")}, "0", "parameter 'word' has 1 bytes, and can have 2 to 4"},
        {{text_parameter("word", "abcde")}, "0", "parameter 'word' has 5 bytes, and can have 2 to 4"},
        {{text_parameter("fail", "here")},
         "0",
         "parameter 'fail' is 'here', and can be one of nowhere|parameter_set|domain_create|hypercall_page|"
         "vcpu_initialise"},
        {{number_parameter("count", 1), number_parameter("count", 2)},
         "0",
         "parameter 'count' takes one value, and has 2"},
        {{{"count", ExtensionParameter::Kind::empty_list, 0, {}}},
         "0",
         "parameter 'count' takes one value, and has 0"},
        {{text_parameter("fail", "nowhere"), number_parameter("fail", 2)}, "1", "parameter 'fail' is a text"},
    };
    for (const Case& one : cases) {
        forget_said();
        ASSERT_FALSE(bind("puppet-one", one.parameters)) << one.sentence;
        EXPECT_EQ(why.view(), one.sentence);
        EXPECT_EQ(field.view(), one.culprit);
        EXPECT_EQ(std::to_string(said().size()), one.culprit) << "those before it, and no more";
        EXPECT_EQ(domain->extensions, nullptr);
    }
}

TEST_F(Binds, a_list_reaches_the_module_element_by_element_and_an_empty_one_in_one_call)
{
    ASSERT_TRUE(bind("puppet-one", {text_parameter("fail", "nowhere"), text_parameter("fail", "nowhere"),
                                    text_parameter("word", "ab")}))
        << why.view();
    EXPECT_EQ(count_said("puppet-one parameter_set 0 of 2"), 1);
    EXPECT_EQ(count_said("puppet-one parameter_set 1 of 2"), 1);
    EXPECT_EQ(count_said("puppet-one parameter_set"), 1);
    ExtensionStack::unbind_all(*domain);
    forget_said();
    ASSERT_TRUE(bind("puppet-one", {{"fail", ExtensionParameter::Kind::empty_list, 0, {}}})) << why.view();
    EXPECT_EQ(count_said("puppet-one parameter_set 0 of 0"), 1);
}

TEST_F(Binds, hypercall_pages_are_filled_with_breakpoints_first)
{
    Binding& binding = bound();
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(binding.pages.hypercall_page(0));
    EXPECT_EQ(bytes[0], machine().hvm.hypercall_instruction[0]);
    EXPECT_EQ(bytes[3], 0xc3);
    EXPECT_EQ(bytes[4], 0xcc);
    EXPECT_EQ(bytes[page_size - 1], 0xcc);
}

using Registry = ExtensionTest;

TEST_F(Registry, a_bound_module_cannot_be_unloaded)
{
    bound();
    const auto refused = registry->unload("puppet-one", why);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), Error::busy);
    EXPECT_EQ(registry->size(), 1u);
    ExtensionStack::unbind_all(*domain);
    EXPECT_TRUE(registry->unload("puppet-one", why));
    EXPECT_EQ(registry->find("puppet-one"), nullptr);
}

TEST_F(Registry, the_same_file_again_is_the_same_module_and_another_is_refused)
{
    Module& first = module("puppet-one");
    EXPECT_EQ(&module("puppet-one"), &first);
    EXPECT_EQ(first.path(), "/lib/puppet-one.hvx");
    std::vector<std::byte> other = file_of("puppet-one");
    other.push_back(std::byte{});  // a valid file with one more byte at its end
    why.clear();
    const auto refused = registry->load(other, {}, "elsewhere", why);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), Error::already_exists);
    EXPECT_EQ(registry->size(), 1u);
}

TEST_F(Registry, the_loaders_own_words_reach_the_caller)
{
    std::vector<std::byte> broken = file_of("puppet-one");
    broken[0] = std::byte{};
    loader::KeptDiagnostics diagnostics;
    auto verified = std::make_unique<loader::Module>();
    ASSERT_FALSE(verified->verify(broken, {}, diagnostics));
    const auto refused = registry->load(broken, {}, "x", why);
    ASSERT_FALSE(refused);
    EXPECT_EQ(why.view(), diagnostics.text());
    EXPECT_EQ(registry->size(), 0u);
}

}  // namespace
}  // namespace hv::test
