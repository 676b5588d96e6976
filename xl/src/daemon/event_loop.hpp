// SPDX-License-Identifier: MIT
//
// One thread, one poll(): file descriptors, timers, and work put off to the next turn.  Coroutines are always
// resumed from here, never from inside somebody's call.
#pragma once

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <vector>

namespace hv::xl {

class EventLoop {
public:
    using Clock = std::chrono::steady_clock;
    using WatchId = std::uint64_t;
    using TimerId = std::uint64_t;

    /// `wanted` gives the poll events to wait for at each turn (0: none but errors); `ready` gets those that
    /// came.
    WatchId watch(int descriptor, std::function<short()> wanted, std::function<void(short)> ready);
    void unwatch(WatchId id);

    /// At the next turn.
    void post(std::function<void()> work) { posted_.push_back(std::move(work)); }
    void resume_later(std::coroutine_handle<> handle)
    {
        post([handle] { handle.resume(); });
    }

    TimerId after(std::chrono::milliseconds delay, std::function<void()> work);
    void cancel(TimerId id) { timers_.erase(id); }

    /// `co_await loop.sleep(…)`; returns early when the loop stops.
    struct Sleep {
        EventLoop& loop;
        std::chrono::milliseconds delay;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> handle) const
        {
            loop.after(delay, [handle] { handle.resume(); });
        }
        void await_resume() const noexcept {}
    };
    [[nodiscard]] Sleep sleep(std::chrono::milliseconds delay) { return {*this, delay}; }

    /// Until `stop`.
    void run();
    void stop() { stopping_ = true; }
    [[nodiscard]] bool stopping() const { return stopping_; }
    /// After run: all that is posted or waits for a timer runs now, so that no coroutine is left behind.
    void drain();

private:
    struct Watch {
        int descriptor;
        std::function<short()> wanted;
        std::function<void(short)> ready;
    };
    struct Timer {
        Clock::time_point when;
        std::function<void()> work;
    };

    [[nodiscard]] int timeout() const;
    void run_posted();
    void run_timers(bool all);
    void poll_once();

    std::map<WatchId, Watch> watches_;
    std::map<TimerId, Timer> timers_;
    std::deque<std::function<void()>> posted_;
    std::uint64_t next_id_{1};
    bool stopping_{};
};

}  // namespace hv::xl
