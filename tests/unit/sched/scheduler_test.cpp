// SPDX-License-Identifier: MIT
//
// The scheduler with a clock that the test moves: shares, wake-ups, blockers, stealing and caps, over simulated seconds.
#include "hv/core/sched/scheduler.hpp"

#include "fake_platform.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <set>
#include <vector>

using namespace hv;
using namespace hv::core;

namespace {

constexpr std::uint64_t second{1'000'000'000};
std::set<unsigned> attended;

void attention(unsigned processor) { attended.insert(processor); }

class SchedulerTest : public testing::Test {
protected:
    void start(unsigned guest_processors)
    {
        fake::reset_platform(guest_processors + 1);
        attended.clear();
        scheduler.initialise(1, guest_processors, second, attention);
        processors = guest_processors;
    }
    void ready(Schedulable& entity)
    {
        scheduler.attach(entity);
        scheduler.unblock(entity, Blocker::paused);
    }
    /// Every processor runs what it picks until it should yield, in steps of 100 µs of common time.
    void run_for(std::uint64_t duration)
    {
        std::vector<Schedulable*> running(processors + 1);
        for (const std::uint64_t end = now + duration; now < end; now += second / 10'000)
            for (unsigned processor = 1; processor <= processors; ++processor) {
                fake::set_current_processor(processor);
                fake::set_ticks(now);
                if (running[processor] != nullptr && scheduler.should_yield(*running[processor], now)) {
                    scheduler.put_back(*running[processor], now);
                    running[processor] = nullptr;
                }
                if (running[processor] == nullptr)
                    running[processor] = scheduler.pick(now);
            }
        for (unsigned processor = 1; processor <= processors; ++processor) {
            fake::set_current_processor(processor);
            if (running[processor] != nullptr)
                scheduler.put_back(*running[processor], now);
        }
    }
    static double share(const Schedulable& entity, std::uint64_t of)
    {
        return 100.0 * static_cast<double>(entity.ticks_run()) / static_cast<double>(of);
    }

    Scheduler scheduler;
    unsigned processors{};
    std::uint64_t now{second};
};

}  // namespace

TEST_F(SchedulerTest, GivesTwoBusyEntitiesHalfOfAProcessorEach)
{
    start(1);
    Schedulable a, b;
    ready(a);
    ready(b);
    run_for(second);
    EXPECT_NEAR(share(a, second), 50, 2);
    EXPECT_NEAR(share(b, second), 50, 2);
    scheduler.block(a, Blocker::stopped);
    scheduler.block(b, Blocker::stopped);
}

TEST_F(SchedulerTest, SharesByWeight)
{
    start(1);
    Schedulable heavy, light;
    heavy.weight = 768;
    ready(heavy);
    ready(light);
    run_for(4 * second);
    EXPECT_NEAR(share(heavy, 4 * second), 75, 2);
    EXPECT_NEAR(share(light, 4 * second), 25, 2);
    scheduler.block(heavy, Blocker::stopped);
    scheduler.block(light, Blocker::stopped);
}

TEST_F(SchedulerTest, KeepsACapAlsoOnAnIdleProcessor)
{
    start(1);
    Schedulable capped;
    capped.cap_percent = 25;
    ready(capped);
    run_for(4 * second);
    EXPECT_NEAR(share(capped, 4 * second), 25, 1);
    scheduler.block(capped, Blocker::stopped);
}

TEST_F(SchedulerTest, KeepsACapWhereAnotherProcessorIsIdle)
{
    start(3);
    Schedulable a, b;
    a.cap_percent = b.cap_percent = 25;
    a.affinity = b.affinity = ~0ull;
    ready(a);
    ready(b);
    run_for(4 * second);
    EXPECT_NEAR(share(a, 4 * second), 25, 1);
    EXPECT_NEAR(share(b, 4 * second), 25, 1);
    scheduler.block(a, Blocker::stopped);
    scheduler.block(b, Blocker::stopped);
}

TEST_F(SchedulerTest, GivesWorkThatWaitsToAnIdleProcessor)
{
    start(2);
    Schedulable a, b;
    a.affinity = b.affinity = ~0ull;
    ready(a);
    ready(b);
    run_for(second);
    EXPECT_GT(share(a, second), 98);
    EXPECT_GT(share(b, second), 98);
    scheduler.block(a, Blocker::stopped);
    scheduler.block(b, Blocker::stopped);
}

TEST_F(SchedulerTest, TellsTheTimeSpentInEachRunState)
{
    start(1);
    const auto at = [this](std::uint64_t ticks) {
        now = second + ticks;
        fake::set_ticks(now);
    };
    at(0);
    Schedulable entity;
    scheduler.attach(entity);
    at(10);
    scheduler.unblock(entity, Blocker::paused);  // 10 offline
    at(30);
    fake::set_current_processor(1);
    ASSERT_EQ(scheduler.pick(now), &entity);  // 20 runnable
    at(70);
    scheduler.block(entity, Blocker::halted);  // it still runs
    at(100);
    scheduler.put_back(entity, now);  // 70 running
    at(150);
    EXPECT_EQ(scheduler.run_times(entity, now).now, RunState::blocked);
    scheduler.block(entity, Blocker::paused);  // 50 blocked
    at(250);
    scheduler.unblock(entity, Blocker::paused);  // 100 offline
    at(251);
    scheduler.unblock(entity, Blocker::halted);  // 1 blocked
    at(256);
    const RunTimes times = scheduler.run_times(entity, now);  // 5 runnable
    EXPECT_EQ(times.ticks, (std::array<std::uint64_t, 4>{70, 25, 51, 110}));
    EXPECT_EQ(times.now, RunState::runnable);
    EXPECT_EQ(times.since, second + 251);
    EXPECT_EQ(entity.ticks_run(), times.ticks[0]);
    scheduler.block(entity, Blocker::stopped);
}

TEST_F(SchedulerTest, CountsTheRunStatesOfWhatIsStolenToo)
{
    start(2);
    Schedulable a, b;
    a.affinity = b.affinity = 1u << 1;
    ready(a);
    ready(b);
    a.affinity = b.affinity = ~0ull;
    run_for(second);
    for (const Schedulable* one : {&a, &b}) {
        const RunTimes times = scheduler.run_times(*one, now);
        EXPECT_EQ(times.ticks[0], one->ticks_run());
        EXPECT_GT(times.ticks[0], second / 100 * 98);
    }
    scheduler.block(a, Blocker::stopped);
    scheduler.block(b, Blocker::stopped);
}

TEST_F(SchedulerTest, RespectsAffinity)
{
    start(2);
    Schedulable a, b;
    a.affinity = b.affinity = 1u << 2;
    ready(a);
    ready(b);
    run_for(second);
    EXPECT_NEAR(share(a, second), 50, 2);
    EXPECT_NEAR(share(b, second), 50, 2);
    EXPECT_EQ(a.processor(), 2u);
    scheduler.block(a, Blocker::stopped);
    scheduler.block(b, Blocker::stopped);
}

TEST_F(SchedulerTest, DoesNotLetASleeperSaveUpTime)
{
    start(1);
    Schedulable busy, sleeper;
    ready(busy);
    scheduler.attach(sleeper);
    run_for(3 * second);
    const std::uint64_t before = busy.ticks_run();
    scheduler.unblock(sleeper, Blocker::paused);
    run_for(second);
    EXPECT_NEAR(share(sleeper, second), 50, 2);
    EXPECT_NEAR(100.0 * static_cast<double>(busy.ticks_run() - before) / second, 50, 2);
    scheduler.block(busy, Blocker::stopped);
    scheduler.block(sleeper, Blocker::stopped);
}

TEST_F(SchedulerTest, DoesNotHaltWhenAnEventCameFirst)
{
    start(1);
    Schedulable entity;
    ready(entity);
    fake::set_current_processor(1);
    ASSERT_EQ(scheduler.pick(now), &entity);
    scheduler.block_unless(entity, Blocker::halted, [](const Schedulable&) { return true; });
    EXPECT_TRUE(entity.runnable());
    scheduler.block_unless(entity, Blocker::halted, [](const Schedulable&) { return false; });
    EXPECT_FALSE(entity.runnable());
    scheduler.unblock(entity, Blocker::halted);
    EXPECT_TRUE(entity.runnable());
    scheduler.put_back(entity, now);
    EXPECT_EQ(scheduler.pick(now), &entity);
    scheduler.block(entity, Blocker::stopped);
    scheduler.put_back(entity, now);
    EXPECT_EQ(scheduler.pick(now), nullptr);
}

TEST_F(SchedulerTest, RunsOnlyWhatNothingBlocks)
{
    start(1);
    Schedulable entity;
    ready(entity);
    scheduler.block(entity, Blocker::paused);
    scheduler.block(entity, Blocker::halted);
    scheduler.unblock(entity, Blocker::paused);
    fake::set_current_processor(1);
    EXPECT_EQ(scheduler.pick(now), nullptr);
    scheduler.unblock(entity, Blocker::halted);
    EXPECT_EQ(scheduler.pick(now), &entity);
    scheduler.block(entity, Blocker::stopped);
    scheduler.put_back(entity, now);
}

TEST_F(SchedulerTest, WakesTheProcessorOfWhatBecomesReady)
{
    start(2);
    Schedulable entity;
    entity.affinity = 1u << 2;
    scheduler.attach(entity);
    attended.clear();
    scheduler.unblock(entity, Blocker::paused);
    EXPECT_TRUE(attended.contains(2));
    scheduler.block(entity, Blocker::stopped);
}

TEST_F(SchedulerTest, KeepsACapThatIsNoWholeNumberOfSlicesBesideABusyEntity)
{
    start(1);
    Schedulable capped, busy;
    capped.cap_percent = 12;
    ready(capped);
    ready(busy);
    run_for(4 * second);
    EXPECT_NEAR(share(capped, 4 * second), 12, 1);
    EXPECT_NEAR(share(busy, 4 * second), 88, 1);
    scheduler.block(capped, Blocker::stopped);
    scheduler.block(busy, Blocker::stopped);
}

namespace {

struct Crowd {
    unsigned processors;
    std::vector<std::uint32_t> weights;
    std::vector<double> percent;  ///< of one processor, for each
};

}  // namespace

/// More entities than processors, none of which ever sleeps: nobody is idle, and shares are even all the same.
TEST_F(SchedulerTest, SharesEvenlyAmongMoreEntitiesThanProcessors)
{
    const std::vector<Crowd> crowds{
        {2, {256, 256, 256}, {66.7, 66.7, 66.7}},
        {2, {256, 256, 256, 256, 256}, {40, 40, 40, 40, 40}},
        {3, {256, 256, 256, 256}, {75, 75, 75, 75}},
        {4, {256, 256, 256, 256, 256, 256, 256}, {57.1, 57.1, 57.1, 57.1, 57.1, 57.1, 57.1}},
        {2, {768, 256, 256}, {100, 50, 50}},  // more than one processor cannot be had
        {2, {256, 256}, {100, 100}},
    };
    for (const Crowd& crowd : crowds) {
        SCOPED_TRACE(crowd.weights.size());
        start(crowd.processors);
        std::vector<Schedulable> entities(crowd.weights.size());
        for (std::size_t at = 0; at < entities.size(); ++at) {
            entities[at].weight = crowd.weights[at];
            ready(entities[at]);
        }
        run_for(5 * second);
        for (std::size_t at = 0; at < entities.size(); ++at)
            EXPECT_NEAR(share(entities[at], 5 * second), crowd.percent[at], 4) << at;
        for (Schedulable& entity : entities)
            scheduler.block(entity, Blocker::stopped);
    }
}

TEST_F(SchedulerTest, HandsNothingOverThatMayNotRunThere)
{
    start(2);
    Schedulable a, b, c;
    a.affinity = b.affinity = 1u << 1;
    c.affinity = 1u << 2;
    ready(a);
    ready(b);
    ready(c);
    run_for(second);
    EXPECT_NEAR(share(a, second), 50, 2);
    EXPECT_NEAR(share(b, second), 50, 2);
    EXPECT_NEAR(share(c, second), 100, 2);
    for (Schedulable* const entity : {&a, &b, &c})
        scheduler.block(*entity, Blocker::stopped);
}

TEST_F(SchedulerTest, LeavesABalancedMachineAlone)
{
    start(2);
    std::vector<Schedulable> entities(4);
    for (Schedulable& entity : entities)
        ready(entity);
    run_for(second);
    std::vector<unsigned> places;
    for (const Schedulable& entity : entities)
        places.push_back(entity.processor());
    EXPECT_EQ(std::ranges::count(places, 1u), 2);
    for (unsigned round = 0; round < 10; ++round) {
        run_for(second / 10);
        for (std::size_t at = 0; at < entities.size(); ++at)
            EXPECT_EQ(entities[at].processor(), places[at]);
    }
    for (Schedulable& entity : entities)
        scheduler.block(entity, Blocker::stopped);
}
