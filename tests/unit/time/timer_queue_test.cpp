// SPDX-License-Identifier: MIT
//
// The timer queue against a sorted multimap: every timer fires once, in order, and none that was cancelled.
#include "hv/core/time/timer_queue.hpp"

#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <random>
#include <vector>

using namespace hv::core;

namespace {

struct Recorded final : Timer {
    Recorded(std::vector<int>& fired_, int number_) : Timer{expire}, fired{fired_}, number{number_} {}
    static void expire(Timer& self)
    {
        auto& timer = static_cast<Recorded&>(self);
        timer.fired.push_back(timer.number);
    }
    std::vector<int>& fired;
    int number;
};

}  // namespace

TEST(TimerQueue, FiresInOrderOfDeadlineAndOnlyOnce)
{
    std::vector<int> fired;
    TimerQueue queue;
    Recorded late{fired, 3}, early{fired, 1}, middle{fired, 2};
    queue.arm(late, 300);
    queue.arm(early, 100);
    queue.arm(middle, 200);
    EXPECT_EQ(queue.earliest(), 100u);
    queue.expire(99);
    EXPECT_TRUE(fired.empty());
    queue.expire(250);
    EXPECT_EQ(fired, (std::vector{1, 2}));
    EXPECT_EQ(queue.earliest(), 300u);
    queue.expire(1000);
    queue.expire(1000);
    EXPECT_EQ(fired, (std::vector{1, 2, 3}));
    EXPECT_EQ(queue.earliest(), TimerQueue::never);
}

TEST(TimerQueue, MovesATimerThatIsArmedAgainAlsoToAnotherQueue)
{
    std::vector<int> fired;
    TimerQueue first, second;
    Recorded timer{fired, 1};
    first.arm(timer, 100);
    first.arm(timer, 50);
    second.arm(timer, 70);
    first.expire(1000);
    EXPECT_TRUE(fired.empty());
    second.expire(70);
    EXPECT_EQ(fired, std::vector{1});
    EXPECT_FALSE(timer.armed());
}

TEST(TimerQueue, KnowsItsFirstTimerByTheDeadlineThatItWasMovedTo)
{
    std::vector<int> fired;
    TimerQueue queue;
    Recorded one{fired, 1}, other{fired, 2};
    queue.arm(one, 100);
    queue.arm(one, 150);  // alone
    EXPECT_EQ(queue.earliest(), 150u);
    queue.arm(other, 200);
    queue.arm(one, 120);  // still before the other
    EXPECT_EQ(queue.earliest(), 120u);
    queue.arm(one, 300);  // behind it
    EXPECT_EQ(queue.earliest(), 200u);
    queue.expire(250);
    EXPECT_EQ(fired, std::vector{2});
    queue.expire(300);
    EXPECT_EQ(fired, (std::vector{2, 1}));
}

TEST(TimerQueue, AgreesWithAModelOverRandomOperations)
{
    std::mt19937 random{20261120};
    std::vector<int> fired;
    TimerQueue queue;
    std::vector<std::unique_ptr<Recorded>> timers;
    for (int number = 0; number < 64; ++number)
        timers.push_back(std::make_unique<Recorded>(fired, number));
    std::map<int, std::uint64_t> model;
    std::uint64_t now{0};
    for (int step = 0; step < 200'000; ++step) {
        const int number = static_cast<int>(random() % 64);
        switch (random() % 4) {
        case 0:
        case 1: {
            const std::uint64_t deadline = now + random() % 1000 * 64 + static_cast<unsigned>(number);  // all distinct
            queue.arm(*timers[static_cast<std::size_t>(number)], deadline);
            model[number] = deadline;
            break;
        }
        case 2:
            TimerQueue::cancel(*timers[static_cast<std::size_t>(number)]);
            model.erase(number);
            break;
        default: {
            now += random() % 2000;
            std::multimap<std::uint64_t, int> due;
            for (auto it = model.begin(); it != model.end();) {
                if (it->second <= now) {
                    due.emplace(it->second, it->first);
                    it = model.erase(it);
                } else {
                    ++it;
                }
            }
            fired.clear();
            queue.expire(now);
            ASSERT_EQ(fired.size(), due.size());
            std::uint64_t previous{0};
            for (const int one : fired) {
                const std::uint64_t deadline = timers[static_cast<std::size_t>(one)]->deadline();
                ASSERT_LE(previous, deadline);
                previous = deadline;
            }
            break;
        }
        }
        std::uint64_t earliest{TimerQueue::never};
        for (const auto& [_, deadline] : model)
            earliest = std::min(earliest, deadline);
        ASSERT_EQ(queue.earliest(), earliest);
    }
    for (auto& timer : timers)
        TimerQueue::cancel(*timer);
}
