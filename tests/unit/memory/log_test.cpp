// SPDX-License-Identifier: MIT
#include "hv/core/diag/log.hpp"

#include <gtest/gtest.h>

#include <array>

#include "fake_platform.hpp"
#include "hv/core/diag/ring.hpp"

using namespace hv;
using namespace hv::core;

namespace {

std::string read_all(std::uint64_t& cursor)
{
    std::string text;
    std::array<char, 100> buffer{};
    while (const std::size_t count = read_log(cursor, buffer))
        text.append(buffer.data(), count);
    return text;
}

class LogTest : public testing::Test {
protected:
    void SetUp() override
    {
        fake::reset_platform(4);
        set_log_level(LogLevel::info);
        cursor = log_end();
    }
    std::uint64_t cursor{};
};

}  // namespace

TEST_F(LogTest, WritesLevelTimeAndProcessor)
{
    fake::set_ticks(3'000'041'500);
    fake::set_current_processor(2);
    log_warning("domain ", 5, " is ", Hex{0x1f}, " odd");
    EXPECT_EQ(read_all(cursor), "[3.000041 2] warning: domain 5 is 0x1f odd\n");
    EXPECT_EQ(fake::console(), "[3.000041 2] warning: domain 5 is 0x1f odd\n");
    EXPECT_EQ(read_all(cursor), "");
}

TEST_F(LogTest, FillsMicrosecondsWithZeroes)
{
    log_info("x");
    fake::set_ticks(10'000);
    log_info("y");
    fake::set_ticks(1'234'567'000);
    log_info("z");
    EXPECT_EQ(read_all(cursor), "[0.000000 0] info: x\n[0.000010 0] info: y\n[1.234567 0] info: z\n");
}

TEST_F(LogTest, KeepsOnlyWhatMattersEnough)
{
    log_debug("not yet");
    set_log_level(LogLevel::debug);
    log_debug("now");
    set_log_level(LogLevel::error);
    log_warning("not any more");
    EXPECT_EQ(read_all(cursor), "[0.000000 0] debug: now\n");
}

TEST_F(LogTest, NoTextCanForgeALineOrDriveATerminal)
{
    log_text(LogLevel::info, "a\n[9.0 0] error: b\x1b[2J");
    EXPECT_EQ(read_all(cursor), "[0.000000 0] info: a?[9.0 0] error: b?[2J\n");
}

TEST_F(LogTest, CutsWhatIsTooLong)
{
    log_text(LogLevel::info, std::string(1000, 'x'));
    EXPECT_EQ(read_all(cursor), "[0.000000 0] info: " + std::string(maximum_log_text, 'x') + "\n");
}

TEST_F(LogTest, AReaderWhoWasAwayGoesOnAtTheOldestWholeLine)
{
    for (int line = 0; line < 3000; ++line)
        log_info("line ", line, ' ', std::string_view{"0123456789012345678901234567890"});
    const std::uint64_t old = cursor;
    const std::string text = read_all(cursor);
    EXPECT_GT(cursor - text.size(), old);
    EXPECT_LE(text.size(), log_ring_bytes);
    EXPECT_TRUE(text.starts_with("[0.000000 0] info: line "));
    EXPECT_TRUE(text.ends_with("line 2999 0123456789012345678901234567890\n"));
}

TEST_F(LogTest, ACursorFromTheFutureIsPutAtTheEnd)
{
    cursor = ~0ull;
    EXPECT_EQ(read_all(cursor), "");
    EXPECT_EQ(cursor, log_end());
    log_info("next");
    EXPECT_EQ(read_all(cursor), "[0.000000 0] info: next\n");
}

TEST_F(LogTest, AGuestsMessageIsSaidOncePerDomain)
{
    OncePerDomain domains[2];
    for (int round = 0; round < 3; ++round)
        for (OncePerDomain& domain : domains)
            domain.log(LogLevel::info, "the guest did it");
    EXPECT_EQ(read_all(cursor), "[0.000000 0] info: the guest did it\n[0.000000 0] info: the guest did it\n");
}

TEST(TextRing, IsEmptyForAReaderWhoHasReadEverything)
{
    std::array<char, 8> storage{};
    TextRing ring{storage};
    std::array<char, 8> buffer{};
    std::uint64_t cursor{0};
    EXPECT_EQ(ring.read(cursor, buffer), 0);
    ring.append("ab\n");
    EXPECT_EQ(ring.read(cursor, buffer), 3);
    EXPECT_EQ(ring.read(cursor, buffer), 0);
    ring.append("0123456789");  // a line longer than the ring: nothing of it can be told
    EXPECT_EQ(ring.read(cursor, buffer), 0);
    EXPECT_EQ(cursor, ring.end());
}
