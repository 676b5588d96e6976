// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "foreign_memory.hpp"
#include "hv/core/boot/loader_information.hpp"

using namespace hv;
using namespace hv::core;
using hv::test::ForeignMemory;

namespace {

constexpr std::uint64_t info_at{0x1000};
constexpr std::uint64_t modules_at{0x1100};
constexpr std::uint64_t text_at{0x1200};
constexpr std::uint64_t map_at{0x1400};

/// A good start info; tests break it in one place.
class PvhStartInfo : public testing::Test {
protected:
    PvhStartInfo()
    {
        put32(0, 0x336ec578);
        put32(4, 1);
        put32(12, 1);
        put64(16, modules_at);
        put64(24, text_at);
        put64(32, 0xf5a10);
        put64(40, map_at);
        put32(48, 2);
        memory.put<std::uint64_t>(modules_at, 0x200000);
        memory.put<std::uint64_t>(modules_at + 8, 0x5000);
        memory.put_bytes(text_at, std::string_view{"console=com1\0", 13});
        put_entry(0, 0, 0x9fc00, 1);
        put_entry(1, 0x100000, 0x700000, 1);
    }

    void put32(std::uint64_t offset, std::uint32_t value) { memory.put(info_at + offset, value); }
    void put64(std::uint64_t offset, std::uint64_t value) { memory.put(info_at + offset, value); }
    void put_entry(std::uint64_t index, std::uint64_t begin, std::uint64_t bytes, std::uint32_t type)
    {
        memory.put(map_at + index * 24, begin);
        memory.put(map_at + index * 24 + 8, bytes);
        memory.put(map_at + index * 24 + 16, type);
    }
    Status parse(std::uint64_t at = info_at)
    {
        information = BootInformation{};
        why.clear();
        return parse_pvh_start_info(memory.view(), HostPhysical{at}, information, why);
    }
    void expect_refused(std::string_view sentence)
    {
        EXPECT_FALSE(parse());
        EXPECT_NE(why.view().find(sentence), std::string_view::npos) << why.view();
    }

    ForeignMemory memory{info_at, 0x1000};
    BootInformation information;
    BoundedText<300> why;
};

}  // namespace

TEST_F(PvhStartInfo, IsTakenOver)
{
    ASSERT_TRUE(parse()) << why.view();
    EXPECT_EQ(information.protocol, BootProtocol::pvh);
    EXPECT_EQ(information.command_line.view(), "console=com1");
    EXPECT_EQ(information.memory.size(), 2);
    ASSERT_EQ(information.raw_modules.size(), 1);
    EXPECT_EQ(information.raw_modules[0].range, (HostRange{HostPhysical{0x200000}, 0x5000}));
    EXPECT_TRUE(information.has_rsdp);
    EXPECT_EQ(information.rsdp, HostPhysical{0xf5a10});
}

TEST_F(PvhStartInfo, NeedsNoCommandLineModulesOrRsdp)
{
    put32(12, 0);
    put64(24, 0);
    put64(32, 0);
    ASSERT_TRUE(parse()) << why.view();
    EXPECT_EQ(information.command_line.view(), "");
    EXPECT_FALSE(information.has_rsdp);
}

TEST_F(PvhStartInfo, IsRefusedWithoutMagicOrMap)
{
    put32(0, 0x336ec579);
    expect_refused("magic");
    put32(0, 0x336ec578);
    put32(4, 0);
    expect_refused("no memory map");
    put32(4, 1);
    put32(48, 0);
    expect_refused("no memory map");
    put32(48, 0xffffffff);
    expect_refused("too long");
    put32(48, 100);  // goes beyond what can be read
    put64(40, 0x1f00);
    expect_refused("out of reach");
    put64(40, ~0ull - 8);
    expect_refused("out of reach");
}

TEST_F(PvhStartInfo, LyingModulesAreRefused)
{
    memory.put<std::uint64_t>(modules_at + 8, ~0ull);
    expect_refused("not in RAM");
    memory.put<std::uint64_t>(modules_at + 8, 0x600001);  // one byte too long
    expect_refused("not in RAM");
    memory.put<std::uint64_t>(modules_at, 0xa0000);
    expect_refused("not in RAM");
    put32(12, 0xffffffff);
    expect_refused("too many modules");
    put32(12, 64);
    put64(16, 0x1fff);
    expect_refused("out of reach");
}

TEST_F(PvhStartInfo, ACommandLineThatDoesNotEndIsRefused)
{
    for (std::uint64_t at = text_at + 0x300; at < info_at + 0x1000; at += 4)
        memory.put_bytes(at, "aaaa");
    put64(24, text_at + 0x300);
    expect_refused("command line");
    put64(24, 0x9999999);
    expect_refused("command line");
}

TEST_F(PvhStartInfo, CutAnywhereIsRefused)
{
    for (std::size_t bytes = 0; bytes < map_at + 48 - info_at; ++bytes) {
        memory.resize(bytes);
        EXPECT_FALSE(parse()) << bytes;
    }
}
