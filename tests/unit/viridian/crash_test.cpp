// SPDX-License-Identifier: MIT
#include "guest.hpp"

namespace hv::viridian::test {
namespace {

constexpr std::uint32_t control{tlfs::HV_X64_MSR_CRASH_CTL};
constexpr std::uint64_t notify{1ull << 63};
constexpr std::uint64_t message{1ull << 62};

class ViridianCrash : public testing::Test {
protected:
    void SetUp() override { ASSERT_TRUE(guest.create()); }
    void put_parameters(std::initializer_list<std::uint64_t> values)
    {
        std::uint32_t msr{tlfs::HV_X64_MSR_CRASH_P0};
        for (const std::uint64_t value : values)
            ASSERT_TRUE(guest.module.write_msr(msr++, value));
    }
    void put_text(std::uint64_t address, std::string text)
    {
        ASSERT_TRUE(guest.host.copy(address, text.data(), text.size(), true));
        put_parameters({0, 0, 0, address, text.size()});
    }
    bool logged(const std::string& line) const
    {
        return std::ranges::find(guest.host.log, line) != guest.host.log.end();
    }

    Guest guest;
};

TEST_F(ViridianCrash, OfNumbersEndsTheDomainWithThem)
{
    put_parameters({0x1e, 2, 0xffff'8000'1234'5678, 4, 5});
    ASSERT_TRUE(guest.module.write_msr(control, notify));
    ASSERT_TRUE(guest.host.shutdown);
    EXPECT_EQ(guest.host.shutdown->reason, abi::ShutdownReason::crash);
    EXPECT_EQ(guest.host.shutdown->text, "the guest reports a crash: 0x1e 0x2 0xffff800012345678 0x4 0x5");
    EXPECT_TRUE(logged(guest.host.shutdown->text));
}

TEST_F(ViridianCrash, OfATextEndsTheDomainWithTheLineThatTellsOfThePanic)
{
    put_text(
        0xa000,
        "[ 0.1] Command line: panic=-1\n[ 2.5] Kernel panic - not syncing: no init\n[ 2.6]  panic+0x1/0x2\n");
    ASSERT_TRUE(guest.module.write_msr(control, notify | message));
    ASSERT_TRUE(guest.host.shutdown);
    EXPECT_EQ(guest.host.shutdown->text, "[ 2.5] Kernel panic - not syncing: no init");
    EXPECT_TRUE(logged("guest: [ 2.5] Kernel panic - not syncing: no init"));
    EXPECT_FALSE(logged("guest: [ 0.1] Command line: panic=-1"));  // what came before would fill the log
    EXPECT_TRUE(logged("guest: [ 2.6]  panic+0x1/0x2"));
}

TEST_F(ViridianCrash, OfATextThatTellsOfNoPanicEndsWithItsLastLine)
{
    put_text(0xa000, "one\n\ntwo");
    ASSERT_TRUE(guest.module.write_msr(control, notify | message));
    EXPECT_EQ(guest.host.shutdown->text, "two");
    EXPECT_TRUE(logged("guest: one"));
    EXPECT_TRUE(logged("guest: two"));
}

TEST_F(ViridianCrash, ShowsBytesThatAreNoTextAsDots)
{
    put_text(0xa000, "a\x1b[31mb\xff");
    ASSERT_TRUE(guest.module.write_msr(control, notify | message));
    EXPECT_EQ(guest.host.shutdown->text, "a.[31mb.");
}

TEST_F(ViridianCrash, OfATextThatLiesNowhereEndsWithTheNumbers)
{
    put_parameters({1, 2, 3, ~0ull - 10, 4096});
    ASSERT_TRUE(guest.module.write_msr(control, notify | message));
    EXPECT_EQ(guest.host.shutdown->text, "the guest reports a crash: 0x1 0x2 0x3 0xfffffffffffffff5 0x1000");
}

TEST_F(ViridianCrash, ReadsNoMoreOfATextThanAPage)
{
    put_text(0xa000, std::string(4096, 'x') + "\nbeyond");
    put_parameters({0, 0, 0, 0xa000, ~0ull});
    ASSERT_TRUE(guest.module.write_msr(control, notify | message));
    EXPECT_EQ(guest.host.shutdown->text, std::string(200, 'x'));
}

TEST_F(ViridianCrash, IsNotReportedByTheMessageBitAlone)
{
    put_text(0xa000, "one");
    ASSERT_TRUE(guest.module.write_msr(control, message));
    ASSERT_TRUE(guest.module.write_msr(control, 0));
    EXPECT_FALSE(guest.host.shutdown);
    EXPECT_TRUE(guest.host.log.empty());
}

}  // namespace
}  // namespace hv::viridian::test
