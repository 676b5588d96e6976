// SPDX-License-Identifier: MIT
//
// MSRs as a table: what each reads as at the start, which bits a guest may set, and that everything else is
// #GP.
#include <string>
#include <vector>

#include "guest.hpp"

namespace hv::viridian::test {
namespace {

struct MsrPromise {
    std::string name;
    std::uint32_t msr;
    std::optional<std::uint64_t> at_start;  ///< nothing: reading is #GP
    std::uint64_t writable;                 ///< bits that may be set, one by one
    bool writes{true};                      ///< false: any write is #GP
    bool one_guest{};                       ///< what one bit does is no matter to the next
};

const std::vector<MsrPromise> promises = [] {
    std::vector<MsrPromise> all{
    MsrPromise{"GUEST_OS_ID", 0x4000'0000, 0, ~0ull},
    MsrPromise{"HYPERCALL", 0x4000'0001, 0, 0xffff'ffff'ffff'f003},
    MsrPromise{"VP_INDEX", 0x4000'0002, 0, 0, false},
    MsrPromise{"RESET", 0x4000'0003, 0, 1},
    MsrPromise{"VP_RUNTIME", 0x4000'0010, 10'000'000, 0, false, true},
    MsrPromise{"GUEST_IDLE", 0x4000'00f0, 0, 0, false, true},
    MsrPromise{"TIME_REF_COUNT", 0x4000'0020, 10'000'000, 0, false},
    MsrPromise{"REFERENCE_TSC", 0x4000'0021, 0, 0xffff'ffff'ffff'f001},
    MsrPromise{"TSC_FREQUENCY", 0x4000'0022, 2'596'136'459, 0, false},
    MsrPromise{"APIC_FREQUENCY", 0x4000'0023, 162'258'528, 0, false},
    MsrPromise{"EOI", 0x4000'0070, std::nullopt, 0xffff'ffff},
    MsrPromise{"ICR", 0x4000'0071, 0, ~0ull},
    MsrPromise{"TPR", 0x4000'0072, 0, 0xff},
    MsrPromise{"VP_ASSIST_PAGE", 0x4000'0073, 0, 0xffff'ffff'ffff'f001},
    MsrPromise{"CRASH_P0", 0x4000'0100, 0, ~0ull},
    MsrPromise{"CRASH_P1", 0x4000'0101, 0, ~0ull},
    MsrPromise{"CRASH_P2", 0x4000'0102, 0, ~0ull},
    MsrPromise{"CRASH_P3", 0x4000'0103, 0, ~0ull},
    MsrPromise{"CRASH_P4", 0x4000'0104, 0, ~0ull},
    MsrPromise{"CRASH_CTL", 0x4000'0105, 3ull << 62, 3ull << 62},
    MsrPromise{"SCONTROL", 0x4000'0080, 0, 1, true, true},
    MsrPromise{"SVERSION", 0x4000'0081, 1, 0, false, true},
    MsrPromise{"SIEFP", 0x4000'0082, 0, 0xffff'ffff'ffff'f001},
    MsrPromise{"SIMP", 0x4000'0083, 0, 0xffff'ffff'ffff'f001},
    MsrPromise{"EOM", 0x4000'0084, 0, 0, true, true},
    };
    // Of one bit of a source at a time: a vector that is legal, masked, polling; auto-EOI alone has no vector.
    for (std::uint32_t sint = 0; sint < 16; ++sint)
        all.push_back({"SINT" + std::to_string(sint), 0x4000'0090 + sint, 0x1'0000, 0x5'00f0, true, true});
    for (std::uint32_t timer = 0; timer < 4; ++timer) {
        all.push_back({"STIMER" + std::to_string(timer) + "_CONFIG", 0x4000'00b0 + 2 * timer, 0, 0xf'1fff, true, true});
        all.push_back({"STIMER" + std::to_string(timer) + "_COUNT", 0x4000'00b1 + 2 * timer, 0, ~0ull, true, true});
    }
    return all;
}();

void start(Guest& guest)
{
    guest.host.tsc_hz = 2'596'136'459;
    guest.host.info.apic_timer_hz = 162'258'528;
    guest.host.now_ns = 1'000'000'000;
    ASSERT_TRUE(guest.create({"all"}));
}

class ViridianMsr : public testing::TestWithParam<MsrPromise> {};

TEST_P(ViridianMsr, ReadsAsPromisedAtTheStart)
{
    Guest guest;
    start(guest);
    EXPECT_EQ(guest.module.read_msr(GetParam().msr), GetParam().at_start);
}

TEST_P(ViridianMsr, TakesExactlyItsDefinedBits)
{
    std::optional<Guest> of_all;
    for (unsigned bit = 0; bit < 64; ++bit) {
        if (bit == 0 || !GetParam().one_guest) {
            of_all.reset();
            start(of_all.emplace());
        }
        Guest& guest{*of_all};
        const std::uint64_t value{std::uint64_t{1} << bit};
        const auto before = guest.module.read_msr(GetParam().msr);
        const bool legal{GetParam().writes && (value & ~GetParam().writable) == 0};
        ASSERT_EQ(guest.module.write_msr(GetParam().msr, value), legal) << "bit " << bit;
        if (!legal) {
            EXPECT_EQ(guest.module.read_msr(GetParam().msr), before) << "bit " << bit;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(, ViridianMsr, testing::ValuesIn(promises),
                         [](const auto& one) { return one.param.name; });

TEST(ViridianMsrs, ThatAreNotOfferedAnswerProtectionFaults)
{
    Guest guest;
    start(guest);
    for (std::uint32_t msr = 0x4000'0000; msr < 0x4000'0200; ++msr) {
        const auto known = [msr](const MsrPromise& promise) { return promise.msr == msr; };
        if (std::ranges::any_of(promises, known))
            continue;
        EXPECT_EQ(guest.module.read_msr(msr), std::nullopt) << std::hex << msr;
        for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}})
            EXPECT_FALSE(guest.module.write_msr(msr, value)) << std::hex << msr;
    }
}

TEST(ViridianMsrs, OfTheIndexDifferByVcpu)
{
    Guest guest{3};
    start(guest);
    for (std::uint32_t vcpu = 0; vcpu < 3; ++vcpu)
        EXPECT_EQ(guest.module.read_msr(tlfs::HV_X64_MSR_VP_INDEX, vcpu), vcpu);
}

TEST(ViridianMsrs, OfTheReferenceCounterFollowTheGuestsTime)
{
    Guest guest;
    start(guest);
    guest.host.now_ns = 123'456'789'123;
    EXPECT_EQ(guest.module.read_msr(tlfs::HV_X64_MSR_TIME_REF_COUNT), 1'234'567'891u);
}

TEST(ViridianMsrs, WrittenOnOneVcpuAreReadOnAnother)
{
    Guest guest{2};
    start(guest);
    ASSERT_TRUE(guest.module.write_msr(tlfs::HV_X64_MSR_GUEST_OS_ID, linux_identity, 1));
    ASSERT_TRUE(guest.module.write_msr(tlfs::HV_X64_MSR_CRASH_P0 + 2, 77, 1));
    EXPECT_EQ(guest.module.read_msr(tlfs::HV_X64_MSR_GUEST_OS_ID, 0), linux_identity);
    EXPECT_EQ(guest.module.read_msr(tlfs::HV_X64_MSR_CRASH_P0 + 2, 0), 77u);
}

TEST(ViridianMsrs, SayTheGuestsIdentityOnce)
{
    Guest guest;
    start(guest);
    guest.module.write_msr(tlfs::HV_X64_MSR_GUEST_OS_ID, linux_identity);
    guest.module.write_msr(tlfs::HV_X64_MSR_GUEST_OS_ID, linux_identity + 1);
    ASSERT_EQ(guest.host.log.size(), 1u);
    EXPECT_EQ(guest.host.log[0], "the guest's identity is 0x8100000601920000");
}

TEST(ViridianMsrs, OfTheIdleStatePutTheirVcpuToSleepUntilAnInterruptIsPending)
{
    Guest guest{2};
    start(guest);
    EXPECT_EQ(guest.module.read_msr(tlfs::HV_X64_MSR_GUEST_IDLE, 1), 0u);
    EXPECT_EQ(guest.module.last().kind, abi::VerdictKind::block);
    ASSERT_EQ(guest.host.blocked.size(), 1u);
    EXPECT_EQ(guest.host.blocked[0].vcpu, FakeHost::vcpu_handle(1));
    EXPECT_EQ(guest.host.blocked[0].wake, abi::wake_interrupt | abi::wake_kick);
    EXPECT_EQ(guest.module.read_msr(tlfs::HV_X64_MSR_VP_RUNTIME), 10'000'000u);
    EXPECT_EQ(guest.module.last().kind, abi::VerdictKind::done);
}

TEST(ViridianMsrs, OfResetResetTheDomainOnlyWhenTheBitIsSet)
{
    Guest guest;
    start(guest);
    EXPECT_TRUE(guest.module.write_msr(tlfs::HV_X64_MSR_RESET, 0));
    EXPECT_FALSE(guest.host.reset_wanted);
    EXPECT_TRUE(guest.module.write_msr(tlfs::HV_X64_MSR_RESET, 1));
    EXPECT_TRUE(guest.host.reset_wanted);
}

}  // namespace
}  // namespace hv::viridian::test
