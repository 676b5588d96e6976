// SPDX-License-Identifier: MIT
//
// Stale translations.  The kernel promises that mremap and mprotect have taken effect on every processor when they return;
// a processor whose translation was not flushed still reads the old page, or writes to one that is read-only.
#include <array>
#include <csignal>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "work.hpp"

namespace stress {

namespace {

constexpr std::size_t page_bytes = 4096;
constexpr std::uint64_t mark = 0x5ced'0000'0000'0000;  // of a word that we wrote; a page that went to another use has others
constexpr std::uint64_t mark_mask = 0xffff'0000'0000'0000;

volatile std::uint64_t* new_page()
{
    void* page = mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        _exit(3);
    return static_cast<volatile std::uint64_t*>(page);
}

void* address(volatile std::uint64_t* page)
{
    return const_cast<std::uint64_t*>(page);
}

void pause_for(long nanoseconds)
{
    const timespec time{0, nanoseconds};
    nanosleep(&time, nullptr);
}

struct Replaced {
    volatile std::uint64_t* place = new_page();
    std::atomic<std::uint64_t> generation{0};
};

void replace(Crew& crew, Counts& counts, Replaced& page)
{
    while (!crew.over()) {
        const std::uint64_t next = page.generation + 1;
        volatile std::uint64_t* fresh = new_page();
        *fresh = mark | next;
        if (mremap(address(fresh), page_bytes, page_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, address(page.place)) == MAP_FAILED)
            _exit(3);
        page.generation.store(next, std::memory_order_release);
        ++counts.remaps;
        if (next % 64 == 0)
            pause_for(100'000);
    }
}

void read_replaced(Crew& crew, Counts& counts, const Replaced& page)
{
    Crew::give_way();
    while (!crew.over()) {
        for (int turn = 0; turn < 1000; ++turn) {
            const std::uint64_t least = page.generation.load(std::memory_order_acquire);
            const std::uint64_t found = *page.place;
            if ((found & mark_mask) != mark || (found & ~mark_mask) < least)
                ++counts.stale;
        }
        counts.reads += 1000;
        sched_yield();
    }
}

// One for the process: a fault's handler has nothing else to find it by.
struct Protected {
    volatile std::uint64_t* place = nullptr;
    std::atomic<bool> read_only{false};
    std::atomic<std::uint64_t>* faults = nullptr;
} protected_page;

// Waits until the page is writable again, and lets the write be done once more; any other fault is the program's end.
void write_met_it(int, siginfo_t* fault, void*)
{
    if (fault->si_addr < address(protected_page.place) || fault->si_addr >= address(protected_page.place + page_bytes / 8)) {
        signal(SIGSEGV, SIG_DFL);
        return;
    }
    ++*protected_page.faults;
    while (protected_page.read_only)
        sched_yield();
}

void protect(Crew& crew, Counts& counts)
{
    Protected& page = protected_page;
    while (!crew.over()) {
        page.read_only = true;
        if (mprotect(address(page.place), page_bytes, PROT_READ) != 0)
            _exit(3);
        std::array<std::uint64_t, page_bytes / 8> seen;
        for (std::size_t at = 0; at < seen.size(); ++at)
            seen[at] = page.place[at];
        pause_for(200'000);  // the others get to their write
        for (std::size_t at = 0; at < seen.size(); ++at)
            if (page.place[at] != seen[at])
                ++counts.late;
        if (mprotect(address(page.place), page_bytes, PROT_READ | PROT_WRITE) != 0)
            _exit(3);
        page.read_only = false;
        ++counts.protections;
        pause_for(200'000);
    }
}

void write_protected(Crew& crew, std::size_t slot)
{
    Crew::give_way();
    while (!crew.over()) {
        for (int turn = 0; turn < 1000; ++turn)
            protected_page.place[slot] = protected_page.place[slot] + 1;
        sched_yield();
    }
}

}  // namespace

void replace_pages(Crew& crew, Counts& counts)
{
    static Replaced page;
    *page.place = mark;
    for (unsigned processor = 0; processor < Crew::processors(); ++processor)
        crew.start("reader " + std::to_string(processor), processor, [&] { read_replaced(crew, counts, page); });
    crew.start("replacing", 0, [&] { replace(crew, counts, page); });
}

void protect_pages(Crew& crew, Counts& counts)
{
    protected_page.place = new_page();
    protected_page.faults = &counts.faults;
    struct sigaction action{};
    action.sa_sigaction = write_met_it;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
    for (unsigned processor = 0; processor < Crew::processors(); ++processor)
        crew.start("writer " + std::to_string(processor), processor, [&crew, processor] { write_protected(crew, processor); });
    crew.start("protecting", 1, [&] { protect(crew, counts); });
}

}  // namespace stress
