// SPDX-License-Identifier: MIT
//
// Who runs next on which guest processor.  Each processor has a queue ordered by virtual time (ticks run, divided by
// weight): the least served runs for a slice.  An idle processor takes work that waits elsewhere, and one whose queue is
// heavier than another's hands over its best served from time to time, so that who has company changes.  Knows nothing of
// guests: what it schedules is a Schedulable, and when one may not run it has a blocker set.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "hv/base/intrusive_list.hpp"
#include "hv/core/platform/platform.hpp"
#include "hv/core/sync/spinlock.hpp"
#include "hv/core/time/timer_queue.hpp"

namespace hv::core {

/// Why a Schedulable may not run; one bit each.
enum class Blocker : std::uint32_t {
    halted = 1 << 0,          ///< executed HLT, waits for an event
    waiting_for_startup = 1 << 1,  ///< INIT was received, SIPI was not
    paused = 1 << 2,          ///< by the operator, or not started yet
    extension = 1 << 3,       ///< by an extension module
    stopped = 1 << 4,         ///< its domain has ended
    capped = 1 << 5,          ///< has used up its cap in this period
    swapping = 1 << 6,        ///< an extension of its domain is being swapped
    restarting = 1 << 7,      ///< an extension of its domain has failed, and gets a fresh instance
};

/// What a Schedulable does; the numbers are those of RunTimes::ticks.
enum class RunState : std::uint8_t {
    running,
    runnable,  ///< wants a processor and has none
    blocked,   ///< waits for an event, or for an extension
    offline,   ///< not started, stopped or paused
};

/// Host ticks in each run state since it was attached, those of the present one included.
struct RunTimes {
    std::array<std::uint64_t, 4> ticks;
    RunState now;
    std::uint64_t since;  ///< host tick at which the present state began
};

class Schedulable;

/// Hears of each change of a run state as it happens, at host tick `now`: on any processor, under the lock of the entity's queue.  It is short
/// and takes no lock.
using RunStateListener = void (*)(Schedulable& entity, RunState from, RunState to, std::uint64_t now);

class Schedulable : public ListNode {
public:
    static constexpr std::uint32_t default_weight{256};

    [[nodiscard]] bool runnable() const { return blockers_.load(std::memory_order_acquire) == 0; }
    [[nodiscard]] bool blocked_by(Blocker reason) const
    {
        return (blockers_.load(std::memory_order_acquire) & static_cast<std::uint32_t>(reason)) != 0;
    }
    [[nodiscard]] bool running() const { return running_.load(std::memory_order_acquire); }
    [[nodiscard]] unsigned processor() const { return processor_.load(std::memory_order_acquire); }
    [[nodiscard]] std::uint64_t ticks_run() const { return ticks_run_.load(std::memory_order_relaxed); }

    std::uint32_t weight{default_weight};  ///< share relative to others; 1 … 65535
    std::uint32_t cap_percent{};           ///< of one processor; 0: none
    std::uint64_t affinity{~0ull};         ///< processors that it may run on, a bit each
    std::atomic<RunStateListener> listener{};  ///< null: nobody

protected:
    [[nodiscard]] std::uint32_t blockers() const { return blockers_.load(std::memory_order_acquire); }

private:
    friend class Scheduler;
    std::atomic<std::uint32_t> blockers_{static_cast<std::uint32_t>(Blocker::paused)};
    std::atomic<bool> running_{};
    std::atomic<unsigned> processor_{};
    bool queued_{};
    std::uint64_t virtual_time_{};
    std::uint64_t dispatched_at_{};
    std::uint64_t period_{};       ///< the cap period that `period_ticks_` counts
    std::uint64_t period_ticks_{};
    std::uint64_t recent_{};       ///< virtual ticks run lately, halved with every window that has begun since
    std::uint64_t window_{};       ///< the window that `recent_` was last counted in
    std::atomic<std::uint64_t> ticks_run_{};
    RunTimes times_{{}, RunState::offline, 0};  ///< as of `since`; under its queue's lock
};

class Scheduler {
public:
    static constexpr std::uint64_t slices_per_second{200};
    static constexpr std::uint64_t cap_periods_per_second{10};
    static constexpr std::uint64_t slices_per_balance{4};   ///< between two hand-overs from or to a processor, at least
    static constexpr std::uint64_t slices_per_window{40};   ///< of what was run lately

    /// Makes a processor go through its main loop soon: look at its queue, its deadline, its entity's events.
    using Attention = void (*)(unsigned processor);

    /// Processors first … first+count-1 run guests.
    void initialise(unsigned first, unsigned count, std::uint64_t ticks_per_second, Attention attention);

    /// Gives `entity`, blocked and on no queue, to the least loaded processor that its affinity allows.
    void attach(Schedulable& entity);

    /// Adds a reason not to run.  If it runs now it is made to leave; wait_until_off tells when it has.
    void block(Schedulable& entity, Blocker reason);
    /// As block() by the processor that runs it, unless `has_event(entity)`: decided under the queue's lock, so
    /// that an event raised before unblock() is never missed.
    void block_unless(Schedulable& entity, Blocker reason, bool (*has_event)(const Schedulable&));
    /// Takes a reason away; with the last one it becomes ready, and its processor is woken if that matters.
    void unblock(Schedulable& entity, Blocker reason);
    /// Makes a running entity leave guest mode, to look at its pending events; no effect on others.
    void kick(Schedulable& entity);
    /// Returns when no processor runs the (blocked) entity.  Never called by the processor that runs it.
    static void wait_until_off(const Schedulable& entity);

    /// What it did until `now`.
    [[nodiscard]] RunTimes run_times(const Schedulable& entity, std::uint64_t now);

    /// The next to run on the calling processor, marked running; null: nothing is ready.
    [[nodiscard]] Schedulable* pick(std::uint64_t now);
    /// The calling processor stops running `entity`: its time is charged, and it is queued again if still runnable.
    void put_back(Schedulable& entity, std::uint64_t now);
    /// True when the running entity should give way: blocked, its slice is over and another waits, or a wake-up overtook it.
    [[nodiscard]] bool should_yield(const Schedulable& entity, std::uint64_t now) const;
    /// The calling processor's slice is over: if another waits, it is next.
    void end_slice() { queues_[platform::current_processor()].slice_end = 0; }
    /// When the calling processor must look again because of slices and caps; ~0: it need not.
    [[nodiscard]] std::uint64_t next_decision(std::uint64_t now) const;

private:
    struct Queue {
        Spinlock lock{};
        IntrusiveList<Schedulable> ready{};
        Schedulable* current{};
        std::atomic<std::uint32_t> load{};  ///< ready and running
        std::atomic<std::uint32_t> weight{};  ///< the sum of their weights
        std::atomic<std::uint64_t> balanced_at{};  ///< when one was last handed over from here or to here
        std::atomic<bool> waiting{};        ///< ready is not empty
        std::atomic<bool> preempt{};
        std::uint64_t virtual_now{};        ///< of the least served that ran last
        std::uint64_t slice_end{};
    };

    static std::uint64_t virtual_ticks(const Schedulable& entity, std::uint64_t ticks);
    static void advance_virtual_time(Queue& queue, const Schedulable* running, std::uint64_t running_time);
    static void count_in(Queue& queue, const Schedulable& entity);
    static void count_out(Queue& queue, const Schedulable& entity);
    static void catch_up(Queue& queue);
    void enqueue(Queue& queue, Schedulable& entity);
    Queue& lock_queue_of(const Schedulable& entity);
    void wake_if_needed(Queue& queue, unsigned processor, const Schedulable& entity);
    [[nodiscard]] unsigned least_loaded(std::uint64_t affinity) const;
    Schedulable* steal(unsigned thief, std::uint64_t now);
    Schedulable* take_first(Queue& queue, std::uint64_t now);
    [[nodiscard]] bool settled(const Queue& queue, std::uint64_t now) const;
    [[nodiscard]] unsigned lighter_than(unsigned processor, const Schedulable& entity, std::uint64_t now) const;
    void hand_over(unsigned processor, std::uint64_t now);
    void accept(unsigned processor, Schedulable& entity, std::uint64_t lead);
    [[nodiscard]] std::uint64_t recent(const Schedulable& entity, std::uint64_t now) const;
    [[nodiscard]] std::uint64_t slice_of(Schedulable& entity, std::uint64_t now) const;
    [[nodiscard]] std::uint64_t cap_ticks(const Schedulable& entity) const;
    [[nodiscard]] bool over_cap(Schedulable& entity, std::uint64_t now) const;
    void charge(Schedulable& entity, std::uint64_t now) const;
    static void note_run_state(Schedulable& entity, bool running, std::uint64_t now);

    Queue queues_[platform::maximum_processors]{};
    unsigned first_{};
    unsigned count_{};
    std::uint64_t slice_ticks_{};
    std::uint64_t cap_period_ticks_{};
    Attention attention_{};
};

}  // namespace hv::core
