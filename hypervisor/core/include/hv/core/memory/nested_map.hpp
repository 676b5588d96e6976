// SPDX-License-Identifier: MIT
//
// A domain's physical memory: the nested page table that takes its guest-physical addresses to host-physical
// ones, in whatever entry format the processor wants.  Knows nothing of who owns the memory that it maps, and
// flushes nothing: it raises `generation`, and the back end flushes by that.  Four levels, 48 bits of
// guest-physical address.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/hvm/backend.hpp"
#include "hv/core/memory/frame_allocator.hpp"
#include "hv/core/memory/ledger.hpp"
#include "hv/core/sync/spinlock.hpp"

namespace hv::core {

class NestedView;

/// What the guest may do with a page.  Reading is part of every mapping.
struct NestedAccess {
    bool write{true};
    bool execute{true};
    friend constexpr bool operator==(NestedAccess, NestedAccess) = default;
};
inline constexpr NestedAccess access_all{};
inline constexpr NestedAccess access_read_only{.write = false, .execute = false};
inline constexpr NestedAccess access_read_execute{.write = false, .execute = true};
inline constexpr NestedAccess access_no_execute{.write = true, .execute = false};

/// What one guest-physical address is mapped to.
struct NestedTranslation {
    HostPhysical host;  ///< of the very byte that was asked for
    NestedAccess access;
    std::uint64_t page_bytes;  ///< of the page that maps it: 4 KiB, 2 MiB or 1 GiB
};

/// Changes are serialised by a lock inside; lookup() takes none and may run beside them on any processor: it
/// sees each entry as it was before or after.  A table that was once made stays until the end, so that no
/// processor, and no lookup(), can walk one that was given back.
class NestedMap {
public:
    static constexpr std::uint64_t address_space_bytes{1ull << 48};

    /// Allocator, ledger and format outlive the map; every table is charged to the ledger.
    NestedMap(FrameAllocator& frames, Ledger& ledger, const NestedEntryFormat& format, bool gigabyte_pages);
    /// Gives all tables back.  No processor uses them any more.
    ~NestedMap();
    NestedMap(const NestedMap&) = delete;
    NestedMap& operator=(const NestedMap&) = delete;

    /// Makes the (empty) root.  Once, before anything else.  Fails as allocate() does.
    Status create();

    // Addresses and lengths are multiples of 4 KiB (invalid_argument else) and lie below 2^48 (out_of_range
    // else).  Each operation happens wholly or not at all: one that fails (no_memory, limit_reached, …) has
    // changed no translation.

    /// Maps what was not mapped, with the largest pages that the alignment of both addresses allows.
    /// already_exists: some page of the range is mapped.
    Status map(GuestPhysical guest, HostPhysical host, std::uint64_t bytes, NestedAccess access);
    /// The same whether or not something was mapped there: page by page, the old or the new is there, never
    /// neither.
    Status replace(GuestPhysical guest, HostPhysical host, std::uint64_t bytes, NestedAccess access);
    /// Afterwards nothing is mapped in the range; holes in it are no error.
    Status unmap(GuestPhysical guest, std::uint64_t bytes);
    /// Changes what the guest may do.  not_found: some page of the range is not mapped.
    Status protect(GuestPhysical guest, std::uint64_t bytes, NestedAccess access);

    [[nodiscard]] std::optional<NestedTranslation> lookup(GuestPhysical guest) const;

    [[nodiscard]] HostPhysical root() const { return root_; }
    [[nodiscard]] const NestedEntryFormat& format() const { return format_; }
    /// Raised, after the entries were written, whenever a translation that existed has changed.  Whoever made
    /// the change then kicks the domain's VCPUs.
    [[nodiscard]] const std::atomic<std::uint64_t>& generation() const { return generation_; }
    /// Frames that the tables take, the root and those of open views included.
    [[nodiscard]] std::uint64_t table_frames() const { return table_frames_; }

private:
    friend class NestedView;
    enum class Action : std::uint8_t {
        map,
        replace,
        unmap,
        protect
    };
    struct Change {
        Action action;
        NestedAccess access;
        std::uint64_t guest;
        std::uint64_t host;
        std::uint64_t bytes;
    };
    using Entry = std::atomic<std::uint64_t>;  // the processor reads and marks entries beside us

    /// A table while an operation is planned: one that exists, or one that would be made with `filler` in
    /// every entry.
    struct Planned {
        const Entry* table;
        std::uint64_t filler;
    };

    Status carry_out(const Change& change);
    Status plan(const Change& change, unsigned level, Planned table, std::uint64_t& tables_needed) const;
    void apply(const Change& change, unsigned level, Entry* table);
    void set_leaf(const Change& part, unsigned level, Entry& entry);
    [[nodiscard]] bool settles(const Change& part, unsigned level, std::uint64_t entry) const;
    [[nodiscard]] bool is_leaf(std::uint64_t entry, unsigned level) const;
    [[nodiscard]] std::uint64_t make_leaf(std::uint64_t host, NestedAccess access, unsigned level) const;
    [[nodiscard]] NestedAccess access_of(std::uint64_t entry) const;
    /// Entry `index` of a table of that level which says the same as the large page one level above it; 0 for
    /// nothing.
    [[nodiscard]] std::uint64_t piece_of(std::uint64_t large, unsigned level, unsigned index) const;
    [[nodiscard]] Entry* table_at(std::uint64_t entry) const;

    Status reserve(std::uint64_t tables);
    [[nodiscard]] HostPhysical take_reserved() { return take(reserve_); }
    /// A table that is in use no more can be taken again, all zeros.
    void put_reserved(HostPhysical table) { put(reserve_, table); }
    /// Lists of tables that are in no use, linked through their first word.
    static HostPhysical take(HostPhysical& list);
    static void put(HostPhysical& list, HostPhysical table);
    void release_reserved();
    void insert_table(Entry& entry, unsigned level);
    void release_table(HostPhysical table);
    void destroy_table(HostPhysical table, unsigned level);

    FrameAllocator& frames_;
    Ledger& ledger_;
    const NestedEntryFormat& format_;
    const unsigned largest_leaf_level_;
    HostPhysical root_{};
    Spinlock lock_;
    std::atomic<std::uint64_t> generation_{1};
    bool changed_{};  // a translation that existed, by the operation under way
    std::uint64_t table_frames_{};
    NestedView* views_{};     // that are open
    HostPhysical reserve_{};  // tables for the operation under way
};

}  // namespace hv::core
