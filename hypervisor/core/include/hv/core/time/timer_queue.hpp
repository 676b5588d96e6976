// SPDX-License-Identifier: MIT
//
// Deadlines of one processor, in host ticks, earliest first: a pairing heap whose links live in the timers, so that arming
// never allocates and never fails.  Callbacks run in the processor's main loop, never in an interrupt handler.
#pragma once

#include <atomic>
#include <cstdint>

#include "hv/core/sync/spinlock.hpp"

namespace hv::core {

class TimerQueue;

/// A deadline that somebody waits for.  It is cancelled before it dies.
class Timer {
public:
    using Expire = void (*)(Timer&);
    explicit Timer(Expire expire) : expire_{expire} {}
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    [[nodiscard]] bool armed() const { return queue_.load(std::memory_order_relaxed) != nullptr; }
    [[nodiscard]] std::uint64_t deadline() const { return deadline_; }

private:
    friend class TimerQueue;
    Expire expire_;
    std::atomic<TimerQueue*> queue_{};
    std::uint64_t deadline_{};
    Timer* child_{};     ///< first child
    Timer* sibling_{};   ///< next child of the same parent
    Timer* previous_{};  ///< previous sibling, or the parent for a first child
};

class TimerQueue {
public:
    static constexpr std::uint64_t never{~0ull};

    /// Arms (or moves) `timer` to host tick `deadline` on this queue.  Callable from any processor; whoever arms a timer
    /// of another processor's queue wakes that processor.  One thread of control owns a timer at a time.
    void arm(Timer& timer, std::uint64_t deadline);
    /// The timer is armed nowhere when this returns, but its callback may be running on its processor.
    static void cancel(Timer& timer);
    /// The earliest deadline, or `never`.  Exact only on the queue's own processor.
    [[nodiscard]] std::uint64_t earliest() const { return earliest_.load(std::memory_order_acquire); }
    /// Takes out and calls every timer whose deadline is not after `now`.  A callback may arm timers.
    void expire(std::uint64_t now);

private:
    static Timer* meld(Timer* a, Timer* b);
    static Timer* meld_children(Timer* first);
    /// No other timer of the queue has to pass by it when it gets that deadline.
    [[nodiscard]] bool stays_first(const Timer& timer, std::uint64_t deadline) const
    {
        return root_ == &timer && (timer.child_ == nullptr || deadline <= timer.deadline_);
    }
    void insert(Timer& timer);
    void remove(Timer& timer);
    void publish() { earliest_.store(root_ == nullptr ? never : root_->deadline_, std::memory_order_release); }

    Spinlock lock_{};
    Timer* root_{};
    std::atomic<std::uint64_t> earliest_{never};
};

}  // namespace hv::core
