// SPDX-License-Identifier: MIT
//
// A domain's nested table as one VCPU has it: the same translations, but for one page that is a hole because the VCPU's local
// APIC lies there, and for pages that are watched, which lack the permissions whose use somebody wants to see.  Of the tables
// only those on the way to such pages are its own; they follow every change of the map's, which knows nothing of watches.
// Beside it there may be a barred root: the same translations, of which none can be executed, so that a VCPU that runs on it
// comes back at the first instruction that it fetches.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/base/static_vector.hpp"
#include "hv/core/memory/nested_map.hpp"

namespace hv::core {

/// A range of guest-physical pages by number, and which accesses to them are to fault.  One whose reads are fails altogether:
/// nested tables have no pages that can be written or executed and not read.
struct WatchedPages {
    std::uint64_t first, last;
    bool read, write, execute;
    friend bool operator==(const WatchedPages&, const WatchedPages&) = default;
};

/// One VCPU's.  The map outlives it.
class NestedView {
public:
    static constexpr std::size_t maximum_ranges{16};
    /// Pages that are let through at a time; more than one instruction can touch, tables included.
    static constexpr std::size_t maximum_let_through{64};

    explicit NestedView(NestedMap& map) : map_{map} {}
    ~NestedView();
    NestedView(const NestedView&) = delete;
    NestedView& operator=(const NestedView&) = delete;

    // By the processor that runs the VCPU, while that is outside of the guest.  Before it is in the guest again the back end is
    // told root(), and flushes.
    /// Makes the page a hole until close(); one that was made before ends.  Below NestedMap::address_space_bytes.  Fails as
    /// FrameAllocator::allocate() does, having changed nothing; never where there was a hole already and nothing is watched.
    Status open(GuestPhysical hole);
    void close();
    /// These are watched from now on and no others, and nothing is let through any more.  At most maximum_ranges.  Fails as
    /// open() does; never where there are none, or where reserve() was asked for these and others.
    Status watch(std::span<const WatchedPages> pages);

    /// What watch() of any of these will need is kept ready, and with `barred` a barred root, beside what was reserved before.  At
    /// most maximum_ranges.  Any processor, also while the VCPU runs.  Fails as FrameAllocator::allocate() does, having changed
    /// nothing.
    Status reserve(std::span<const WatchedPages> pages, bool barred);
    /// Just that is kept ready from now on.  The VCPU does not run on the barred root.
    void trim(std::span<const WatchedPages> pages, bool barred);
    /// The barred root, as the translations are now: what comes to be mapped later may be missing in it.  It was reserved.
    [[nodiscard]] HostPhysical barred_root();

    [[nodiscard]] bool watches_just(std::span<const WatchedPages> pages) const;

    /// The page is as the map has it, until end_letting_through().
    void let_through(GuestPhysical page);
    void end_letting_through();
    /// True where a watch takes a permission away now.
    [[nodiscard]] bool stops(GuestPhysical page) const;

    [[nodiscard]] bool is_open() const { return root_ != HostPhysical{}; }
    /// Where the VCPU's nested translations begin: in the view's own tables, or in the map's.
    [[nodiscard]] HostPhysical root() const { return is_open() ? root_ : map_.root(); }

private:
    friend class NestedMap;
    /// Everything that makes a view differ from the map.
    struct Differences {
        std::optional<GuestPhysical> hole{};
        StaticVector<WatchedPages, maximum_ranges> watched{};

        /// True where some page of these bytes is one of them.
        [[nodiscard]] bool touch(std::uint64_t guest, std::uint64_t bytes) const;
        [[nodiscard]] bool any() const { return hole.has_value() || !watched.empty(); }
    };

    Status become(const Differences& next);
    static std::uint64_t tables_of(const Differences& of);
    [[nodiscard]] std::uint64_t tables_to_hold(const Differences& of, std::uint64_t promised) const;
    static std::uint64_t count(const Differences& of, std::uint64_t guest, unsigned level);
    void dismantle(HostPhysical table, std::uint64_t guest, unsigned level);
    /// Takes over what the map has now.  Under the map's lock.
    void follow();
    void fill(HostPhysical table, std::uint64_t guest, unsigned level, const NestedMap::Entry* source, std::uint64_t large);
    [[nodiscard]] std::uint64_t restricted(std::uint64_t entry, std::uint64_t guest) const;
    [[nodiscard]] bool is_let_through(std::uint64_t page) const;
    void refresh(GuestPhysical page);

    NestedMap& map_;
    Differences own_{};
    StaticVector<std::uint64_t, maximum_let_through> through_{};
    HostPhysical root_{};
    HostPhysical barred_{};
    std::uint64_t promised_{};  ///< tables for watch(), without those of a hole
    std::uint64_t spare_count_{};
    HostPhysical spare_{};  ///< tables that are kept ready, linked as the map's reserve is
    NestedView* next_{};  ///< of the map's open ones
};

}  // namespace hv::core
