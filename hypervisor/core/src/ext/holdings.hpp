// SPDX-License-Identifier: MIT
//
// What a binding holds beside its instance: its number in handles, its pages, timers and channels.  It outlives the
// instance when a module is swapped: the next instance gets the same handles, the guest keeps its overlays,
// and an armed timer fires once, for whoever is there.  Declared answers, state blocks and the image are the
// instance's (binding.hpp).
#pragma once

#include "channels.hpp"
#include "pages.hpp"
#include "timers.hpp"

namespace hv::core {

class Module;

/// How often instances of one binding have failed, and were restarted.
struct Restarts {
    /// So many restarts in so much of the host's time are followed by one more; the next failure is final.
    static constexpr std::uint32_t most{8};
    static inline std::uint64_t window_ns{10'000'000'000};  ///< set once at boot (ExtensionStack::set_restart_window)

    std::uint32_t count{};  ///< fresh instances so far
    std::uint32_t failures{};
    std::uint64_t failed_at[most]{};  ///< host ticks, of the last failures in turn

    /// Counts a failure at host tick `now`; false where there were too many of late.
    bool allow(std::uint64_t now, std::uint64_t ticks_per_second);
};

struct Holdings {
    /// Frames that they may take: 64 MiB.
    static constexpr std::uint64_t frame_limit{16384};

    Holdings(Domain& owner, Spinlock& page_lock, ChannelBoard& board);
    /// Gives everything back, and shows the guest its own pages; asserts that the ledger then reads zero.
    /// After release_callbacks(); no VCPU runs, and the pages are in no ring any more.
    ~Holdings();
    Holdings(const Holdings&) = delete;
    Holdings& operator=(const Holdings&) = delete;

    /// Disarms every timer, closes every channel, and returns when no callback is under way: the VCPUs that they name may go.
    void release_callbacks();

    const std::uint32_t number;  ///< of the binding in handles
    Ledger ledger;
    Heap heap;
    GuestPages pages;
    Timers timers;
    Channels channels;

    Module* module_before{};  ///< to which a rollback goes, kept for that; null: none
    bool reverts{};           ///< this instance's records were seen to import into that module
    std::uint64_t probation_ends{};  ///< tick until which a failure leads back to that module; 0: none does

    [[nodiscard]] bool on_probation(std::uint64_t now) const { return reverts && now < probation_ends; }

    Restarts restarts{};
};

}  // namespace hv::core
