// SPDX-License-Identifier: MIT
//
// Modules of ABI 0.1, built from what is kept of it (tests/abi/0.1), bound to a domain by the framework of today.
#include "extension_fixture.hpp"

namespace hv::test {
namespace {

class PublishedModules : public ExtensionTest {
protected:
    Binding& bound_published(const std::string& name)
    {
        std::ifstream stream{std::string{PUBLISHED_MODULES} + "/0.1/" + name + ".hvx", std::ios::binary};
        const std::string text{std::istreambuf_iterator<char>{stream}, {}};
        const auto bytes = std::as_bytes(std::span{text});
        const auto loaded = registry->load({bytes.begin(), bytes.end()}, {}, "/lib/" + name + ".hvx", why);
        EXPECT_TRUE(loaded) << why.view();
        EXPECT_TRUE(ExtensionStack::bind(*domain, *loaded.value(), {}, options, why, field)) << name << ": " << why.view();
        return *domain->extensions->implementation().bindings.back();
    }
    std::uint32_t leaf(std::uint32_t number)
    {
        x86::CpuidResult result{};
        domain->extensions->cpuid(domain->vcpu(0), number, 0, result);
        return result.ebx;
    }
};

TEST_F(PublishedModules, of_0_1_stand_in_one_stack)
{
    for (const char* name : {"viridian", "novell", "xen-pv", "watcher"})
        bound_published(name);
    EXPECT_EQ(leaf(0x4000'0000), abi::table_magic('M', 'i', 'c', 'r'));
    EXPECT_EQ(leaf(0x4000'0100), abi::table_magic('N', 'o', 'v', 'e'));
    EXPECT_EQ(leaf(0x4000'0200), abi::table_magic('X', 'e', 'n', 'V'));
}

TEST_F(PublishedModules, of_0_1_have_every_hook_and_kind_of_window_bound)
{
    Binding& exerciser = bound_published("exerciser");
    EXPECT_EQ(exerciser.vcpu_count, 2u);
    EXPECT_EQ(leaf(0x4000'0000), abi::table_magic('E', 'x', 'e', 'r'));
    EXPECT_EQ(leaf(0x4000'0002), 0u);  // computed: the APIC ID
}

TEST_F(PublishedModules, of_0_1_are_answered_by_every_service)
{
    if (options.placement == Placement::trusted)
        GTEST_SKIP() << "a null pointer is the trusted module's own fault";
    bound_published("caller");
    Vcpu& vcpu = domain->vcpu(0);
    ExecutionContext context{};
    context.cr0 = 1;
    context.efer = 1 << 10;
    context.code_attributes = 0xa9b;
    for (std::uint64_t number = 0; number < 72; ++number) {
        vcpu.registers.general[0] = number;
        domain->extensions->hypercall(vcpu, context, 3);
        const auto answer = static_cast<std::int64_t>(vcpu.registers.general[0]);
        EXPECT_LE(answer, 0) << number;
        EXPECT_GE(answer, -14) << number;
    }
}

}  // namespace
}  // namespace hv::test
