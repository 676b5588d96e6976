// SPDX-License-Identifier: MIT
//
// The PCI function as enumeration code sees it: identity, BAR sizing, capabilities, and the window in
// configuration space.
#include "hv/core/virtio/pci_function.hpp"

#include <gtest/gtest.h>

#include <map>

#include "fake_device_host.hpp"

namespace {

using namespace hv::core::virtio;
using hv::GuestPhysical;

struct PciFunctionTest : testing::Test {
    hv::test::FakeDeviceHost host{};
    TransportRegisters registers{host, VIRTIO_F_VERSION_1, 2};
    MsixTable msix{host};
    ConsoleConfiguration configuration{0, 0, 65, 0};
    PciFunction function{host, registers, msix, std::as_bytes(std::span{&configuration, 1})};

    /// Virtio capabilities by type: {offset in configuration space}.
    std::map<unsigned, unsigned> virtio_capabilities()
    {
        std::map<unsigned, unsigned> found{};
        unsigned seen{0};
        for (unsigned at = function.config_read(0x34, 1); at != 0 && seen < 16;
             at = function.config_read(at + 1, 1)) {
            ++seen;
            if (function.config_read(at, 1) == 9)
                found[function.config_read(at + 3, 1)] = at;
        }
        return found;
    }
    void place(std::uint32_t base)
    {
        function.config_write(0x10, 4, base);
        function.config_write(0x04, 2, 0x6);
    }
};

TEST_F(PciFunctionTest, IdentityIsThatOfAModernConsole)
{
    EXPECT_EQ(function.config_read(0x00, 4), 0x1043'1af4u);
    EXPECT_EQ(function.config_read(0x08, 4), 0x0780'0001u);
    EXPECT_EQ(function.config_read(0x0e, 1), 0u);
    EXPECT_EQ(function.config_read(0x2c, 2), 0x1af4u);
    EXPECT_GE(function.config_read(0x2e, 2), 0x40u);
    EXPECT_EQ(function.config_read(0x06, 2), 0x10u);
    EXPECT_EQ(function.config_read(0x3d, 1), 0u) << "no interrupt pin";
}

TEST_F(PciFunctionTest, IdentityCannotBeWritten)
{
    for (unsigned offset = 0; offset < 256; offset += 4) {
        if (offset == 0x04 || offset == 0x10 || offset == 0x0c || offset == 0x3c)
            continue;
        const auto before = function.config_read(offset, 4);
        if (offset >= 0x94 && offset < 0xa8)
            continue;
        function.config_write(offset, 4, offset == 0x40 ? 0x3fff'ffff : ~0u);
        EXPECT_EQ(function.config_read(offset, 4), before) << std::hex << offset;
    }
}

TEST_F(PciFunctionTest, SizingTheBarTellsSixteenKilobytes)
{
    function.config_write(0x10, 4, ~0u);
    EXPECT_EQ(function.config_read(0x10, 4), 0xffff'c000u);
    for (unsigned bar = 1; bar < 6; ++bar) {
        function.config_write(0x10 + 4 * bar, 4, ~0u);
        EXPECT_EQ(function.config_read(0x10 + 4 * bar, 4), 0u);
    }
    function.config_write(0x30, 4, ~0u);
    EXPECT_EQ(function.config_read(0x30, 4), 0u) << "no expansion ROM";
}

TEST_F(PciFunctionTest, WindowIsToldWhenItMovesAppearsOrGoes)
{
    function.config_write(0x10, 4, 0xfeb0'0000);
    EXPECT_TRUE(host.windows.empty());
    function.config_write(0x04, 2, 0x2);
    function.config_write(0x04, 2, 0x2);
    ASSERT_EQ(host.windows.size(), 1u);
    EXPECT_EQ(host.windows[0], GuestPhysical{0xfeb0'0000});
    function.config_write(0x12, 2, 0xfea0);
    EXPECT_EQ(host.windows.back(), GuestPhysical{0xfea0'0000});
    EXPECT_EQ(function.window(), GuestPhysical{0xfea0'0000});
    function.config_write(0x10, 4, ~0u);
    EXPECT_EQ(host.windows.back(), std::nullopt) << "being sized is not being there";
    function.config_write(0x10, 4, 0xfeb0'0000);
    function.config_write(0x04, 2, 0);
    EXPECT_EQ(host.windows.back(), std::nullopt);
}

TEST_F(PciFunctionTest, BusMasterIsFollowed)
{
    EXPECT_FALSE(function.bus_master());
    function.config_write(0x04, 2, 0x4);
    EXPECT_TRUE(function.bus_master());
    EXPECT_EQ(host.kicks, 1u);
    function.config_write(0x04, 2, 0);
    EXPECT_FALSE(function.bus_master());
    EXPECT_EQ(host.kicks, 1u);
}

TEST_F(PciFunctionTest, CapabilitiesNameStructuresInsideTheBar)
{
    const auto capabilities = virtio_capabilities();
    ASSERT_EQ(capabilities.size(), 5u);
    for (const auto& [type, at] : capabilities) {
        if (type == 5)
            continue;
        EXPECT_EQ(function.config_read(at + 4, 1), 0u);
        const auto offset = function.config_read(at + 8, 4);
        const auto length = function.config_read(at + 12, 4);
        EXPECT_GT(length, 0u) << type;
        EXPECT_LE(offset + length, bar_bytes) << type;
    }
    EXPECT_GE(function.config_read(capabilities.at(1) + 12, 4), 56u);
    EXPECT_EQ(function.config_read(capabilities.at(2) + 16, 4), 4u) << "notify_off_multiplier";
    EXPECT_EQ(function.config_read(capabilities.at(2) + 12, 4), 4 * TransportRegisters::maximum_queues);
}

TEST_F(PciFunctionTest, MsixCapabilityDescribesTwoVectors)
{
    EXPECT_EQ(function.config_read(0x40, 1), 0x11u);
    EXPECT_EQ(function.config_read(0x42, 2), 1u);
    function.config_write(0x42, 2, 0xffff);
    EXPECT_EQ(function.config_read(0x42, 2), 0xc001u);
    const auto table = function.config_read(0x44, 4);
    function.bar_write(table + 8, 4, 0x31);
    EXPECT_EQ(msix.read(8, 4), 0x31u);
    function.bar_write(table + 12, 4, 0);
    msix.signal(0);
    EXPECT_EQ(function.bar_read(function.config_read(0x48, 4), 8), 1u) << "masked by the function mask";
    function.config_write(0x43, 1, 0x80);
    EXPECT_EQ(host.sent.size(), 1u);
}

TEST_F(PciFunctionTest, BarReachesStructuresAtTheirOffsets)
{
    const auto capabilities = virtio_capabilities();
    const auto offset = [&](unsigned type) { return function.config_read(capabilities.at(type) + 8, 4); };
    EXPECT_EQ(function.bar_read(offset(1) + 0x12, 2), TransportRegisters::maximum_queues);
    EXPECT_EQ(function.bar_read(offset(4) + 4, 4), 65u);
    EXPECT_EQ(function.bar_read(offset(4), 8), 65ull << 32);
    EXPECT_EQ(function.bar_read(offset(4) + 12, 4), 0u);
    registers.raise_isr(2);
    EXPECT_EQ(function.bar_read(offset(3), 1), 2u);
    EXPECT_EQ(function.bar_read(offset(3), 1), 0u);
    function.bar_write(offset(2) + 4 * 131, 2, 131);
    EXPECT_TRUE(registers.take_notification(131));
}

TEST_F(PciFunctionTest, ConfigurationWindowReadsAndWritesTheBar)
{
    const unsigned at{virtio_capabilities().at(5)};
    function.config_write(at + 8, 4, 0x12);
    function.config_write(at + 12, 4, 2);
    EXPECT_EQ(function.config_read(at + 16, 2), TransportRegisters::maximum_queues);
    function.config_write(at + 8, 4, 0x16);
    function.config_write(at + 16, 2, 9);
    EXPECT_EQ(registers.read(0x16, 2), 9u);
    function.config_write(at + 4, 1, 1);
    function.config_write(at + 16, 2, 11);
    EXPECT_EQ(registers.read(0x16, 2), 9u) << "another BAR is none";
    function.config_write(at + 4, 1, 0);
    for (const std::uint32_t length : {0u, 3u, 8u, 0xffff'ffffu}) {
        function.config_write(at + 12, 4, length);
        function.config_write(at + 16, 4, 11);
        EXPECT_EQ(registers.read(0x16, 2), 9u) << length;
    }
    function.config_write(at + 12, 4, 4);
    function.config_write(at + 8, 4, 0xffff'fffc);
    EXPECT_EQ(function.config_read(at + 16, 4), 0u);
}

TEST_F(PciFunctionTest, IllegalAccessesReadZeroAndChangeNothing)
{
    EXPECT_EQ(function.config_read(0x01, 2), 0u);
    EXPECT_EQ(function.config_read(0x100, 4), 0u);
    EXPECT_EQ(function.config_read(0xfffff, 1), 0u);
    EXPECT_EQ(function.config_read(0, 8), 0u);
    EXPECT_EQ(function.config_read(0, 0), 0u);
    function.config_write(0x11, 4, ~0u);
    function.config_write(0x10, 3, ~0u);
    EXPECT_EQ(function.config_read(0x10, 4), 0u);
    EXPECT_EQ(function.bar_read(bar_bytes, 4), 0u);
    EXPECT_EQ(function.bar_read(~0ull - 3, 4), 0u);
    EXPECT_EQ(function.bar_read(0x11, 2), 0u);
    EXPECT_EQ(function.bar_read(0x0, 16), 0u);
    function.bar_write(~0ull & ~7ull, 8, ~0ull);
}

}  // namespace
