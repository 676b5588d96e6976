// SPDX-License-Identifier: MIT
//
// Threads bound to processors, and who of them does not end.
#include "crew.hpp"

#include <chrono>
#include <sched.h>
#include <unistd.h>
#include <utility>

namespace stress {

namespace {

void stay_on(unsigned processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor % Crew::processors(), &set);
    sched_setaffinity(0, sizeof set, &set);
}

}  // namespace

void Crew::give_way()
{
    if (nice(10) == -1)  // which Linux takes for the thread; -1 is no level that we can come to
        _exit(3);
}

unsigned Crew::processors()
{
    static const unsigned count = std::thread::hardware_concurrency();
    return count == 0 ? 1 : count;
}

void Crew::start(std::string name, unsigned processor, std::function<void()> work)
{
    Member& member = members_.emplace_back();
    member.name = std::move(name);
    member.thread = std::thread([&member, processor, work = std::move(work)] {
        stay_on(processor);
        work();
        member.ended = true;
    });
}

std::string Crew::end(unsigned patience)
{
    over_ = true;
    std::string stuck;
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(patience);
    for (Member& member : members_) {
        while (!member.ended && std::chrono::steady_clock::now() < limit)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        if (member.ended)
            member.thread.join();
        else {
            member.thread.detach();
            stuck += (stuck.empty() ? "" : ", ") + member.name;
        }
    }
    return stuck;
}

}  // namespace stress
