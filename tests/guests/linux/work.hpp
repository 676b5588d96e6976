// SPDX-License-Identifier: MIT
//
// What the threads of a stress run do, and what they count.
#pragma once

#include <atomic>
#include <cstdint>

#include "crew.hpp"

namespace stress {

struct Counts {
    std::atomic<std::uint64_t> remaps{0};       // a page put in the place of another
    std::atomic<std::uint64_t> reads{0};        // of that place, on all processors
    std::atomic<std::uint64_t> stale{0};        // reads that found a page which was no longer there
    std::atomic<std::uint64_t> protections{0};  // a page made read-only, and writable again
    std::atomic<std::uint64_t> faults{0};       // writes that met the page read-only
    std::atomic<std::uint64_t> late{0};         // words that changed while it was read-only
    std::atomic<std::uint64_t> wakeups{0};      // turns that one thread gave another, on another processor
    std::atomic<std::uint64_t> sleeps{0};       // one-shot timers that came
    std::atomic<std::uint64_t> periods{0};      // expirations of periodic timers
};

// Replaces one page again and again, while every processor reads it.
void replace_pages(Crew& crew, Counts& counts);

// Makes one page read-only and writable again, while every processor writes to it.
void protect_pages(Crew& crew, Counts& counts);

// Pairs of threads that wake each other, a sleeper and a reader of a periodic timer on each processor.
void wait_for_each_other(Crew& crew, Counts& counts);
void wait_for_timers(Crew& crew, Counts& counts);

}  // namespace stress
