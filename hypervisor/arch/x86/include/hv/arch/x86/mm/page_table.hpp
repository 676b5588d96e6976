// SPDX-License-Identifier: MIT
//
// A tree of long-mode page tables in host frames: map, unmap, look up.  Used for the hypervisor's own address
// space and for isolated modules', which share its upper half; nested tables have a builder of their own.  No TLB is flushed but
// this processor's, and only for the pages that were changed: the caller knows who else may hold an old
// entry.  [APM2-3.41 §5.3].
#pragma once

#include <cstdint>
#include <optional>

#include "hv/arch/x86/mm/layout.hpp"
#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/memory/frame_allocator.hpp"

namespace hv::x86 {

/// How a page may be used.  Nothing is ever writable and executable.
enum class PageAccess : std::uint8_t {
    read_only,
    read_write,
    read_execute
};
enum class CacheMode : std::uint8_t {
    write_back,
    uncached
};

struct PageAttributes {
    PageAccess access{PageAccess::read_write};
    CacheMode cache{CacheMode::write_back};
    bool user{};
};

/// What a linear address leads to.
struct PageTranslation {
    HostPhysical physical;
    std::uint64_t entry;  ///< the last one on the way
};

class PageTables {
public:
    /// Tables come from the allocator and are charged to the ledger.
    PageTables(core::FrameAllocator& frames, core::Ledger& ledger) : frames_{frames}, ledger_{ledger} {}
    /// Works on tables that are there already.
    PageTables(core::FrameAllocator& frames, core::Ledger& ledger, HostPhysical root)
        : frames_{frames}, ledger_{ledger}, root_{root}
    {
    }

    /// Allocates the top table; once.
    Status create();
    /// Makes the tables that the entries of the top table for [linear, linear + bytes) lead to: what is mapped there later
    /// is seen by everybody who shares the upper half.  Fails with no_memory.
    Status reserve_top(HostLinear linear, std::uint64_t bytes);
    /// From now on these tables' upper half is `from`'s, whose top table gets no new entry any more.
    void share_upper_half(PageTables& from);
    /// Gives back the top table and all tables of the lower half; what they map stays.  Nobody uses them.
    void destroy();
    /// The same physical address space for everybody: for CR3.
    [[nodiscard]] HostPhysical root() const { return root_; }

    /// Maps [linear, linear + bytes) to [physical, …) with the largest pages that fit, over whatever was
    /// mapped there before.  All three are multiples of a page.  Fails with no_memory; a part may then be
    /// mapped.
    Status map(HostLinear linear, HostPhysical physical, std::uint64_t bytes, PageAttributes attributes);
    /// Unmaps; a larger page is split where only a part of it goes.  Tables are kept.
    Status unmap(HostLinear linear, std::uint64_t bytes);
    [[nodiscard]] std::optional<PageTranslation> translate(HostLinear linear) const;

private:
    [[nodiscard]] std::uint64_t* entry_for(HostLinear linear, unsigned level, Status& status);
    Status split(std::uint64_t& entry, unsigned level);
    Expected<std::uint64_t> new_table();
    void release_table(std::uint64_t table, unsigned level);

    core::FrameAllocator& frames_;
    core::Ledger& ledger_;
    HostPhysical root_{};
    bool top_is_shared_{};  ///< others have copies of the top table's upper half
};

}  // namespace hv::x86
