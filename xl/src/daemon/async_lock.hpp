// SPDX-License-Identifier: MIT
//
// One coroutine at a time.  What waits gets its turn in order, from the event loop.
#pragma once

#include <coroutine>
#include <deque>
#include <utility>

#include "daemon/event_loop.hpp"

namespace hv::xl {

class AsyncLock {
public:
    explicit AsyncLock(EventLoop& loop) : loop_{loop} {}
    AsyncLock(const AsyncLock&) = delete;
    AsyncLock& operator=(const AsyncLock&) = delete;

    /// Held until it dies.
    class Guard {
    public:
        explicit Guard(AsyncLock* lock) : lock_{lock} {}
        Guard(Guard&& other) noexcept : lock_{std::exchange(other.lock_, nullptr)} {}
        Guard& operator=(Guard&&) = delete;
        ~Guard()
        {
            if (lock_ != nullptr)
                lock_->release();
        }

    private:
        AsyncLock* lock_;
    };

    struct Acquire {
        AsyncLock& lock;
        bool await_ready() const noexcept { return !std::exchange(lock.held_, true); }
        void await_suspend(std::coroutine_handle<> handle) const { lock.waiting_.push_back(handle); }
        [[nodiscard]] Guard await_resume() const { return Guard{&lock}; }
    };
    [[nodiscard]] Acquire acquire() { return {*this}; }

private:
    void release()
    {
        if (waiting_.empty()) {
            held_ = false;
            return;
        }
        loop_.resume_later(waiting_.front());  // and stays held, by the next one
        waiting_.pop_front();
    }

    EventLoop& loop_;
    bool held_{};
    std::deque<std::coroutine_handle<>> waiting_;
};

}  // namespace hv::xl
