// SPDX-License-Identifier: MIT
//
// MSI-X: an interrupt is sent when nothing masks it, kept when something does, and then sent exactly once.
#include "hv/core/virtio/msix_table.hpp"

#include <gtest/gtest.h>

#include "fake_device_host.hpp"

namespace {

using hv::core::virtio::MsiMessage;
using hv::core::virtio::MsixTable;

struct MsixTableTest : testing::Test {
    hv::test::FakeDeviceHost host{};
    MsixTable table{host};

    void program(unsigned vector, bool masked)
    {
        table.write(16 * vector, 4, 0xfee0'1000);
        table.write(16 * vector + 4, 4, 0);
        table.write(16 * vector + 8, 4, 0x40 + vector);
        table.write(16 * vector + 12, 4, masked ? 1 : 0);
    }
};

TEST_F(MsixTableTest, EntriesStartMaskedAndReadAsWritten)
{
    EXPECT_EQ(table.read(12, 4), 1u);
    program(1, false);
    EXPECT_EQ(table.read(16, 8), 0xfee0'1000u);
    EXPECT_EQ(table.read(24, 4), 0x41u);
    EXPECT_EQ(table.read(28, 4), 0u);
    EXPECT_EQ(table.read(32, 4), 0u) << "there is no third entry";
}

TEST_F(MsixTableTest, SignalSendsTheProgrammedMessage)
{
    table.set_control(true, false);
    program(1, false);
    table.signal(1);
    ASSERT_EQ(host.sent.size(), 1u);
    EXPECT_EQ(host.sent[0], (MsiMessage{0xfee0'1000, 0x41}));
}

TEST_F(MsixTableTest, MaskedInterruptIsPendingAndSentOnceWhenUnmasked)
{
    table.set_control(true, false);
    program(0, true);
    table.signal(0);
    table.signal(0);
    EXPECT_TRUE(host.sent.empty());
    EXPECT_EQ(table.read_pending(0, 8), 1u);
    table.write(12, 4, 0);
    EXPECT_EQ(host.sent.size(), 1u);
    EXPECT_EQ(table.read_pending(0, 4), 0u);
    table.write(12, 4, 1);
    table.write(12, 4, 0);
    EXPECT_EQ(host.sent.size(), 1u);
}

TEST_F(MsixTableTest, FunctionMaskHoldsAllVectorsBack)
{
    table.set_control(true, true);
    program(0, false);
    program(1, false);
    table.signal(0);
    table.signal(1);
    EXPECT_EQ(table.read_pending(0, 1), 3u);
    EXPECT_TRUE(host.sent.empty());
    table.set_control(true, false);
    EXPECT_EQ(host.sent.size(), 2u);
}

TEST_F(MsixTableTest, NothingIsSentOrKeptWhileDisabledOrForVectorsThatAreNone)
{
    program(0, false);
    table.signal(0);
    EXPECT_EQ(table.read_pending(0, 8), 0u);
    table.set_control(true, false);
    table.signal(2);
    table.signal(0xffff);
    EXPECT_TRUE(host.sent.empty());
}

TEST_F(MsixTableTest, AccessesOfOtherSizesReadZeroAndWriteNothing)
{
    program(0, false);
    table.write(8, 2, 0xffff);
    table.write(9, 4, ~0u);
    table.write(4, 8, ~0ull);
    EXPECT_EQ(table.read(8, 4), 0x40u);
    EXPECT_EQ(table.read(8, 2), 0u);
    table.write(0, 8, 0x1'2345'6783);
    EXPECT_EQ(table.read(0, 8), 0x1'2345'6780u) << "the low two bits of an address are zero";
}

}  // namespace
