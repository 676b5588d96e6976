// SPDX-License-Identifier: MIT
//
// Sparse sets of virtual processors, and the three calls that take one: sets, variable headers and every status as tables.
#include "vp_set.hpp"

#include "guest.hpp"

namespace hv::viridian::test {
namespace {

using tlfs::HvStatus;

constexpr std::array<std::uint64_t, 2> two_banks{0x21, 0x04};
constexpr VpSet example{0, 0x5, two_banks};  // VPs 0, 5 and 130
static_assert(example.check() == HvStatus::HV_STATUS_SUCCESS);
static_assert(example.bank(0) == 0x21 && example.bank(1) == 0 && example.bank(2) == 0x04 && example.bank(63) == 0);
static_assert(example.has_beyond_first_bank());
static_assert(!VpSet{0, 0x3, std::span{two_banks}.first(0)}.all() && VpSet{1, 0, {}}.all());
static_assert(VpSet{0, 1, two_banks}.check() == HvStatus::HV_STATUS_INVALID_HYPERCALL_INPUT);
static_assert(VpSet{0, 7, two_banks}.check() == HvStatus::HV_STATUS_INVALID_HYPERCALL_INPUT);
static_assert(VpSet{1, 7, two_banks}.check() == HvStatus::HV_STATUS_INVALID_HYPERCALL_INPUT);
static_assert(VpSet{2, 3, two_banks}.check() == HvStatus::HV_STATUS_INVALID_PARAMETER);
static_assert(VpSet{~0ull, 0, {}}.check() == HvStatus::HV_STATUS_INVALID_PARAMETER);
static_assert(VpSet{0, 1ull << 63, std::span{two_banks}.first(1)}.bank(63) == 0x21);

constexpr std::uint64_t input_page{0x8000};
constexpr std::uint64_t banks_of(std::uint64_t count)
{
    return count << 17;
}

class ViridianVpSet : public testing::Test {
protected:
    void SetUp() override
    {
        ASSERT_TRUE(guest.create());
        guest.enable_hypercalls();
    }
    /// The words of a call's input from the page's beginning.
    void put(std::initializer_list<std::uint64_t> words)
    {
        std::uint64_t at{input_page};
        for (const std::uint64_t word : words) {
            guest.put(at, word);
            at += 8;
        }
    }
    std::uint64_t flush(std::uint64_t flags, std::uint64_t format, std::uint64_t valid, std::uint64_t first_bank = 0,
                        std::uint64_t second_bank = 0)
    {
        put({0x1000, flags, format, valid, first_bank, second_bank});
        const auto count = static_cast<std::uint64_t>(std::popcount(valid));
        return guest.call(tlfs::HvCallFlushVirtualAddressSpaceEx | banks_of(count), input_page).value_or(~0ull);
    }
    std::uint64_t ipi(std::uint64_t target, std::uint64_t format, std::uint64_t valid, std::uint64_t first_bank = 0,
                      std::uint64_t second_bank = 0)
    {
        put({target, format, valid, first_bank, second_bank});
        const auto count = static_cast<std::uint64_t>(std::popcount(valid));
        return guest.call(tlfs::HvCallSendSyntheticClusterIpiEx | banks_of(count), input_page).value_or(~0ull);
    }
    void expect_nothing_done()
    {
        EXPECT_TRUE(guest.host.flushes.empty());
        EXPECT_TRUE(guest.host.injected.empty());
    }

    Guest guest{4};
};

TEST_F(ViridianVpSet, IsRecommendedWithTheCallsThatTakeIt)
{
    EXPECT_NE(guest.module.cpuid(0x4000'0004).eax & 1u << 11, 0u);
}

TEST_F(ViridianVpSet, FlushesItsVps)
{
    EXPECT_EQ(flush(0, 0, 0b1, 0b1010), 0u);
    ASSERT_EQ(guest.host.flushes.size(), 1u);
    EXPECT_EQ(guest.host.flushes[0].vcpus, 0b1010u);
    EXPECT_EQ(flush(0b100, 0, 0b101, 0b1, ~0ull), 0u);  // VPs from 128 on do not exist
    EXPECT_EQ(guest.host.flushes[1].vcpus, 0b1u);
    EXPECT_EQ(guest.host.flushes[1].how, abi::flush_non_global);
    EXPECT_EQ(flush(0, 0, 0b10, ~0ull), 0u);  // nobody
    EXPECT_EQ(flush(0, 0, 0), 0u);
    EXPECT_EQ(guest.host.flushes.size(), 2u);
}

TEST_F(ViridianVpSet, OfAllFlushesAll)
{
    EXPECT_EQ(flush(0, 1, 0), 0u);
    EXPECT_EQ(flush(1, 0, 0b1, 0b1), 0u);  // by the flag
    ASSERT_EQ(guest.host.flushes.size(), 2u);
    EXPECT_EQ(guest.host.flushes[0].vcpus, std::nullopt);
    EXPECT_EQ(guest.host.flushes[1].vcpus, std::nullopt);
}

TEST_F(ViridianVpSet, FlushesAListBehindItsBanks)
{
    put({0x1000, 0, 0, 0b11, 0b11, 0, 0x7000, 0x9000, 0xb000});
    const std::uint64_t list{tlfs::HvCallFlushVirtualAddressListEx | banks_of(2) | 3ull << 32};
    EXPECT_EQ(guest.call(list, input_page), 3ull << 32);
    EXPECT_EQ(ext::reg(guest.frame, Register::rcx), list | 3ull << 48);
    ASSERT_EQ(guest.host.flushes.size(), 1u);
    EXPECT_EQ(guest.host.flushes[0].vcpus, 0b11u);
    EXPECT_EQ(guest.call(list | 2ull << 48, input_page), 3ull << 32);
    // Banks and list together fill the page to its last byte, or go beyond it.
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressListEx | banks_of(2) | 506ull << 32, input_page), 506ull << 32);
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressListEx | banks_of(2) | 507ull << 32, input_page),
              status(HvStatus::HV_STATUS_INVALID_ALIGNMENT));
}

TEST_F(ViridianVpSet, GetsOneVectorOnEachVp)
{
    EXPECT_EQ(ipi(0xed, 0, 0b1, 0b1001), 0u);
    ASSERT_EQ(guest.host.injected.size(), 2u);
    EXPECT_EQ(guest.host.injected[0].vcpu, FakeHost::vcpu_handle(0));
    EXPECT_EQ(guest.host.injected[1].vcpu, FakeHost::vcpu_handle(3));
    EXPECT_EQ(guest.host.injected[1].vector, 0xedu);
    EXPECT_EQ(ipi(0xee, 1, 0), 0u);
    EXPECT_EQ(guest.host.injected.size(), 6u);
    EXPECT_EQ(ipi(0xee, 0, 0b10, 0), 0u);  // an empty bank beyond those that have VPs
    EXPECT_EQ(guest.host.injected.size(), 6u);
}

struct BadSet {
    std::uint64_t format;
    std::uint64_t valid;
    std::uint64_t bank;
    HvStatus of_flush;
    HvStatus of_ipi;
};
TEST_F(ViridianVpSet, ThatIsUnfitIsRefusedByItsStatus)
{
    constexpr auto success = HvStatus::HV_STATUS_SUCCESS;
    constexpr auto parameter = HvStatus::HV_STATUS_INVALID_PARAMETER;
    constexpr auto no_vp = HvStatus::HV_STATUS_INVALID_VP_INDEX;
    for (const BadSet& set : {BadSet{2, 0, 0, parameter, parameter}, BadSet{~0ull, 1, 1, parameter, parameter},
                              BadSet{0, 1, 0b1'0000, success, no_vp}, BadSet{0, 0b10, 1, success, no_vp},
                              BadSet{0, 1ull << 63, 1ull << 63, success, no_vp}}) {
        EXPECT_EQ(flush(0, set.format, set.valid, set.bank), status(set.of_flush)) << set.format << set.valid;
        EXPECT_EQ(ipi(0xed, set.format, set.valid, set.bank), status(set.of_ipi)) << set.format << set.valid;
    }
    EXPECT_TRUE(guest.host.injected.empty());
}

TEST_F(ViridianVpSet, WhoseBanksAreNotAsManyAsItsMaskSaysIsRefused)
{
    put({0xed, 0, 0b11, 1, 1, 1, 1});
    for (const std::uint64_t count : {0, 1, 3, 4, 64})
        EXPECT_EQ(guest.call(tlfs::HvCallSendSyntheticClusterIpiEx | banks_of(count), input_page),
                  status(HvStatus::HV_STATUS_INVALID_HYPERCALL_INPUT))
            << count;
    for (const std::uint64_t count : {65, 512, 1023})
        EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressSpaceEx | banks_of(count), input_page),
                  status(HvStatus::HV_STATUS_INVALID_HYPERCALL_INPUT))
            << count;
    expect_nothing_done();
}

TEST_F(ViridianVpSet, WithABadTargetOrFlagDoesNothing)
{
    for (const std::uint64_t target : {0x0full, 0x100ull, 0x11'0000'0030ull, 0x20'0000'0030ull})
        EXPECT_EQ(ipi(target, 1, 0), status(HvStatus::HV_STATUS_INVALID_PARAMETER)) << std::hex << target;
    for (unsigned bit = 3; bit < 64; ++bit)
        EXPECT_EQ(flush(1ull << bit, 1, 0), status(HvStatus::HV_STATUS_INVALID_PARAMETER)) << bit;
    put({0, 0b100, 1, 0});
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressListEx | 1ull << 32, input_page),
              status(HvStatus::HV_STATUS_INVALID_PARAMETER));
    expect_nothing_done();
}

TEST_F(ViridianVpSet, WithABadInputValueDoesNothing)
{
    const std::uint64_t flush{tlfs::HvCallFlushVirtualAddressSpaceEx};
    const std::uint64_t list{tlfs::HvCallFlushVirtualAddressListEx};
    const std::uint64_t ipi{tlfs::HvCallSendSyntheticClusterIpiEx};
    for (const std::uint64_t control :
         std::initializer_list<std::uint64_t>{flush | 1ull << 27, flush | 1ull << 32, flush | 1ull << 48, list, list | 1ull << 32 | 1ull << 48, ipi | 1ull << 44,
          ipi | 1ull << 32})
        EXPECT_EQ(guest.call(control, input_page).value() & 0xffff, status(HvStatus::HV_STATUS_INVALID_HYPERCALL_INPUT))
            << std::hex << control;
    EXPECT_EQ(guest.call(flush, input_page + 4), status(HvStatus::HV_STATUS_INVALID_ALIGNMENT));
    EXPECT_EQ(guest.call(flush | banks_of(1), 0x8fe0), status(HvStatus::HV_STATUS_INVALID_ALIGNMENT));
    expect_nothing_done();
}

TEST(ViridianVpSets, OfAGroupThatIsNotOfferedAreDenied)
{
    Guest guest;
    ASSERT_TRUE(guest.create({"!tlbflush", "!ipi"}));
    guest.enable_hypercalls();
    EXPECT_EQ(guest.module.cpuid(0x4000'0004).eax & 1u << 11, 0u);
    for (const std::uint64_t call : {tlfs::HvCallFlushVirtualAddressSpaceEx, tlfs::HvCallFlushVirtualAddressListEx,
                                     tlfs::HvCallSendSyntheticClusterIpiEx})
        EXPECT_EQ(guest.call(call, 0x8000), status(HvStatus::HV_STATUS_ACCESS_DENIED));
}

}  // namespace
}  // namespace hv::viridian::test
