// SPDX-License-Identifier: MIT
//
// What a guest would ask of the very mine.hvx, in this process.
#include <gtest/gtest.h>

#include "module_under_test.hpp"

namespace {

namespace abi = hv::abi;

struct MineTest : testing::Test {
    hv::test::FakeHost host;
    hv::test::ModuleUnderTest mine{host, HVX_FILE};
    void SetUp() override { ASSERT_TRUE(mine.create()); }
};

TEST_F(MineTest, SaysWhoItIs)
{
    EXPECT_EQ(mine.cpuid(0x4000'0000).ebx, 0x656e'694du);  // "Mine"
}

TEST_F(MineTest, AddsUpAndRefusesReservedBits)
{
    EXPECT_TRUE(mine.write_msr(0x4000'0300, 40));
    EXPECT_TRUE(mine.write_msr(0x4000'0300, 2));
    EXPECT_EQ(mine.read_msr(0x4000'0300), 42u);
    EXPECT_FALSE(mine.write_msr(0x4000'0300, 1ull << 32));
    EXPECT_FALSE(mine.read_msr(0x4000'0301).has_value());
}

TEST_F(MineTest, AddsTwoNumbers)
{
    abi::HypercallFrame frame{};
    frame.mode = abi::GuestMode::long_64;
    frame.general[static_cast<unsigned>(abi::GeneralRegister::rax)] = 1;
    frame.general[static_cast<unsigned>(abi::GeneralRegister::rdi)] = 40;
    frame.general[static_cast<unsigned>(abi::GeneralRegister::rsi)] = 2;
    EXPECT_EQ(mine.hypercall(frame).kind, abi::VerdictKind::done);
    EXPECT_EQ(frame.general[static_cast<unsigned>(abi::GeneralRegister::rax)], 42u);
}

}  // namespace
