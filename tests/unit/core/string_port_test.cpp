// SPDX-License-Identifier: MIT
//
// IN, OUT and their string forms: which bits of which registers change, how far a repeated one gets, and where it stops for
// a page fault.  Port 0x1234 is nobody's; 0x3ff is the serial port's scratch register and keeps what is written.
#include "machine_fixture.hpp"

using namespace hv;
using namespace hv::test;

namespace {

constexpr std::uint16_t nobody{0x1234}, scratch{0x3ff};

class StringPort : public VcpuTest {
protected:
    /// The port instruction at RIP, `length` bytes long.
    void port(std::uint16_t number, std::uint8_t size, bool in, bool string = false, bool repeated = false,
              std::uint8_t length = 1)
    {
        run({exits(fake::port_exit({.port = number,
                                    .size = size,
                                    .in = in,
                                    .string = string,
                                    .repeated = repeated,
                                    .segment = 0xff,
                                    .next_rip = vcpu().registers.rip + length}))});
    }
    void rep_ins(std::uint64_t count, std::uint8_t size = 1)
    {
        vcpu().registers.rip = 0x1000;
        reg(rcx) = count;
        port(nobody, size, true, true, true, 2);
    }
    std::uint8_t last_written()
    {
        const std::uint64_t saved = reg(rax), rip = vcpu().registers.rip;
        port(scratch, 1, true);
        vcpu().registers.rip = rip;
        return static_cast<std::uint8_t>(std::exchange(reg(rax), saved));
    }
};

}  // namespace

TEST_F(StringPort, PutsInWhatTheOperandSizeSays)
{
    constexpr std::uint64_t before{0x1122'3344'5566'7788};
    for (const auto& [size, after] : {std::pair<std::uint8_t, std::uint64_t>{1, 0x1122'3344'5566'77ff},
                                      {2, 0x1122'3344'5566'ffff},
                                      {4, 0xffff'ffff}}) {
        reg(rax) = before;
        port(nobody, size, true);
        EXPECT_EQ(reg(rax), after) << unsigned{size};
    }
    EXPECT_EQ(vcpu().registers.rip, 0x1003u);
}

TEST_F(StringPort, WritesTheAccumulatorAndKeepsIt)
{
    reg(rax) = 0xaabb'ccdd;
    port(scratch, 1, false, false, false, 2);
    EXPECT_EQ(last_written(), 0xdd);
    EXPECT_EQ(reg(rax), 0xaabb'ccddu);
    EXPECT_EQ(vcpu().registers.rip, 0x1002u);
    port(scratch - 1, 2, false);
    EXPECT_EQ(last_written(), 0xcc) << "the second byte goes to the next port";
}

TEST_F(StringPort, FillsMemoryUpwardsAndDownwards)
{
    code({0xf3, 0x6c});
    reg(rdi) = 0x2000;
    rep_ins(3);
    EXPECT_EQ(get<std::uint32_t>(0x2000), 0x00ff'ffffu);
    EXPECT_EQ(reg(rdi), 0x2003u);
    EXPECT_EQ(reg(rcx), 0u);
    EXPECT_EQ(vcpu().registers.rip, 0x1002u);
    vcpu().registers.rflags |= 1 << 10;
    code({0xf3, 0x66, 0x6d});
    reg(rdi) = 0x3004;
    rep_ins(2, 2);
    EXPECT_EQ(get<std::uint64_t>(0x3000), 0x0000'ffff'ffff'0000u);
    EXPECT_EQ(reg(rdi), 0x3000u);
}

TEST_F(StringPort, DoesNothingForACountOfZero)
{
    code({0xf3, 0x6c});
    reg(rdi) = 0x2000;
    rep_ins(0);
    EXPECT_EQ(get<std::uint32_t>(0x2000), 0u);
    EXPECT_EQ(reg(rdi), 0x2000u);
    EXPECT_EQ(vcpu().registers.rip, 0x1002u);
}

TEST_F(StringPort, GivesWayAmongManyElementsAndGoesOnWhereItWas)
{
    code({0xf3, 0x6c});
    reg(rdi) = 0x2000;
    rep_ins(150);
    unsigned exits_needed{1};
    for (; vcpu().registers.rip == 0x1000 && exits_needed < 10; ++exits_needed) {
        EXPECT_EQ(reg(rdi) - 0x2000 + reg(rcx), 150u);
        port(nobody, 1, true, true, true, 2);
    }
    EXPECT_EQ(exits_needed, 3u);
    EXPECT_EQ(reg(rcx), 0u);
    EXPECT_EQ(get<std::uint8_t>(0x2000 + 149), 0xff);
    EXPECT_EQ(get<std::uint8_t>(0x2000 + 150), 0);
}

TEST_F(StringPort, Counts16BitRegistersIn16BitsAndLeavesTheirUpperHalves)
{
    flat(code_16);
    guest().system.segments[segment_es].base = 0x2'0000;
    code({0xf3, 0x6c});
    reg(rdi) = 0xabcd'ffff;
    reg(rcx) = 0x7777'0002;
    port(nobody, 1, true, true, true, 2);
    EXPECT_EQ(reg(rdi), 0xabcd'0001u);
    EXPECT_EQ(reg(rcx), 0x7777'0000u);
    EXPECT_EQ(get<std::uint8_t>(0x2'ffff), 0xff);
    EXPECT_EQ(get<std::uint8_t>(0x2'0000), 0xff) << "the offset wraps within the segment";
    EXPECT_EQ(get<std::uint8_t>(0x3'0000), 0);
}

TEST_F(StringPort, TakesOutsFromTheSegmentThatItsPrefixNames)
{
    guest().system.segments[segment_ds].base = 0x2'0000;
    guest().system.segments[segment_fs].base = 0x3'0000;
    put<std::uint8_t>(0x2'0040, 0x11);
    put<std::uint8_t>(0x3'0040, 0x22);
    reg(rsi) = 0x40;
    code({0x6e, 0x64, 0x6e});
    port(scratch, 1, false, true);
    EXPECT_EQ(last_written(), 0x11);
    EXPECT_EQ(reg(rsi), 0x41u);
    reg(rsi) = 0x40;
    port(scratch, 1, false, true, false, 2);
    EXPECT_EQ(last_written(), 0x22);
    EXPECT_EQ(vcpu().registers.rip, 0x1003u);
}

TEST_F(StringPort, StopsAtAPageFaultWithWhatWasMovedCounted)
{
    long_mode();
    put<std::uint64_t>(0x1'3000 + 8 * 0x41, 0x4'1000 | 5);  // linear 0x41000: read-only
    code({0xf3, 0x6c});
    reg(rdi) = 0x4'0ffe;
    rep_ins(5);
    EXPECT_EQ(reg(rdi), 0x4'1000u);
    EXPECT_EQ(reg(rcx), 3u);
    EXPECT_EQ(vcpu().registers.rip, 0x1000u);
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 14);
    EXPECT_EQ(guest().delivered[0].error_code, 3u) << "present, write";
    EXPECT_EQ(guest().system.cr2, 0x4'1000u);
    EXPECT_EQ(get<std::uint64_t>(0x1'3000 + 8 * 0x40) & 0x60, 0x60u) << "accessed and dirty";
    EXPECT_EQ(get<std::uint64_t>(0x1'3000 + 8 * 0x41) & 0x40, 0u);
}

TEST_F(StringPort, FollowsTheTablesForBothPagesOfOneElement)
{
    long_mode();
    put<std::uint64_t>(0x1'3000 + 8 * 0x41, 0x7'7000 | 7);
    put<std::uint8_t>(0x4'0fff, 0x11);
    put<std::uint8_t>(0x4'1000, 0x22);
    put<std::uint8_t>(0x7'7000, 0x33);
    code({0x66, 0x6f});
    reg(rsi) = 0x4'0fff;
    port(scratch - 1, 2, false, true, false, 2);
    EXPECT_EQ(last_written(), 0x33);
    code({0x6d}, 0x1002);
    reg(rdi) = 0x4'0ffd;
    port(nobody, 4, true, true, false, 1);
    EXPECT_EQ(get<std::uint8_t>(0x7'7000), 0xff);
    EXPECT_EQ(get<std::uint8_t>(0x4'1000), 0x22);
    EXPECT_EQ(get<std::uint64_t>(0x1'3000 + 8 * 0x41) & 0x60, 0x60u);
}

TEST_F(StringPort, FaultsOnTheSecondPageBeforeThePortIsTouched)
{
    long_mode();
    put<std::uint64_t>(0x1'3000 + 8 * 0x41, 0);
    code({0x6d});
    reg(rdi) = 0x4'0ffe;
    port(nobody, 4, true, true);
    EXPECT_EQ(delivered(), std::vector<unsigned>{14});
    EXPECT_EQ(guest().system.cr2, 0x4'1000u);
    EXPECT_EQ(get<std::uint16_t>(0x4'0ffe), 0);
    for (const auto& slot : vcpu().exits.ports.reads.read())
        EXPECT_EQ(slot.count, 0u);
}
