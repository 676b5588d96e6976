// SPDX-License-Identifier: MIT
//
// The loop.
#include "daemon/event_loop.hpp"

#include <poll.h>

#include <algorithm>

namespace hv::xl {

EventLoop::WatchId EventLoop::watch(int descriptor, std::function<short()> wanted,
                                    std::function<void(short)> ready)
{
    watches_.emplace(next_id_, Watch{descriptor, std::move(wanted), std::move(ready)});
    return next_id_++;
}

void EventLoop::unwatch(WatchId id)
{
    watches_.erase(id);
}

EventLoop::TimerId EventLoop::after(std::chrono::milliseconds delay, std::function<void()> work)
{
    timers_.emplace(next_id_, Timer{Clock::now() + delay, std::move(work)});
    return next_id_++;
}

int EventLoop::timeout() const
{
    if (!posted_.empty())
        return 0;
    if (timers_.empty())
        return -1;
    auto earliest = Clock::time_point::max();
    for (const auto& [id, timer] : timers_)
        earliest = std::min(earliest, timer.when);
    const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(earliest - Clock::now()).count();
    return static_cast<int>(std::clamp<long long>(wait + 1, 0, 60'000));
}

void EventLoop::run_posted()
{
    // What is posted meanwhile waits for the next turn: descriptors get theirs in between.
    for (std::size_t count = posted_.size(); count > 0; --count) {
        const auto work = std::move(posted_.front());
        posted_.pop_front();
        work();
    }
}

void EventLoop::run_timers(bool all)
{
    std::vector<TimerId> due;
    const auto now = Clock::now();
    for (const auto& [id, timer] : timers_)
        if (all || timer.when <= now)
            due.push_back(id);
    for (const TimerId id : due) {
        const auto timer = timers_.find(id);
        if (timer == timers_.end())
            continue;  // cancelled by the one before
        const auto work = std::move(timer->second.work);
        timers_.erase(timer);
        work();
    }
}

void EventLoop::poll_once()
{
    std::vector<pollfd> descriptors;
    std::vector<WatchId> ids;
    for (const auto& [id, watch] : watches_) {
        const short wanted{watch.wanted()};
        // A port with nobody at its other end reports a hang-up at every turn: what waits for nothing is left
        // out.
        if (wanted == 0)
            continue;
        descriptors.push_back({watch.descriptor, wanted, 0});
        ids.push_back(id);
    }
    if (::poll(descriptors.data(), descriptors.size(), timeout()) <= 0)
        return;
    for (std::size_t i = 0; i < descriptors.size(); ++i) {
        const auto watch = watches_.find(ids[i]);
        if (descriptors[i].revents == 0 || watch == watches_.end())
            continue;
        const auto ready = watch->second.ready;  // a copy: it may unwatch itself
        ready(descriptors[i].revents);
    }
}

void EventLoop::run()
{
    while (!stopping_) {
        run_posted();
        run_timers(false);
        if (!stopping_)
            poll_once();
    }
}

void EventLoop::drain()
{
    while (!posted_.empty() || !timers_.empty()) {
        run_posted();
        run_timers(true);
    }
}

}  // namespace hv::xl
