// SPDX-License-Identifier: MIT
//
// guest-stress SECONDS: puts a Linux guest under the load that shows what its hypervisor loses: translations that are not
// flushed on every processor, wake-ups, timers.  Says each second that it goes on, and at the end what it counted; status 0
// when all is as the kernel promises, 1 when not, 2 for a wrong word.
#include <charconv>
#include <cstdio>
#include <cstring>

#include "work.hpp"

namespace {

using namespace stress;

constexpr unsigned patience = 120;  // seconds: longer than any host is slow

void say(const Counts& counts)
{
    const auto value = [](const std::atomic<std::uint64_t>& count) {
        return static_cast<unsigned long long>(count.load());
    };
    std::printf("guest: stress: remaps: %llu, %llu reads, %llu stale\n", value(counts.remaps), value(counts.reads),
                value(counts.stale));
    std::printf("guest: stress: protections: %llu, %llu faults, %llu late\n", value(counts.protections),
                value(counts.faults), value(counts.late));
    std::printf("guest: stress: wake-ups: %llu\n", value(counts.wakeups));
    std::printf("guest: stress: timers: %llu one-shot, %llu periods\n", value(counts.sleeps), value(counts.periods));
}

int run(unsigned seconds)
{
    static Crew crew;  // a thread that is stuck outlives this function
    static Counts counts;
    replace_pages(crew, counts);
    protect_pages(crew, counts);
    wait_for_each_other(crew, counts);
    wait_for_timers(crew, counts);
    for (unsigned second = 0; second < seconds; ++second) {
        std::printf("guest: stress: second %u of %u on %u processors\n", second + 1, seconds, Crew::processors());
        std::this_thread::sleep_for(std::chrono::seconds(1));
    }
    const std::string stuck = crew.end(patience);
    say(counts);
    std::printf("guest: stress: stuck: %s\n", stuck.empty() ? "none" : stuck.c_str());
    const bool good = stuck.empty() && counts.stale == 0 && counts.late == 0;
    std::printf("guest: stress: %s\n", good ? "good" : "FAILED");
    std::fflush(stdout);
    return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv)
{
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    unsigned seconds = 0;
    const char* word = argc == 2 ? argv[1] : "";
    const char* end = word + std::strlen(word);
    if (std::from_chars(word, end, seconds).ptr != end || seconds == 0) {
        std::fprintf(stderr, "guest-stress: wants one number of seconds, not '%s'\n", word);
        return 2;
    }
    const int status = run(seconds);
    std::_Exit(status);
}
