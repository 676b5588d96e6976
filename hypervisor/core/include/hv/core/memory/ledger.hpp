// SPDX-License-Identifier: MIT
//
// An exact count of the frames that somebody owns: a domain, an instance of a module, the hypervisor itself.
// A ledger may have a limit and a parent; what it holds counts for the parent, too, and against the parent's
// limit.  The frame allocator is the only one that changes the count.  A ledger reads zero when its owner is
// gone, or it is a bug.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "hv/base/expected.hpp"

namespace hv::core {

class Ledger {
public:
    static constexpr std::uint64_t unlimited{std::numeric_limits<std::uint64_t>::max()};

    /// `parent` outlives this ledger.
    explicit Ledger(std::uint64_t limit_frames = unlimited, Ledger* parent = nullptr);
    /// Asserts that nothing is held.
    ~Ledger();
    Ledger(const Ledger&) = delete;
    Ledger& operator=(const Ledger&) = delete;

    /// Counts `frames` here and in every ancestor, or fails with limit_reached and counts nothing anywhere.
    Status charge(std::uint64_t frames);
    /// Asserts that so many are held.
    void refund(std::uint64_t frames);

    [[nodiscard]] std::uint64_t frames() const { return frames_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t limit() const { return limit_.load(std::memory_order_relaxed); }
    /// A limit below what is held already only refuses further charges.
    void set_limit(std::uint64_t limit_frames) { limit_.store(limit_frames, std::memory_order_relaxed); }
    /// Tells ledgers apart; never used twice since boot (the frame allocator keeps it per block).
    [[nodiscard]] std::uint32_t identity() const { return identity_; }

private:
    Status charge_here(std::uint64_t frames);
    void refund_here(std::uint64_t frames);

    std::atomic<std::uint64_t> frames_{};
    std::atomic<std::uint64_t> limit_;
    Ledger* const parent_;
    const std::uint32_t identity_;
};

}  // namespace hv::core
