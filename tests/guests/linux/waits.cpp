// SPDX-License-Identifier: MIT
//
// Lost wake-ups and lost timers.  Nobody here waits with a limit: who is not woken stays, and is found at the end of the run.
#include <memory>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "work.hpp"

namespace stress {

namespace {

// Two threads that take turns: the turn's number is even for one and odd for the other.
struct Turns {
    std::atomic<std::uint32_t> number{0};
    std::atomic<bool> left{false};  // one of the two has gone: the other need not wait
};

void take_turns(Crew& crew, Counts& counts, Turns& turns, std::uint32_t mine)
{
    while (!crew.over() && !turns.left) {
        const std::uint32_t now = turns.number;
        if (now % 2 != mine) {
            turns.number.wait(now);
            continue;
        }
        turns.number = now + 1;
        turns.number.notify_all();
        ++counts.wakeups;
    }
    turns.left = true;
    ++turns.number;
    turns.number.notify_all();
}

void sleep_shortly(Crew& crew, Counts& counts)
{
    for (long nanoseconds = 100'000; !crew.over(); nanoseconds = nanoseconds % 5'000'000 + 370'000) {
        const timespec time{0, nanoseconds};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
        ++counts.sleeps;
    }
}

void count_periods(Crew& crew, Counts& counts)
{
    const int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    const itimerspec period{{0, 10'000'000}, {0, 10'000'000}};
    if (timer < 0 || timerfd_settime(timer, 0, &period, nullptr) != 0)
        _exit(3);
    std::uint64_t expirations = 0;
    while (!crew.over() && read(timer, &expirations, sizeof expirations) == sizeof expirations)
        counts.periods += expirations;
    close(timer);
}

}  // namespace

void wait_for_each_other(Crew& crew, Counts& counts)
{
    for (unsigned processor = 0; processor < Crew::processors(); ++processor) {
        const auto turns = std::make_shared<Turns>();
        const std::string name = "pair " + std::to_string(processor);
        crew.start(name + "a", processor, [&crew, &counts, turns] { take_turns(crew, counts, *turns, 0); });
        crew.start(name + "b", processor + 1, [&crew, &counts, turns] { take_turns(crew, counts, *turns, 1); });
    }
}

void wait_for_timers(Crew& crew, Counts& counts)
{
    for (unsigned processor = 0; processor < Crew::processors(); ++processor) {
        crew.start("sleeper " + std::to_string(processor), processor, [&] { sleep_shortly(crew, counts); });
        crew.start("periods " + std::to_string(processor), processor, [&] { count_periods(crew, counts); });
    }
}

}  // namespace stress
