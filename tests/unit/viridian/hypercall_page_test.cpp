// SPDX-License-Identifier: MIT
#include "guest.hpp"

namespace hv::viridian::test {
namespace {

constexpr std::uint32_t msr{tlfs::HV_X64_MSR_HYPERCALL};
constexpr std::uint32_t identity{tlfs::HV_X64_MSR_GUEST_OS_ID};

TEST(ViridianHypercallPage, MarksTheCallMakesItAndReturns)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    const auto& bytes = guest.host.hypercall_pages[0];
    const std::array<std::uint8_t, 10> expected{0x0d, 0, 0, 0, 0x80, 0x0f, 0x01, 0xd9, 0xc3, 0xcc};
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), bytes.begin()));
    EXPECT_TRUE(std::all_of(bytes.begin() + 9, bytes.end(), [](std::uint8_t byte) { return byte == 0xcc; }));
}

TEST(ViridianHypercallPage, MakesTheCallOfWhateverProcessorItIsOn)
{
    Guest guest;
    guest.host.hypercall_instruction = {0x0f, 0x01, 0xc1};  // VMCALL
    ASSERT_TRUE(guest.create());
    EXPECT_EQ(guest.host.hypercall_pages[0][7], 0xc1);
}

TEST(ViridianHypercallPage, StaysDisabledWithoutAnIdentity)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    ASSERT_TRUE(guest.module.write_msr(msr, 0x5003));
    EXPECT_EQ(guest.module.read_msr(msr), 0x5000u);  // neither enabled nor locked
    EXPECT_TRUE(guest.host.hypercall_pages_placed.empty());
    EXPECT_EQ(guest.call(tlfs::HvCallNotifyLongSpinWait | 1 << 16), std::nullopt);
}

TEST(ViridianHypercallPage, LiesOverThePageThatTheGuestNames)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    guest.enable_hypercalls(0x5000);
    ASSERT_EQ(guest.host.hypercall_pages_placed.size(), 1u);
    EXPECT_EQ(guest.host.hypercall_pages_placed[0].gpa, 0x5000u);
    EXPECT_EQ(guest.host.hypercall_pages_placed[0].how, abi::hypercall_page_overlay);
    EXPECT_EQ(guest.module.read_msr(msr), 0x5001u);
    ASSERT_TRUE(guest.module.write_msr(msr, 0x7001));
    EXPECT_EQ(guest.host.hypercall_pages_placed[0].gpa, 0x7000u);
}

TEST(ViridianHypercallPage, GoesWhenTheGuestDisablesIt)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    guest.enable_hypercalls();
    ASSERT_TRUE(guest.module.write_msr(msr, 0x5000));
    EXPECT_TRUE(guest.host.hypercall_pages_placed.empty());
    EXPECT_EQ(guest.call(tlfs::HvCallNotifyLongSpinWait | 1 << 16), std::nullopt);
}

TEST(ViridianHypercallPage, GoesWhenTheGuestTakesItsIdentityBack)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    guest.enable_hypercalls();
    ASSERT_TRUE(guest.module.write_msr(identity, 0));
    EXPECT_TRUE(guest.host.hypercall_pages_placed.empty());
    EXPECT_EQ(guest.module.read_msr(msr), 0x5000u);
    EXPECT_EQ(guest.module.read_msr(identity), 0u);
    EXPECT_EQ(guest.call(tlfs::HvCallNotifyLongSpinWait | 1 << 16), std::nullopt);
}

TEST(ViridianHypercallPage, OnceLockedIsMovedByNobody)
{
    Guest guest{2};
    ASSERT_TRUE(guest.create());
    guest.enable_hypercalls();
    ASSERT_TRUE(guest.module.write_msr(msr, 0x5003));
    for (const std::uint64_t value : {0x5003ull, 0x5001ull, 0x6003ull, 0ull})
        EXPECT_FALSE(guest.module.write_msr(msr, value, 1)) << value;
    EXPECT_TRUE(guest.module.write_msr(identity, 0));
    EXPECT_EQ(guest.module.read_msr(msr), 0x5003u);
    EXPECT_EQ(guest.host.hypercall_pages_placed[0].gpa, 0x5000u);
    EXPECT_TRUE(guest.call(tlfs::HvCallNotifyLongSpinWait | 1 << 16));
}

}  // namespace
}  // namespace hv::viridian::test
