// SPDX-License-Identifier: MIT
//
// A bit of the processor's own leaves that an extension hides until the guest asks for it, on processors that have it: what CPUID
// says, at what cost, and that it stays so over a swap.
#include "extension_fixture.hpp"
#include "hv/core/ext/swap.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"

namespace hv::test {
namespace {

using fake::exits;
using fake::plain_exit;

constexpr std::uint32_t power_leaf{0x8000'0007};
constexpr std::uint32_t invariant{1 << 8};
constexpr std::uint32_t control_msr{0x4000'0118};

x86::CpuidResult invariant_host(std::uint32_t leaf, std::uint32_t)
{
    if (leaf == 0x8000'0000)
        return {0x8000'0008, 0, 0, 0};
    return leaf == power_leaf ? x86::CpuidResult{0, 0, 0, invariant | 1} : x86::CpuidResult{};
}

class HiddenLeaf : public ExtensionTest {
protected:
    void bind_on(CpuidReader processors)
    {
        end_domain();
        machine_->host_cpuid = processors;
        make_domain();
        ASSERT_TRUE(bind("viridian")) << why.view();
        SystemRegisters& system = guest().system;
        for (Segment& segment : system.segments)
            segment = {8, 0xc93, 0xffff'ffff, 0};
        system.segments[segment_cs] = {8, 0xc9b, 0xffff'ffff, 0};
        system.cr0 = 1;
        vcpu().registers.rip = 0x1000;
        vcpu().registers.rflags = 0x202;
        start();
    }
    [[nodiscard]] Vcpu& vcpu() const { return domain->vcpu(0); }
    [[nodiscard]] fake::FakeVcpu& guest() const { return fake::fake_vcpu(vcpu()); }
    [[nodiscard]] std::uint64_t& reg(GeneralRegister which) const { return vcpu().registers.general[which]; }
    /// The guest executes one instruction of two bytes that exits so.
    void execute(ExitKind kind)
    {
        guest().script.push_back(exits(plain_exit(kind, 2)));
        guest().when_done = [](VcpuContext& context, fake::FakeVcpu&) {
            machine().scheduler.block(static_cast<Vcpu&>(context), Blocker::swapping);
            return plain_exit(ExitKind::physical_interrupt);
        };
        NoWork work;
        for (unsigned turns = 0; turns < 20 && run_one_turn(work); ++turns) {
        }
        machine().scheduler.unblock(vcpu(), Blocker::swapping);
    }
    std::uint32_t power()
    {
        reg(rax) = power_leaf;
        reg(rcx) = 0;
        execute(ExitKind::cpuid);
        return static_cast<std::uint32_t>(reg(rdx));
    }
    void ask_for(std::uint64_t value)
    {
        reg(rcx) = control_msr;
        reg(rax) = value;
        reg(rdx) = 0;
        execute(ExitKind::msr_write);
    }
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
    }
    [[nodiscard]] bool looks_at_leaves() const
    {
        constexpr auto kind = static_cast<unsigned>(ExitKind::cpuid);
        return vcpu().answers[kind] != core_answers[kind];
    }
};

TEST_F(HiddenLeaf, is_shown_when_the_guest_has_asked_for_it)
{
    bind_on(invariant_host);
    EXPECT_EQ(power(), 0u);
    EXPECT_TRUE(looks_at_leaves());
    ask_for(1);
    EXPECT_EQ(power(), invariant);
    EXPECT_FALSE(looks_at_leaves());
    EXPECT_EQ(vcpu().registers.rip, 0x1006u);
}

TEST_F(HiddenLeaf, stays_as_it_is_over_a_swap)
{
    bind_on(invariant_host);
    swap();
    EXPECT_EQ(power(), 0u);
    ask_for(1);
    swap();
    EXPECT_EQ(power(), invariant);
    std::uint64_t value{};
    EXPECT_EQ(domain->extensions->read_msr(vcpu(), control_msr, value), Answered::done);
    EXPECT_EQ(value, 1u);
}

TEST_F(HiddenLeaf, costs_nothing_where_there_is_nothing_to_hide)
{
    bind_on(no_cpuid);
    EXPECT_EQ(power(), 0u);
    EXPECT_FALSE(looks_at_leaves());
    std::uint64_t value{};
    EXPECT_EQ(domain->extensions->read_msr(vcpu(), control_msr, value), Answered::taken);  // #GP, by the module
}

}  // namespace
}  // namespace hv::test
