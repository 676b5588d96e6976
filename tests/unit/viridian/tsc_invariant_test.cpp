// SPDX-License-Identifier: MIT
//
// The invariant-TSC control: there where the guest's processors have such a counter, and what the guest then sees of it.
#include "cpuid.hpp"
#include "guest.hpp"

namespace hv::viridian::test {
namespace {

using tlfs::HV_X64_MSR_TSC_INVARIANT_CONTROL;

constexpr std::uint32_t privilege{1 << 15};
constexpr std::uint32_t invariant{1 << 8};

static_assert((features_leaf(Features::all(), true).eax ^ features_leaf(Features::all()).eax) == privilege);

class TscControl : public testing::Test {
protected:
    /// With processors that have an invariant counter, or none.
    void create(bool has_it, const std::vector<std::string>& features = {})
    {
        guest.host.processor_leaves[0x8000'0007] = {.eax = 1, .ebx = 2, .ecx = 3, .edx = 0xf0 | (has_it ? invariant : 0)};
        ASSERT_TRUE(guest.create(features));
    }
    /// What the module makes of the leaf; nothing where it has no say.
    std::optional<abi::CpuidResult> leaf()
    {
        abi::ExitFrame frame{};
        frame.kind = abi::ExitKind::cpuid;
        frame.number = 0x8000'0007;
        if (guest.module.exit(frame).kind != abi::VerdictKind::done)
            return std::nullopt;
        const auto reg = [&](Register which) { return static_cast<std::uint32_t>(frame.general[static_cast<std::size_t>(which)]); };
        return abi::CpuidResult{reg(Register::rax), reg(Register::rbx), reg(Register::rcx), reg(Register::rdx)};
    }
    bool write(std::uint64_t value) { return guest.module.write_msr(HV_X64_MSR_TSC_INVARIANT_CONTROL, value); }
    std::optional<std::uint64_t> read() { return guest.module.read_msr(HV_X64_MSR_TSC_INVARIANT_CONTROL); }
    bool has_privilege() { return (guest.module.cpuid(0x4000'0003).eax & privilege) != 0; }

    Guest guest{2};
};

TEST_F(TscControl, IsNotThereWithoutSuchACounter)
{
    create(false);
    EXPECT_FALSE(has_privilege());
    EXPECT_EQ(read(), std::nullopt);
    EXPECT_FALSE(write(0));
    EXPECT_FALSE(write(1));
    EXPECT_EQ(leaf(), std::nullopt);
}

TEST_F(TscControl, IsNotThereWithoutItsGroup)
{
    create(true, {"!time"});
    EXPECT_FALSE(has_privilege());
    EXPECT_EQ(read(), std::nullopt);
    EXPECT_FALSE(write(1));
    EXPECT_EQ(leaf(), std::nullopt);
}

TEST_F(TscControl, HidesTheCounterUntilTheGuestAsksForIt)
{
    create(true);
    EXPECT_TRUE(has_privilege());
    EXPECT_EQ(read(), 0u);
    EXPECT_EQ(leaf(), (abi::CpuidResult{1, 2, 3, 0xf0}));
    ASSERT_TRUE(write(1));
    EXPECT_EQ(read(), 1u);
    EXPECT_EQ(guest.module.read_msr(HV_X64_MSR_TSC_INVARIANT_CONTROL, 1), 1u);  // it is the partition's
    EXPECT_EQ(leaf(), std::nullopt);
    ASSERT_TRUE(write(0));
    EXPECT_EQ(leaf(), (abi::CpuidResult{1, 2, 3, 0xf0}));
}

TEST_F(TscControl, HasOneBit)
{
    create(true);
    for (unsigned bit = 1; bit < 64; ++bit)
        EXPECT_FALSE(write(1ull << bit | 1)) << bit;
    EXPECT_EQ(read(), 0u);
    EXPECT_TRUE(leaf());
}

}  // namespace
}  // namespace hv::viridian::test
