// SPDX-License-Identifier: MIT
//
// Queues by virtual time.  A queue's lock covers its list and the blockers of every entity that belongs to it; an entity
// changes its queue only while it is ready on one, under that queue's lock.
#include "hv/core/sched/scheduler.hpp"

#include "hv/base/assert.hpp"
#include "hv/core/platform/isolated_space.hpp"

namespace hv::core {
namespace {

constexpr std::uint32_t bit(Blocker reason) { return static_cast<std::uint32_t>(reason); }

constexpr bool allows(std::uint64_t affinity, unsigned processor) { return ((affinity >> processor) & 1) != 0; }

}  // namespace

void Scheduler::initialise(unsigned first, unsigned count, std::uint64_t ticks_per_second, Attention attention)
{
    HV_ASSERT(count > 0 && first + count <= platform::maximum_processors);
    attention_ = attention;
    first_ = first;
    count_ = count;
    slice_ticks_ = ticks_per_second / slices_per_second;
    cap_period_ticks_ = ticks_per_second / cap_periods_per_second;
}

unsigned Scheduler::least_loaded(std::uint64_t affinity) const
{
    unsigned best{first_};
    std::uint32_t best_load{~0u};
    for (unsigned processor = first_; processor < first_ + count_; ++processor) {
        const std::uint32_t load = queues_[processor].load.load(std::memory_order_relaxed);
        if (allows(affinity, processor) && load < best_load) {
            best = processor;
            best_load = load;
        }
    }
    return best;
}

void Scheduler::attach(Schedulable& entity)
{
    HV_ASSERT(!entity.runnable() && !entity.queued_ && !entity.running());
    entity.processor_.store(least_loaded(entity.affinity), std::memory_order_release);
    entity.times_.since = platform::ticks();
}

/// Ends the present run state where it is another one by now; `running`: it is on a processor, and stays there.  `now` may be a little
/// older than `since` where two processors read the clock.
void Scheduler::note_run_state(Schedulable& entity, bool running, std::uint64_t now)
{
    constexpr std::uint32_t away{bit(Blocker::waiting_for_startup) | bit(Blocker::paused) | bit(Blocker::stopped)};
    const std::uint32_t blockers = entity.blockers_.load(std::memory_order_relaxed);
    const RunState state = running          ? RunState::running
                           : blockers == 0  ? RunState::runnable
                           : (blockers & away) != 0 ? RunState::offline
                                                    : RunState::blocked;
    RunTimes& times = entity.times_;
    if (state == times.now)
        return;
    if (now > times.since) {
        times.ticks[static_cast<unsigned>(times.now)] += now - times.since;
        times.since = now;
    }
    if (const RunStateListener listener = entity.listener.load(std::memory_order_acquire); listener != nullptr) [[unlikely]]
        listener(entity, times.now, state, now);
    times.now = state;
}

RunTimes Scheduler::run_times(const Schedulable& entity, std::uint64_t now)
{
    Queue& queue = lock_queue_of(entity);
    RunTimes times = entity.times_;
    queue.lock.unlock();
    if (now > times.since)
        times.ticks[static_cast<unsigned>(times.now)] += now - times.since;
    return times;
}

Scheduler::Queue& Scheduler::lock_queue_of(const Schedulable& entity)
{
    for (;;) {
        const unsigned processor = entity.processor();
        Queue& queue = queues_[processor];
        queue.lock.lock();
        if (entity.processor() == processor)
            return queue;
        queue.lock.unlock();  // it was taken to another queue meanwhile
    }
}

void Scheduler::count_in(Queue& queue, const Schedulable& entity)
{
    queue.load.fetch_add(1, std::memory_order_relaxed);
    queue.weight.fetch_add(entity.weight, std::memory_order_relaxed);
}

void Scheduler::count_out(Queue& queue, const Schedulable& entity)
{
    queue.load.fetch_sub(1, std::memory_order_relaxed);
    queue.weight.fetch_sub(entity.weight, std::memory_order_relaxed);
}

std::uint64_t Scheduler::virtual_ticks(const Schedulable& entity, std::uint64_t ticks)
{
    return ticks * Schedulable::default_weight / (entity.weight == 0 ? 1 : entity.weight);
}

/// The virtual time of a queue is that of the least served on it, and never goes back.
void Scheduler::advance_virtual_time(Queue& queue, const Schedulable* running, std::uint64_t running_time)
{
    std::uint64_t least{~0ull};
    if (running != nullptr)
        least = running_time;
    if (!queue.ready.empty() && queue.ready.front().virtual_time_ < least)
        least = queue.ready.front().virtual_time_;
    if (least != ~0ull && least > queue.virtual_now)
        queue.virtual_now = least;
}

/// Takes into account what has run since the processor last decided.
void Scheduler::catch_up(Queue& queue)
{
    const Schedulable* const current = queue.current;
    if (current == nullptr)
        return;
    const std::uint64_t now = platform::ticks();
    const std::uint64_t run = now > current->dispatched_at_ ? now - current->dispatched_at_ : 0;
    advance_virtual_time(queue, current, current->virtual_time_ + virtual_ticks(*current, run));
}

void Scheduler::enqueue(Queue& queue, Schedulable& entity)
{
    catch_up(queue);
    // One that slept keeps at most one slice of credit, so that it is served soon but cannot starve the others.
    const std::uint64_t floor = queue.virtual_now > slice_ticks_ ? queue.virtual_now - slice_ticks_ : 0;
    if (entity.virtual_time_ < floor)
        entity.virtual_time_ = floor;
    auto position = queue.ready.begin();
    while (position != queue.ready.end() && position->virtual_time_ <= entity.virtual_time_)
        ++position;
    if (position == queue.ready.end())
        queue.ready.push_back(entity);
    else
        queue.ready.insert_before(*position, entity);
    entity.queued_ = true;
    queue.waiting.store(true, std::memory_order_relaxed);
}

void Scheduler::block(Schedulable& entity, Blocker reason)
{
    Queue& queue = lock_queue_of(entity);
    const bool was_runnable = entity.blockers_.fetch_or(bit(reason), std::memory_order_acq_rel) == 0;
    const unsigned processor = entity.processor();
    if (entity.queued_) {
        IntrusiveList<Schedulable>::remove(entity);
        entity.queued_ = false;
        queue.waiting.store(!queue.ready.empty(), std::memory_order_relaxed);
    }
    if (was_runnable)
        count_out(queue, entity);
    note_run_state(entity, entity.running(), platform::ticks());
    const bool on_processor = entity.running();
    queue.lock.unlock();
    if (on_processor)
        attention_(processor);
}

void Scheduler::block_unless(Schedulable& entity, Blocker reason, bool (*has_event)(const Schedulable&))
{
    Queue& queue = lock_queue_of(entity);
    if (!has_event(entity) && entity.blockers_.fetch_or(bit(reason), std::memory_order_acq_rel) == 0)
        count_out(queue, entity);
    queue.lock.unlock();
}

void Scheduler::unblock(Schedulable& entity, Blocker reason)
{
    Queue& queue = lock_queue_of(entity);
    const std::uint32_t before = entity.blockers_.fetch_and(~bit(reason), std::memory_order_acq_rel);
    note_run_state(entity, entity.running(), platform::ticks());
    if (before != bit(reason)) {  // still blocked, or was not blocked by this
        queue.lock.unlock();
        return;
    }
    count_in(queue, entity);
    const unsigned processor = entity.processor();
    if (!entity.running()) {  // else put_back will queue it
        enqueue(queue, entity);
        wake_if_needed(queue, processor, entity);
    }
    queue.lock.unlock();
}

void Scheduler::wake_if_needed(Queue& queue, unsigned processor, const Schedulable& entity)
{
    const Schedulable* const current{queue.current};
    if (current != nullptr && entity.virtual_time_ + slice_ticks_ / 2 < current->virtual_time_)
        queue.preempt.store(true, std::memory_order_release);
    attention_(processor);  // idle: run it; busy: a slice now has an end
    if (current == nullptr)
        return;
    for (unsigned other = first_; other < first_ + count_; ++other)  // somebody idle may take it over
        if (other != processor && allows(entity.affinity, other) &&
            queues_[other].load.load(std::memory_order_relaxed) == 0) {
            attention_(other);
            return;
        }
}

void Scheduler::kick(Schedulable& entity)
{
    if (entity.running())
        attention_(entity.processor());
}

void Scheduler::wait_until_off(const Schedulable& entity)
{
    while (entity.running()) {
        platform::watch_trusted_hooks();  // the hook that it is in may never end
        __builtin_ia32_pause();
    }
}

std::uint64_t Scheduler::cap_ticks(const Schedulable& entity) const
{
    return cap_period_ticks_ / 100 * entity.cap_percent;
}

bool Scheduler::over_cap(Schedulable& entity, std::uint64_t now) const
{
    if (entity.cap_percent == 0)
        return false;
    if (entity.period_ != now / cap_period_ticks_) {
        entity.period_ = now / cap_period_ticks_;
        entity.period_ticks_ = 0;
    }
    return entity.period_ticks_ >= cap_ticks(entity);
}

/// A slice, or what is left of its cap.
std::uint64_t Scheduler::slice_of(Schedulable& entity, std::uint64_t now) const
{
    if (entity.cap_percent == 0 || over_cap(entity, now))
        return slice_ticks_;
    const std::uint64_t left = cap_ticks(entity) - entity.period_ticks_;
    return left < slice_ticks_ ? left : slice_ticks_;
}

Schedulable* Scheduler::take_first(Queue& queue, std::uint64_t now)
{
    for (Schedulable& entity : queue.ready) {
        if (over_cap(entity, now))
            continue;
        IntrusiveList<Schedulable>::remove(entity);
        entity.queued_ = false;
        queue.waiting.store(!queue.ready.empty(), std::memory_order_relaxed);
        return &entity;
    }
    return nullptr;
}

Schedulable* Scheduler::steal(unsigned thief, std::uint64_t now)
{
    for (unsigned step = 1; step < count_; ++step) {
        const unsigned victim = first_ + (thief - first_ + step) % count_;
        Queue& queue = queues_[victim];
        if (!queue.waiting.load(std::memory_order_relaxed))
            continue;
        queue.lock.lock();
        Schedulable* taken{};
        if (queue.current != nullptr || queue.load.load(std::memory_order_relaxed) > 1)
            for (Schedulable& entity : queue.ready)
                if (allows(entity.affinity, thief) && !over_cap(entity, now)) {
                    taken = &entity;
                    break;
                }
        if (taken != nullptr) {
            IntrusiveList<Schedulable>::remove(*taken);
            queue.waiting.store(!queue.ready.empty(), std::memory_order_relaxed);
            count_out(queue, *taken);
            count_in(queues_[thief], *taken);
            taken->queued_ = false;
            taken->running_.store(true, std::memory_order_release);
            note_run_state(*taken, true, now);
            taken->processor_.store(thief, std::memory_order_release);
        }
        queue.lock.unlock();
        if (taken != nullptr)
            return taken;
    }
    return nullptr;
}

// ---- balance ----------------------------------------------------------------------------------------------------

std::uint64_t Scheduler::recent(const Schedulable& entity, std::uint64_t now) const
{
    const std::uint64_t windows = now / (slices_per_window * slice_ticks_) - entity.window_;
    return windows < 64 ? entity.recent_ >> windows : 0;
}

/// A hand-over from here or to here is so long past that another may follow.
bool Scheduler::settled(const Queue& queue, std::uint64_t now) const
{
    return now >= queue.balanced_at.load(std::memory_order_relaxed) + slices_per_balance * slice_ticks_;
}

/// The processor with the lightest queue, if that is lighter than the one of `processor` and takes `entity`; else `processor`.
/// Of several the one that was left alone longest.
unsigned Scheduler::lighter_than(unsigned processor, const Schedulable& entity, std::uint64_t now) const
{
    unsigned best{processor};
    std::uint32_t least = queues_[processor].weight.load(std::memory_order_relaxed);
    std::uint64_t oldest{};
    for (unsigned other = first_; other < first_ + count_; ++other) {
        const Queue& queue = queues_[other];
        const std::uint32_t weight = queue.weight.load(std::memory_order_relaxed);
        const std::uint64_t balanced_at = queue.balanced_at.load(std::memory_order_relaxed);
        const bool lighter = weight < least || (weight == least && best != processor && balanced_at < oldest);
        if (!lighter || !allows(entity.affinity, other) || (weight != 0 && !settled(queue, now)))
            continue;
        best = other;
        least = weight;
        oldest = balanced_at;
    }
    return best;
}

/// Gives the best served of this processor's ready ones to a lighter queue, so that with more work than processors the
/// company changes and all get their share.  Called with the queue's lock and nothing running; lets go of it meanwhile.
void Scheduler::hand_over(unsigned processor, std::uint64_t now)
{
    Queue& queue = queues_[processor];
    Schedulable* chosen{};
    unsigned target{processor};
    unsigned ready{};
    for (Schedulable& entity : queue.ready) {
        ++ready;
        if (chosen != nullptr && recent(entity, now) <= recent(*chosen, now))
            continue;
        if (const unsigned lighter = lighter_than(processor, entity, now); lighter != processor) {
            chosen = &entity;
            target = lighter;
        }
    }
    if (chosen == nullptr || ready < 2)
        return;
    IntrusiveList<Schedulable>::remove(*chosen);
    chosen->queued_ = false;
    queue.waiting.store(!queue.ready.empty(), std::memory_order_relaxed);
    count_out(queue, *chosen);
    count_in(queues_[target], *chosen);
    queue.balanced_at.store(now, std::memory_order_relaxed);
    queues_[target].balanced_at.store(now, std::memory_order_relaxed);
    const std::uint64_t lead = chosen->virtual_time_ > queue.virtual_now ? chosen->virtual_time_ - queue.virtual_now : 0;
    chosen->processor_.store(target, std::memory_order_release);  // from here on it belongs to the other queue's lock
    queue.lock.unlock();
    accept(target, *chosen, lead < slice_ticks_ ? lead : slice_ticks_);
    queue.lock.lock();
}

/// Queues what was handed over, as far behind the others as it was where it came from; nothing, if it was blocked meanwhile
/// or has been queued by whoever unblocked it then.
void Scheduler::accept(unsigned processor, Schedulable& entity, std::uint64_t lead)
{
    Queue& queue = queues_[processor];
    const LockGuard guard{queue.lock};
    if (entity.processor() != processor || entity.queued_ || entity.running() || !entity.runnable())
        return;
    catch_up(queue);
    entity.virtual_time_ = queue.virtual_now + lead;
    enqueue(queue, entity);
    attention_(processor);
}

Schedulable* Scheduler::pick(std::uint64_t now)
{
    const unsigned processor = platform::current_processor();
    Queue& queue = queues_[processor];
    queue.lock.lock();
    queue.preempt.store(false, std::memory_order_relaxed);
    if (queue.load.load(std::memory_order_relaxed) > 1 && settled(queue, now))
        hand_over(processor, now);
    Schedulable* next = take_first(queue, now);
    if (next != nullptr) {
        next->running_.store(true, std::memory_order_release);
        note_run_state(*next, true, now);
    } else {
        queue.lock.unlock();
        next = steal(processor, now);
        queue.lock.lock();
        if (next != nullptr && next->virtual_time_ < queue.virtual_now)
            next->virtual_time_ = queue.virtual_now;
    }
    queue.current = next;
    if (next != nullptr) {
        next->dispatched_at_ = now;
        queue.slice_end = now + slice_of(*next, now);
    }
    queue.lock.unlock();
    return next;
}

void Scheduler::charge(Schedulable& entity, std::uint64_t now) const
{
    const std::uint64_t used = now - entity.dispatched_at_;
    entity.ticks_run_.fetch_add(used, std::memory_order_relaxed);
    entity.virtual_time_ += virtual_ticks(entity, used);
    entity.recent_ = recent(entity, now) + virtual_ticks(entity, used);
    entity.window_ = now / (slices_per_window * slice_ticks_);
    static_cast<void>(over_cap(entity, now));
    entity.period_ticks_ += used;
}

void Scheduler::put_back(Schedulable& entity, std::uint64_t now)
{
    Queue& queue = queues_[platform::current_processor()];
    LockGuard guard{queue.lock};
    HV_ASSERT(queue.current == &entity);
    charge(entity, now);
    queue.current = nullptr;
    advance_virtual_time(queue, &entity, entity.virtual_time_);
    note_run_state(entity, false, now);  // before whoever waits for its being off goes on
    entity.running_.store(false, std::memory_order_release);
    if (entity.runnable())
        enqueue(queue, entity);
}

bool Scheduler::should_yield(const Schedulable& entity, std::uint64_t now) const
{
    const Queue& queue = queues_[platform::current_processor()];
    if (!entity.runnable() || queue.preempt.load(std::memory_order_acquire))
        return true;
    return now >= queue.slice_end && (queue.waiting.load(std::memory_order_relaxed) || entity.cap_percent != 0);
}

std::uint64_t Scheduler::next_decision(std::uint64_t now) const
{
    const Queue& queue = queues_[platform::current_processor()];
    const bool waiting = queue.waiting.load(std::memory_order_relaxed);
    if (queue.current == nullptr)  // idle with something ready: all of it is over its cap
        return waiting ? (now / cap_period_ticks_ + 1) * cap_period_ticks_ : TimerQueue::never;
    return waiting || queue.current->cap_percent != 0 ? queue.slice_end : TimerQueue::never;
}

}  // namespace hv::core
