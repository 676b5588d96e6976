// SPDX-License-Identifier: MIT
#include "guest.hpp"

namespace hv::viridian::test {
namespace {

constexpr std::uint32_t assist{tlfs::HV_X64_MSR_VP_ASSIST_PAGE};

TEST(ViridianApic, ReachesTheLocalApicWithoutEnteringTheModule)
{
    Guest guest{2};
    ASSERT_TRUE(guest.create());
    auto& apic = guest.host.apic[FakeHost::vcpu_handle(1)];
    EXPECT_TRUE(guest.module.write_msr(tlfs::HV_X64_MSR_EOI, 0, 1));
    EXPECT_EQ(apic[0xb0], 1u);
    EXPECT_TRUE(guest.module.write_msr(tlfs::HV_X64_MSR_ICR, 0x0300'0000'0000'4030, 1));
    EXPECT_EQ(apic[0x310], 0x0300'0000u);
    EXPECT_EQ(guest.module.read_msr(tlfs::HV_X64_MSR_ICR, 1), 0x0300'0000'0000'4030u);
    EXPECT_TRUE(guest.module.write_msr(tlfs::HV_X64_MSR_TPR, 0x40, 1));
    EXPECT_EQ(guest.module.read_msr(tlfs::HV_X64_MSR_TPR, 1), 0x40u);
    EXPECT_EQ(guest.module.read_msr(tlfs::HV_X64_MSR_TPR, 0), 0u);
}

TEST(ViridianAssistPage, LiesOverThePageOfItsOwnVcpu)
{
    Guest guest{2};
    ASSERT_TRUE(guest.create());
    ASSERT_TRUE(guest.module.write_msr(assist, 0x6001, 0));
    ASSERT_TRUE(guest.module.write_msr(assist, 0x7001, 1));
    EXPECT_EQ(guest.module.read_msr(assist, 0), 0x6001u);
    EXPECT_EQ(guest.module.read_msr(assist, 1), 0x7001u);
    ASSERT_EQ(guest.host.pages.size(), 2u);
    ASSERT_EQ(guest.host.eoi_assists.size(), 2u);
    const auto& second = guest.host.eoi_assists[FakeHost::vcpu_handle(1)];
    EXPECT_EQ(guest.host.pages[second.page].gpa, 0x7000u);
    EXPECT_TRUE(guest.host.pages[second.page].writable);
    EXPECT_EQ(second.offset, 0u);
    EXPECT_EQ(second.bit, 0u);
}

TEST(ViridianAssistPage, GoesAndComesBackWithTheBitClear)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    ASSERT_TRUE(guest.module.write_msr(assist, 0x6001));
    guest.host.pages.begin()->second.bytes[0] = 1;
    ASSERT_TRUE(guest.module.write_msr(assist, 0x6000));
    EXPECT_TRUE(guest.host.eoi_assists.empty());
    EXPECT_EQ(guest.host.pages.begin()->second.gpa, std::nullopt);
    ASSERT_TRUE(guest.module.write_msr(assist, 0x6001));
    EXPECT_EQ(guest.host.guest_u64(0x6000) & 1, 0u);
    EXPECT_EQ(guest.host.pages.size(), 1u);
    EXPECT_EQ(guest.host.eoi_assists.size(), 1u);
}

TEST(ViridianAssistPage, OverAnotherOverlayIsRefusedAndChangesNothing)
{
    Guest guest{2};
    ASSERT_TRUE(guest.create());
    ASSERT_TRUE(guest.module.write_msr(assist, 0x6001, 0));
    EXPECT_FALSE(guest.module.write_msr(assist, 0x6001, 1));
    EXPECT_EQ(guest.module.read_msr(assist, 1), 0u);
    EXPECT_EQ(guest.host.pages.size(), 1u);
    EXPECT_EQ(guest.host.eoi_assists.size(), 1u);
}

TEST(ViridianAssistPage, IsOffAfterAResetOfItsVcpuAlone)
{
    Guest guest{2};
    ASSERT_TRUE(guest.create());
    ASSERT_TRUE(guest.module.write_msr(assist, 0x6001, 0));
    ASSERT_TRUE(guest.module.write_msr(assist, 0x7001, 1));
    guest.module.reset_vcpu(1);
    EXPECT_EQ(guest.module.read_msr(assist, 0), 0x6001u);
    EXPECT_EQ(guest.module.read_msr(assist, 1), 0u);
    EXPECT_EQ(guest.host.eoi_assists.count(FakeHost::vcpu_handle(1)), 0u);
    ASSERT_TRUE(guest.module.write_msr(assist, 0x8001, 1));
    EXPECT_EQ(guest.host.pages.size(), 2u);
}

}  // namespace
}  // namespace hv::viridian::test
