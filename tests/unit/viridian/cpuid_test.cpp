// SPDX-License-Identifier: MIT
#include "cpuid.hpp"

#include "guest.hpp"

namespace hv::viridian::test {
namespace {

// The leaves are constants of what was given, so most promises are kept by the compiler.
static_assert(vendor_leaf() == abi::CpuidResult{6, 0x7263'694d, 0x666f'736f, 0x7648'2074});
static_assert(interface_leaf() == abi::CpuidResult{0x3123'7648, 0, 0, 0});
static_assert(features_leaf(Features::by_default()) == abi::CpuidResult{0x0000'0a7e, 0x10'0000, 0, 0x000e'0510});
static_assert(features_leaf(Features::all()) == abi::CpuidResult{0x0000'0eff, 0x10'0030, 0, 0x000e'0530});
static_assert(features_leaf(Features::base_alone()) == abi::CpuidResult{0x0000'0060, 0x10'0000, 0, 0x0004'0000});
static_assert(recommendations_leaf(Features::all()) == abi::CpuidResult{0x0000'0e3c, 4095, 0, 0});
static_assert(recommendations_leaf(Features::base_alone()) == abi::CpuidResult{0x0000'0220, 4095, 0, 0});
static_assert(hardware_leaf() == abi::CpuidResult{0x0000'000a, 0, 0, 0});

TEST(ViridianCpuid, NamesTheInterfaceAndItsLastLeafAtTheFixedBlock)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    EXPECT_EQ(guest.module.cpuid(0x4000'0000),
              (abi::CpuidResult{0x4000'0006, 0x7263'694d, 0x666f'736f, 0x7648'2074}));
    EXPECT_EQ(guest.module.cpuid(0x4000'0001), interface_leaf());
    EXPECT_EQ(guest.module.cpuid(0x4000'0002), identity_leaf());
    EXPECT_EQ(guest.module.cpuid(0x4000'0003), features_leaf(Features::by_default()));
    EXPECT_EQ(guest.module.cpuid(0x4000'0004), recommendations_leaf(Features::by_default()));
    EXPECT_EQ(guest.module.cpuid(0x4000'0005), limits_leaf());
    EXPECT_EQ(guest.module.cpuid(0x4000'0006), hardware_leaf());
}

TEST(ViridianCpuid, NeverGivesPrivilegesOverOtherPartitions)
{
    for (std::uint32_t bits = 0; bits < 1u << feature_groups.size(); ++bits)
        EXPECT_EQ(features_leaf(Features{bits}).ebx & ~0x10'0030u, 0u);  // extended hypercalls, messages, events
}

TEST(ViridianCpuid, ReadsAsZerosBeyondTheLastLeaf)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    for (const std::uint32_t leaf :
         {0x4000'0007u, 0x4000'000au, 0x4000'0080u, 0x4000'0081u, 0x4000'0082u, 0x4000'00ffu})
        EXPECT_EQ(guest.module.cpuid(leaf), abi::CpuidResult{}) << std::hex << leaf;
}

TEST(ViridianCpuid, DoesNotDependOnTheSubleafAndEntersNoHook)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    EXPECT_EQ(guest.module.cpuid(0x4000'0003, 7), guest.module.cpuid(0x4000'0003, 0));
    EXPECT_EQ(guest.module.hooks().cpuid, nullptr);
}

}  // namespace
}  // namespace hv::viridian::test
