// SPDX-License-Identifier: MIT
//
// Modules of ABI 0.1, built from what is kept of it (tests/abi/0.1), bound to a domain by the framework of today.
#include "extension_fixture.hpp"
#include "hv/core/ext/swap.hpp"

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
    std::uint32_t leaf(std::uint32_t number, std::uint32_t x86::CpuidResult::*which = &x86::CpuidResult::ebx)
    {
        x86::CpuidResult result{};
        domain->extensions->cpuid(domain->vcpu(0), number, 0, result);
        return result.*which;
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

/// Today's viridian knows more than the guest of the one from then was told of.
TEST_F(PublishedModules, of_0_1_give_their_place_to_todays_under_a_guest)
{
    bound_published("viridian");
    start();
    Vcpu& vcpu = domain->vcpu(1);
    const auto write = [&](std::uint32_t msr, std::uint64_t value) { return domain->extensions->write_msr(vcpu, msr, value); };
    const auto read = [&](std::uint32_t msr) {
        std::uint64_t value{};
        EXPECT_EQ(domain->extensions->read_msr(vcpu, msr, value), Answered::done) << std::hex << msr;
        return value;
    };
    constexpr std::uint32_t identity{0x4000'0000}, calls{0x4000'0001}, assist{0x4000'0073}, control{0x4000'0080};
    EXPECT_EQ(write(identity, 0x8100'0006'0192'0000), Answered::done);
    EXPECT_EQ(write(calls, 0x5001), Answered::done);
    EXPECT_EQ(write(assist, 0x6001), Answered::done);
    const std::uint32_t features = leaf(0x4000'0003, &x86::CpuidResult::eax);
    why.clear();
    const auto todays = registry->load_beside(file_of("viridian"), {}, "/lib/viridian.hvx", why);
    ASSERT_TRUE(todays) << why.view();
    SwapReport report{};
    ASSERT_TRUE(swap_extension(*domain, "viridian", *todays.value(), {}, report, why)) << why.view();
    registry->supersede(*todays.value());
    registry->sweep();
    forget_replaced(*domain);
    EXPECT_FALSE(report.reverts);  // the old one cannot read the new state
    EXPECT_EQ(read(identity), 0x8100'0006'0192'0000u);
    EXPECT_EQ(read(calls), 0x5001u);
    EXPECT_EQ(read(assist), 0x6001u);
    EXPECT_EQ(leaf(0x4000'0003, &x86::CpuidResult::eax), features);
    EXPECT_EQ(write(control, 1), Answered::taken);  // what it was not offered it still is not
    EXPECT_EQ(write(assist, 0), Answered::done);
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
