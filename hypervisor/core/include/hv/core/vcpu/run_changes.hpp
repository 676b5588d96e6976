// SPDX-License-Identifier: MIT
//
// The last changes of a VCPU's run state, for the extensions that hear of them: noted by whoever brings one about, told to each
// extension before the VCPU's next instruction.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "hv/core/sched/scheduler.hpp"

namespace hv::core {

struct RunChange {
    std::uint64_t guest_ns;
    RunState from;
    RunState to;
};

/// Written under the lock of the VCPU's queue, and not while the VCPU is on a processor, for then it goes on running: that processor reads
/// without one.
class RunChanges {
public:
    /// How many are kept.  A VCPU that is taken up, preempted, paused or swapped makes three or four before it is told of them.
    static constexpr std::uint64_t kept{8};

    void note(const RunChange& change)
    {
        changes_[count() % kept] = change;
        count_.store(count() + 1, std::memory_order_release);
    }
    /// How many there have been.  Any processor.
    [[nodiscard]] std::uint64_t count() const { return count_.load(std::memory_order_relaxed); }
    /// The first that is kept of those from number `from` on (0: the very first), and in `from` the number behind it; nothing: there
    /// is none yet.
    std::optional<RunChange> next(std::uint64_t& from) const
    {
        if (from >= count())
            return std::nullopt;
        if (count() - from > kept)
            from = count() - kept;
        return changes_[from++ % kept];
    }

private:
    std::array<RunChange, kept> changes_{};
    std::atomic<std::uint64_t> count_{};
};

}  // namespace hv::core
