// SPDX-License-Identifier: MIT
//
// Modules bound to the fake hypervisor and asked what a guest would ask, from their creation to their end.
#include "module_under_test.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace hv::test {
namespace {

std::string file_of(const std::string& name)
{
    return std::string{HVX_FOLDER} + "/" + name + "/" + name + ".hvx";
}

std::string text_of(const std::string& path)
{
    std::ifstream stream{path};
    return {std::istreambuf_iterator<char>{stream}, std::istreambuf_iterator<char>{}};
}

TEST(MinimalModule, IsWordForWordTheOneThatTheReadmeShows)
{
    const std::string source{text_of(std::string{SOURCE_FOLDER} + "/modules/minimal_extension.cpp")};
    const auto code = source.find("#include");
    ASSERT_NE(code, std::string::npos);
    EXPECT_NE(text_of(EXTENSIONS_README).find(source.substr(code)), std::string::npos);
}

TEST(BoundModule, AnswersDeclaredLeavesRelativeToItsBlock)
{
    FakeHost host;
    ModuleUnderTest minimal{host, file_of("minimal")};
    ASSERT_TRUE(minimal.create());
    const auto leaf = minimal.cpuid(0x4000'0000);
    EXPECT_EQ(leaf.eax, 0x4000'0001u);
    EXPECT_EQ(leaf.ebx, abi::table_magic('M', 'i', 'n', 'i'));
    EXPECT_EQ(minimal.cpuid(0x4000'0001), abi::CpuidResult{});
    EXPECT_EQ(minimal.cpuid(0x4000'0100), abi::CpuidResult{});
}

TEST(BoundModule, TakesHypercallsOfItsRuleAlone)
{
    FakeHost host;
    ModuleUnderTest minimal{host, file_of("minimal")};
    ASSERT_TRUE(minimal.create());
    abi::HypercallFrame frame{};
    frame.mode = abi::GuestMode::long_64;
    frame.general[0] = 1;
    frame.general[7] = 5;
    frame.general[6] = 6;
    EXPECT_EQ(minimal.hypercall(frame).kind, abi::VerdictKind::done);
    EXPECT_EQ(frame.general[0], 11u);
    frame.general[0] = 1;
    frame.cpl = 3;
    EXPECT_EQ(minimal.hypercall(frame).kind, abi::VerdictKind::inject);
    EXPECT_EQ(frame.general[0], 1u);
}

TEST(BoundModule, LivesFromCreationToDestruction)
{
    FakeHost host;
    ModuleUnderTest module{host, file_of("exerciser"), 2};
    EXPECT_FALSE(module.parameter("colour", std::string{"red"}));
    EXPECT_EQ(host.explained, "no parameter is called colour");
    ASSERT_TRUE(module.create());
    EXPECT_EQ(host.hypercall_pages[0][0], 0x0f);
    EXPECT_EQ(host.hypercall_pages[0][3], 0xc3);
    EXPECT_EQ(host.hypercall_pages[0][4], 0xcc);
    EXPECT_EQ(host.timers.size(), 2u);
    EXPECT_TRUE(module.write_msr(0x4000'0000, 123));
    EXPECT_EQ(module.read_msr(0x4000'0000), 123u);
    EXPECT_EQ(module.read_msr(0x4000'0002, 1), 1u);
    EXPECT_FALSE(module.write_msr(0x4000'0001, 0x10000));
    EXPECT_EQ(module.read_msr(0x4000'0001), std::nullopt);
    EXPECT_EQ(module.cpuid(0x4000'0001, 0, 1).ebx, 1u);
    EXPECT_TRUE(module.write_msr(0x4000'0070, 0));
    EXPECT_EQ(host.apic[FakeHost::vcpu_handle(0)][0xb0], 1u);
    EXPECT_EQ(module.reset_vcpu(1).kind, abi::VerdictKind::done);
    module.destroy();
}

TEST(BoundModule, FiresAnArmedTimerOnceWithItsCookie)
{
    FakeHost host;
    ModuleUnderTest module{host, file_of("exerciser")};
    ASSERT_TRUE(module.create());
    const auto timer = host.timers.begin()->first;
    host.timers[timer].setting = abi::TimerSetting{.deadline_ns = 5, .vector = 0};
    EXPECT_EQ(module.fire(timer, 2).kind, abi::VerdictKind::done);
    EXPECT_EQ(static_cast<std::uint64_t*>(module.vcpu(0).vcpu_state)[0], 9u);
    EXPECT_FALSE(host.timers[timer].setting.has_value());
}

}  // namespace
}  // namespace hv::test
