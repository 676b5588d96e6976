// SPDX-License-Identifier: MIT
#include "hv/core/memory/nested_view.hpp"

#include "hv/base/assert.hpp"
#include "nested_levels.hpp"

namespace hv::core {

static_assert(nested_root_level == 4);

Status NestedView::open(GuestPhysical hole)
{
    HV_ASSERT(hole.page_offset() == 0 && hole.raw() < NestedMap::address_space_bytes);
    const LockGuard guard{map_.lock_};
    if (!is_open()) {
        HV_TRY(map_.reserve(depth));
        for (HostPhysical& table : tables_)
            table = map_.take_reserved();
        next_ = map_.views_;
        map_.views_ = this;
    }
    hole_ = hole;
    follow();
    return Done{};
}

void NestedView::close()
{
    const LockGuard guard{map_.lock_};
    if (!is_open())
        return;
    NestedView** link = &map_.views_;
    while (*link != this)
        link = &(*link)->next_;
    *link = next_;
    for (HostPhysical& table : tables_) {
        map_.release_table(table);
        table = HostPhysical{};
    }
}

void NestedView::follow()
{
    const NestedMap::Entry* source = map_.table_at(map_.root_.raw());
    std::uint64_t large{};  // where there is no table of the map's: the page that maps all of it, or 0
    for (unsigned level = nested_root_level; level > 0; --level) {
        const auto entry_of_map = [&](unsigned index) {
            return source != nullptr ? source[index].load(std::memory_order_acquire)
                                     : map_.piece_of(large, level, index);
        };
        const unsigned way = nested_index(hole_.raw(), level);
        NestedMap::Entry* const own = map_.table_at(tables_[level - 1].raw());
        for (unsigned index = 0; index < nested_entries; ++index)
            if (index != way)
                own[index].store(entry_of_map(index), std::memory_order_release);
        own[way].store(level > 1 ? tables_[level - 2].raw() | map_.format_.table : 0,
                       std::memory_order_release);
        const std::uint64_t next = entry_of_map(way);
        const bool leads_on = level > 1 && next != 0 && !map_.is_leaf(next, level);
        source = leads_on ? map_.table_at(next) : nullptr;
        large = leads_on ? 0 : next;
    }
}

}  // namespace hv::core
