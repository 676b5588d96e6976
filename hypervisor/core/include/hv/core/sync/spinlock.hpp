// SPDX-License-Identifier: MIT
//
// Mutual exclusion between processors.  The hypervisor runs with interrupts disabled outside its halt and interrupt
// windows, so a lock is never taken by an interrupt handler and needs no interrupt masking.  The wait has PAUSE in it:
// without it an emulated processor that waits keeps the others from running.  A ticket lock: first come, first served.
#pragma once

#include <atomic>
#include <cstdint>

namespace hv::core {

class Spinlock {
public:
    Spinlock() = default;
    Spinlock(const Spinlock&) = delete;
    Spinlock& operator=(const Spinlock&) = delete;

    void lock()
    {
        const std::uint32_t ticket = next_.fetch_add(1, std::memory_order_relaxed);
        while (serving_.load(std::memory_order_acquire) != ticket)
            __builtin_ia32_pause();
    }
    [[nodiscard]] bool try_lock()
    {
        std::uint32_t serving = serving_.load(std::memory_order_acquire);
        return next_.compare_exchange_strong(serving, serving + 1, std::memory_order_acquire);
    }
    void unlock() { serving_.fetch_add(1, std::memory_order_release); }

private:
    std::atomic<std::uint32_t> next_{};
    std::atomic<std::uint32_t> serving_{};
};

/// Holds a Spinlock for a scope.
class [[nodiscard]] LockGuard {
public:
    explicit LockGuard(Spinlock& lock) : lock_{lock} { lock_.lock(); }
    ~LockGuard() { lock_.unlock(); }
    LockGuard(const LockGuard&) = delete;
    LockGuard& operator=(const LockGuard&) = delete;

private:
    Spinlock& lock_;
};

}  // namespace hv::core
