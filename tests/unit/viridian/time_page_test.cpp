// SPDX-License-Identifier: MIT
#include <cstring>

#include "guest.hpp"
#include "reference_time.hpp"

namespace hv::viridian::test {
namespace {

constexpr std::uint32_t msr{tlfs::HV_X64_MSR_REFERENCE_TSC};
constexpr std::uint64_t where{0x9000};

ReferenceTscPage page_at(Guest& guest, std::uint64_t address)
{
    ReferenceTscPage page{};
    EXPECT_TRUE(guest.host.copy(address, &page, sizeof page, false));
    return page;
}

/// The count that a guest computes now.
std::uint64_t computed(Guest& guest, const ReferenceTscPage& page)
{
    const auto tsc = static_cast<Wide>(guest.host.now_ns) * guest.host.tsc_hz / 1'000'000'000;
    return TscScale{page.scale, page.offset}.count_at(static_cast<std::uint64_t>(tsc));
}

TEST(ViridianTscPage, LiesOverThePageThatTheGuestNamesForReadingAlone)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    EXPECT_TRUE(guest.host.pages.empty());  // nothing is kept for a guest that never asks
    ASSERT_TRUE(guest.module.write_msr(msr, where | 1));
    ASSERT_EQ(guest.host.pages.size(), 1u);
    EXPECT_EQ(guest.host.pages.begin()->second.gpa, where);
    EXPECT_FALSE(guest.host.pages.begin()->second.writable);
    EXPECT_EQ(guest.module.read_msr(msr), where | 1);
}

TEST(ViridianTscPage, AgreesWithTheCounterAtOddFrequencies)
{
    for (const std::uint64_t hz : {33'333'333ull, 999'999'937ull, 2'596'136'459ull, 3'000'000'019ull}) {
        Guest guest;
        guest.host.tsc_hz = hz;
        ASSERT_TRUE(guest.create());
        ASSERT_TRUE(guest.module.write_msr(msr, where | 1));
        for (const std::uint64_t now :
             {1'000'000'000ull, 1'000'000'123ull, 77'777'777'777ull, 86'400'000'000'001ull}) {
            guest.host.now_ns = now;
            const auto counter = guest.module.read_msr(tlfs::HV_X64_MSR_TIME_REF_COUNT).value();
            EXPECT_LE(computed(guest, page_at(guest, where)) + 1 - counter, 2u) << hz << " " << now;
        }
    }
}

TEST(ViridianTscPage, BeginsWithASequenceThatSaysUseMe)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    ASSERT_TRUE(guest.module.write_msr(msr, where | 1));
    EXPECT_EQ(page_at(guest, where).sequence, 1u);
    ASSERT_TRUE(guest.module.write_msr(msr, 0xa001));
    EXPECT_EQ(page_at(guest, 0xa000).sequence, 1u);  // moved, not changed
    EXPECT_EQ(page_at(guest, where).sequence, 0u);   // the guest's own page again
    EXPECT_EQ(guest.host.pages.size(), 1u);
}

TEST(ViridianTscPage, SaysUseTheCounterWhereTheTscIsTooSlow)
{
    Guest guest;
    guest.host.tsc_hz = 10'000'000;
    ASSERT_TRUE(guest.create());
    ASSERT_TRUE(guest.module.write_msr(msr, where | 1));
    EXPECT_EQ(page_at(guest, where).sequence, 0u);
    guest.module.thaw();
    EXPECT_EQ(page_at(guest, where).sequence, 0u);
}

/// The class of bug: a page that is used though it was never mapped.
TEST(ViridianTscPage, ThatWasNeverPlacedIsNotUsedWhenTimeGoesOn)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    guest.host.tsc_hz *= 2;
    EXPECT_EQ(guest.module.thaw().kind, abi::VerdictKind::done);
    ASSERT_TRUE(guest.module.write_msr(msr, where));  // a place, and not enabled
    guest.host.tsc_hz *= 2;
    EXPECT_EQ(guest.module.thaw().kind, abi::VerdictKind::done);
    EXPECT_TRUE(guest.host.pages.empty());
    ASSERT_TRUE(guest.module.write_msr(msr, 1ull << 52 | 1));  // beyond the guest's addresses: shown nowhere
    ASSERT_TRUE(guest.module.write_msr(msr, 0));
    ASSERT_TRUE(guest.module.write_msr(msr, 0));  // taken away once
    guest.host.tsc_hz *= 2;
    EXPECT_EQ(guest.module.thaw().kind, abi::VerdictKind::done);
    EXPECT_TRUE(guest.host.log.empty());
    ASSERT_TRUE(guest.module.write_msr(msr, where | 1));
    const auto counter = guest.module.read_msr(tlfs::HV_X64_MSR_TIME_REF_COUNT).value();
    EXPECT_LE(computed(guest, page_at(guest, where)) + 1 - counter, 2u);
}

TEST(ViridianTscPage, GoesWhenTheGuestDisablesIt)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    ASSERT_TRUE(guest.module.write_msr(msr, where));  // disabled already
    ASSERT_TRUE(guest.module.write_msr(msr, where | 1));
    ASSERT_TRUE(guest.module.write_msr(msr, where));
    EXPECT_EQ(guest.host.pages.begin()->second.gpa, std::nullopt);
    EXPECT_EQ(guest.module.read_msr(msr), where);
}

TEST(ViridianTscPage, OverAnotherOverlayIsRefusedAndChangesNothing)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    ASSERT_TRUE(guest.module.write_msr(tlfs::HV_X64_MSR_VP_ASSIST_PAGE, where | 1));
    EXPECT_FALSE(guest.module.write_msr(msr, where | 1));
    EXPECT_EQ(guest.module.read_msr(msr), 0u);
    EXPECT_EQ(guest.host.pages.size(), 1u);
}

TEST(ViridianTscPage, StaysAsItIsOverAPauseThatStopsBothClocks)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    ASSERT_TRUE(guest.module.write_msr(msr, where | 1));
    const auto before = page_at(guest, where);
    guest.module.freeze();
    guest.module.thaw();
    EXPECT_EQ(std::memcmp(&before, &guest.host.pages.begin()->second.bytes, sizeof before), 0);
}

TEST(ViridianTscPage, IsWrittenAnewWhenTheFrequencyIsAnother)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    ASSERT_TRUE(guest.module.write_msr(msr, where | 1));
    guest.host.tsc_hz = 2'596'136'459;
    guest.module.thaw();
    const auto page = page_at(guest, where);
    EXPECT_EQ(page.sequence, 2u);
    guest.host.now_ns += 5'000'000'000;
    const auto counter = guest.module.read_msr(tlfs::HV_X64_MSR_TIME_REF_COUNT).value();
    EXPECT_LE(computed(guest, page) + 1 - counter, 2u);
}

}  // namespace
}  // namespace hv::viridian::test
