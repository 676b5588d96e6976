// SPDX-License-Identifier: MIT
//
// The pairing heap: a parent's deadline is never after its children's.
#include "hv/core/time/timer_queue.hpp"

#include "hv/base/assert.hpp"

namespace hv::core {

Timer* TimerQueue::meld(Timer* a, Timer* b)
{
    if (a == nullptr)
        return b;
    if (b == nullptr)
        return a;
    if (b->deadline_ < a->deadline_) {
        Timer* const swap{a};
        a = b;
        b = swap;
    }
    b->previous_ = a;
    b->sibling_ = a->child_;
    if (a->child_ != nullptr)
        a->child_->previous_ = b;
    a->child_ = b;
    return a;
}

Timer* TimerQueue::meld_children(Timer* first)
{
    Timer* pairs{};
    while (first != nullptr) {  // left to right: meld neighbours, stack the results
        Timer* const second{first->sibling_};
        Timer* const rest{second == nullptr ? nullptr : second->sibling_};
        first->sibling_ = first->previous_ = nullptr;
        if (second != nullptr)
            second->sibling_ = second->previous_ = nullptr;
        Timer* const pair{meld(first, second)};
        pair->sibling_ = pairs;
        pairs = pair;
        first = rest;
    }
    Timer* result{};
    while (pairs != nullptr) {  // right to left: meld all into one
        Timer* const next{pairs->sibling_};
        pairs->sibling_ = nullptr;
        result = meld(result, pairs);
        pairs = next;
    }
    return result;
}

void TimerQueue::insert(Timer& timer)
{
    timer.child_ = timer.sibling_ = timer.previous_ = nullptr;
    timer.queue_.store(this, std::memory_order_release);
    root_ = meld(root_, &timer);
}

void TimerQueue::remove(Timer& timer)
{
    if (root_ == &timer) {
        root_ = meld_children(timer.child_);
    } else {
        if (timer.previous_->child_ == &timer)
            timer.previous_->child_ = timer.sibling_;
        else
            timer.previous_->sibling_ = timer.sibling_;
        if (timer.sibling_ != nullptr)
            timer.sibling_->previous_ = timer.previous_;
        root_ = meld(root_, meld_children(timer.child_));
    }
    timer.child_ = timer.sibling_ = timer.previous_ = nullptr;
    timer.queue_.store(nullptr, std::memory_order_release);
}

void TimerQueue::arm(Timer& timer, std::uint64_t deadline)
{
    if (TimerQueue* const other = timer.queue_.load(std::memory_order_acquire); other != nullptr && other != this)
        cancel(timer);
    LockGuard guard{lock_};
    const bool armed_here{timer.queue_.load(std::memory_order_relaxed) == this};
    if (armed_here && stays_first(timer, deadline)) {
        timer.deadline_ = deadline;
        return publish();
    }
    if (armed_here)
        remove(timer);
    timer.deadline_ = deadline;
    insert(timer);
    publish();
}

void TimerQueue::cancel(Timer& timer)
{
    for (;;) {
        TimerQueue* const queue = timer.queue_.load(std::memory_order_acquire);
        if (queue == nullptr)
            return;
        LockGuard guard{queue->lock_};
        if (timer.queue_.load(std::memory_order_relaxed) != queue)
            continue;  // expired or moved meanwhile
        queue->remove(timer);
        queue->publish();
        return;
    }
}

void TimerQueue::expire(std::uint64_t now)
{
    for (;;) {
        Timer* due{};
        {
            LockGuard guard{lock_};
            if (root_ == nullptr || root_->deadline_ > now)
                return;
            due = root_;
            remove(*due);
            publish();
        }
        due->expire_(*due);
    }
}

}  // namespace hv::core
