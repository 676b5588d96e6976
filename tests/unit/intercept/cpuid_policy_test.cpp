// SPDX-License-Identifier: MIT
//
// The CPUID policy over hosts that have everything and hosts that have nothing.
#include "hv/core/intercept/cpuid_policy.hpp"

#include <gtest/gtest.h>

#include "hv/x86/control_registers.hpp"

using namespace hv;
using core::CpuidPolicy;
using x86::CpuidResult;

namespace {

CpuidResult everything(std::uint32_t leaf, std::uint32_t subleaf)
{
    if (leaf == 0)
        return {0x20, 1, 2, 3};
    if (leaf == 0x8000'0000)
        return {0x8000'0021, 1, 2, 3};
    if (leaf == 0x8000'0008)
        return {0x3930, ~0u, ~0u, ~0u};
    if (leaf == 0xd && subleaf == 0)
        return {0xff, 0, 0, 0};
    if (leaf == 0xd && subleaf >= 2)
        return {0x100, 0x240 + (subleaf - 2) * 0x100, 0, 0};
    return {~0u, ~0u, ~0u, ~0u};
}

CpuidResult nothing(std::uint32_t leaf, std::uint32_t)
{
    if (leaf == 0)
        return {1, 1, 2, 3};
    if (leaf == 0x8000'0000)
        return {0x8000'0001, 0, 0, 0};
    return {};
}

}  // namespace

TEST(CpuidPolicy, HidesWhatAGuestMustNotSee)
{
    const CpuidPolicy policy{everything, 1};
    const CpuidResult one = policy.answer(1, 0, {});
    for (const unsigned hidden : {3u, 5u, 6u, 17u})  // MONITOR, VMX, SMX, PCID
        EXPECT_EQ(one.ecx >> hidden & 1, 0u) << hidden;
    const CpuidResult extended = policy.answer(0x8000'0001, 0, {});
    EXPECT_EQ(extended.ecx >> 2 & 1, 0u);   // SVM
    EXPECT_EQ(extended.edx >> 27 & 1, 0u);  // RDTSCP
    EXPECT_EQ(policy.answer(0x8000'000a, 0, {}), CpuidResult{});
    EXPECT_EQ(policy.answer(7, 0, {}).ecx >> 16 & 1, 0u);  // five-level paging
    EXPECT_EQ(policy.answer(7, 0, {}).ebx >> 10 & 1, 0u);  // INVPCID
}

TEST(CpuidPolicy, ProvidesWhateverTheHostHas)
{
    const CpuidPolicy policy{nothing, 1};
    const CpuidResult one = policy.answer(1, 0, {});
    EXPECT_EQ(one.ecx >> 31, 1u);      // hypervisor
    EXPECT_EQ(policy.answer(7, 0, {}).ebx >> 1 & 1, 1u);  // TSC_ADJUST
    EXPECT_EQ(one.ecx >> 21 & 1, 1u);  // x2APIC
    EXPECT_EQ(policy.answer(6, 0, {}).eax, 4u);  // ARAT
    EXPECT_EQ(one.ecx >> 26 & 1, 0u);
    EXPECT_EQ(policy.xcr0_supported(), 0u);
}

TEST(CpuidPolicy, CountsProcessorsAsTheAcpiTablesDo)
{
    const CpuidPolicy policy{everything, 6};
    EXPECT_EQ(policy.answer(1, 0, {.apic_id = 5, .cr4 = 0, .xcr0 = 0}).ebx >> 16, 0x0506u);
    EXPECT_EQ(policy.answer(0xb, 1, {.apic_id = 5, .cr4 = 0, .xcr0 = 0}), (CpuidResult{3, 6, 0x201, 5}));
    EXPECT_EQ(policy.answer(0x8000'0008, 0, {}).ecx, 5u | 3u << 12);
}

TEST(CpuidPolicy, FollowsControlRegisters)
{
    const CpuidPolicy policy{everything, 1};
    EXPECT_EQ(policy.answer(1, 0, {.apic_id = 0, .cr4 = 0, .xcr0 = 1}).ecx >> 27 & 1, 0u);
    EXPECT_EQ(policy.answer(1, 0, {.apic_id = 0, .cr4 = 1u << 18, .xcr0 = 1}).ecx >> 27 & 1, 1u);
    EXPECT_EQ(policy.answer(0xd, 0, {.apic_id = 0, .cr4 = 0, .xcr0 = 3}).ebx, 576u);
    EXPECT_EQ(policy.answer(0xd, 0, {.apic_id = 0, .cr4 = 0, .xcr0 = 7}).ebx, 0x340u);
    EXPECT_EQ(policy.answer(0xd, 0, {}).eax, 7u);
    EXPECT_EQ(policy.answer(0xd, 1, {.apic_id = 0, .cr4 = 0, .xcr0 = 3}).ebx, 576u);
    EXPECT_EQ(policy.answer(0xd, 1, {.apic_id = 0, .cr4 = 0, .xcr0 = 7}).ebx, 832u);
}

TEST(CpuidPolicy, AnswersLeavesThatDoNotExistWithZeroes)
{
    const CpuidPolicy policy{everything, 1};
    for (const std::uint32_t leaf : {0x2u, 0x20u, 0x4000'0001u, 0x4000'0081u, 0x8000'0021u, 0xffff'ffffu})
        EXPECT_EQ(policy.answer(leaf, 0, {}), CpuidResult{}) << std::hex << leaf;
}

TEST(CpuidPolicy, TakesAwayButNeverInvents)
{
    CpuidPolicy policy{nothing, 1};
    const CpuidResult before = policy.answer(1, 0, {});
    const CpuidResult all{~0u, ~0u, ~0u, ~0u};
    EXPECT_EQ(policy.adjust({1, 0, all, {0, 0, 1, 0}}).error(), Error::not_supported);
    EXPECT_EQ(policy.adjust({0x1234, 0, all, {1, 0, 0, 0}}).error(), Error::not_found);
    EXPECT_TRUE(policy.adjust({0x1234, 0, {}, {}})) << "there is nothing to take";
    EXPECT_EQ(policy.answer(0x1234, 0, {}), CpuidResult{});
    EXPECT_EQ(policy.answer(1, 0, {}), before);
    EXPECT_TRUE(policy.adjust({1, 0, {~0u, ~0u, ~(1u << 21), ~0u}, {}}).has_value());
    EXPECT_EQ(policy.answer(1, 0, {}).ecx, before.ecx & ~(1u << 21));
}

TEST(CpuidPolicy, LetsAGuestSetTheBitsOfTheFeaturesThatItIsShown)
{
    using x86::Cr4;
    CpuidPolicy policy{everything, 1};
    EXPECT_EQ(policy.cr4_supported(), 0x35'0fffu);
    for (const std::uint64_t hidden : {Cr4::PCIDE::mask, Cr4::LA57::mask, Cr4::PKE::mask, Cr4::CET::mask, Cr4::PKS::mask})
        EXPECT_EQ(policy.cr4_supported() & hidden, 0u) << std::hex << hidden;
    EXPECT_EQ(policy.efer_supported(), 0x4d01u);
    EXPECT_EQ(policy.xcr0_supported(), 7u);
    constexpr std::uint32_t all{~0u};
    EXPECT_TRUE(policy.adjust({7, 0, {all, ~(1u << 7 | 1u << 0), all, all}, {}}));
    EXPECT_EQ(policy.cr4_supported() & (Cr4::SMEP::mask | Cr4::FSGSBASE::mask | Cr4::SMAP::mask), Cr4::SMAP::mask);
    EXPECT_TRUE(policy.adjust({0x8000'0001, 0, {all, all, all, ~(1u << 20)}, {}}));
    EXPECT_EQ(policy.efer_supported(), 0x4501u);
    EXPECT_TRUE(policy.adjust({0xd, 0, {3, all, all, all}, {}}));
    EXPECT_EQ(policy.xcr0_supported(), 3u);
    EXPECT_TRUE(policy.adjust({1, 0, {all, all, ~(1u << 26 | 1u << 21), all}, {}}));
    EXPECT_EQ(policy.xcr0_supported(), 0u);
    EXPECT_EQ(policy.cr4_supported() & Cr4::OSXSAVE::mask, 0u);
    EXPECT_FALSE(policy.has_x2apic());
    EXPECT_EQ(policy.answer(0xd, 0, {}), CpuidResult{}) << "without XSAVE it has no state to describe";
    EXPECT_EQ(policy.answer(0xd, 1, {}), CpuidResult{});
}

TEST(CpuidPolicy, SignsTheFirstBlockWhereNoExtensionClaimsIt)
{
    const CpuidPolicy policy{everything, 1};
    const CpuidResult signature = policy.answer(0x4000'0000, 0, {});
    const std::uint32_t words[]{signature.ebx, signature.ecx, signature.edx};
    EXPECT_EQ((std::string{reinterpret_cast<const char*>(words), 12}), "GraftGraftHV");
}
