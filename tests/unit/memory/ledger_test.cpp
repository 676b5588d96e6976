// SPDX-License-Identifier: MIT
#include "hv/core/memory/ledger.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

using namespace hv;
using namespace hv::core;

TEST(Ledger, CountsWhatIsChargedAndRefunded)
{
    Ledger ledger;
    EXPECT_TRUE(ledger.charge(5));
    EXPECT_TRUE(ledger.charge(1));
    EXPECT_EQ(ledger.frames(), 6);
    ledger.refund(6);
    EXPECT_EQ(ledger.frames(), 0);
}

TEST(Ledger, RefusesWhatIsAboveTheLimitAndCountsNothing)
{
    Ledger ledger{10};
    ASSERT_TRUE(ledger.charge(8));
    EXPECT_EQ(ledger.charge(3).error(), Error::limit_reached);
    EXPECT_EQ(ledger.frames(), 8);
    EXPECT_EQ(ledger.charge(~0ull).error(), Error::limit_reached);  // a sum would wrap
    EXPECT_TRUE(ledger.charge(2));
    ledger.refund(10);
}

TEST(Ledger, ChargesItsParentAndRespectsItsLimit)
{
    Ledger domain{10};
    Ledger first{Ledger::unlimited, &domain};
    Ledger second{4, &domain};
    ASSERT_TRUE(first.charge(7));
    EXPECT_EQ(domain.frames(), 7);
    EXPECT_EQ(second.charge(4).error(), Error::limit_reached);  // the parent's limit
    EXPECT_EQ(second.frames(), 0);
    EXPECT_EQ(domain.frames(), 7);
    ASSERT_TRUE(second.charge(3));
    EXPECT_EQ(second.charge(2).error(), Error::limit_reached);
    first.refund(7);
    second.refund(3);
    EXPECT_EQ(domain.frames(), 0);
}

TEST(Ledger, ALowerLimitOnlyRefusesFurtherCharges)
{
    Ledger ledger{10};
    ASSERT_TRUE(ledger.charge(8));
    ledger.set_limit(4);
    EXPECT_FALSE(ledger.charge(1));
    ledger.refund(5);
    EXPECT_TRUE(ledger.charge(1));
    ledger.refund(4);
}

TEST(Ledger, IsExactWhenSeveralProcessorsChargeAtOnce)
{
    Ledger parent{1000};
    Ledger ledger{Ledger::unlimited, &parent};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread)
        threads.emplace_back([&] {
            for (int round = 0; round < 10'000; ++round)
                if (ledger.charge(400))
                    ledger.refund(400);
        });
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(ledger.frames(), 0);
    EXPECT_EQ(parent.frames(), 0);
}

TEST(LedgerDeathTest, MustReadZeroWhenItsOwnerIsGone)
{
    EXPECT_DEATH(
        {
            Ledger ledger;
            (void)ledger.charge(1);
        },
        "frames\\(\\) == 0");
    EXPECT_DEATH(
        {
            Ledger ledger;
            ledger.refund(1);
        },
        "held >= frames");
}
