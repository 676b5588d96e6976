// SPDX-License-Identifier: MIT
#include "hv/core/memory/nested_view.hpp"

#include <algorithm>
#include <utility>

#include "hv/base/assert.hpp"
#include "hv/core/sync/spinlock.hpp"
#include "nested_levels.hpp"

namespace hv::core {

/// A hole has one of each level below the root to itself, at most.
constexpr std::uint64_t tables_of_hole{nested_root_level - 1};

namespace {

/// No more than the caller may have.
StaticVector<WatchedPages, NestedView::maximum_ranges> list_of(std::span<const WatchedPages> pages)
{
    StaticVector<WatchedPages, NestedView::maximum_ranges> list;
    for (const WatchedPages& range : pages)
        HV_ASSERT(list.push_back(range));
    return list;
}

}  // namespace

NestedView::~NestedView()
{
    HV_ASSERT(become({}));  // needs no memory
    trim({}, false);
}

Status NestedView::open(GuestPhysical hole)
{
    HV_ASSERT(hole.page_offset() == 0 && hole.raw() < NestedMap::address_space_bytes);
    Differences next{own_};
    next.hole = hole;
    return become(next);
}

void NestedView::close()
{
    Differences next{own_};
    next.hole.reset();
    HV_ASSERT(become(next));  // fewer tables than before
}

Status NestedView::watch(std::span<const WatchedPages> pages)
{
    through_.clear();
    return become({.hole = own_.hole, .watched = list_of(pages)});
}

bool NestedView::Differences::touch(std::uint64_t guest, std::uint64_t bytes) const
{
    if (hole && hole->raw() - guest < bytes)
        return true;
    const std::uint64_t first = guest / page_size, last = (guest + bytes - 1) / page_size;
    for (const WatchedPages& range : watched)
        if (range.first <= last && range.last >= first)
            return true;
    return false;
}

/// The tables that differ on the way down from one of `level` that does.
std::uint64_t NestedView::count(const Differences& of, std::uint64_t guest, unsigned level)
{
    std::uint64_t tables{1};
    for (unsigned index = 0; level > 1 && index < nested_entries; ++index)
        if (const std::uint64_t at = guest + index * nested_span(level); of.touch(at, nested_span(level)))
            tables += count(of, at, level - 1);
    return tables;
}

/// Its own tables, this one and those below, are for the next ones to be made of.
void NestedView::dismantle(HostPhysical table, std::uint64_t guest, unsigned level)
{
    const NestedMap::Entry* const entries = map_.table_at(table.raw());
    for (unsigned index = 0; level > 1 && index < nested_entries; ++index)
        if (const std::uint64_t at = guest + index * nested_span(level); own_.touch(at, nested_span(level)))
            dismantle(HostPhysical{entries[index].load(std::memory_order_relaxed) & map_.format_.address_mask}, at, level - 1);
    map_.put_reserved(table);
}

std::uint64_t NestedView::tables_of(const Differences& of) { return of.any() ? count(of, 0, nested_root_level) : 0; }

/// In use or ready.
std::uint64_t NestedView::tables_to_hold(const Differences& of, std::uint64_t promised) const
{
    const std::uint64_t ready = promised == 0 ? 0 : promised + (of.hole ? tables_of_hole : 0);
    return std::max(tables_of(of), ready);
}

/// What differs changes.  Nobody walks the tables meanwhile: the VCPU is outside of the guest, and flushes.
Status NestedView::become(const Differences& next)
{
    const LockGuard guard{map_.lock_};
    const std::uint64_t held = tables_of(own_) + spare_count_;
    const std::uint64_t wanted = tables_to_hold(next, promised_);
    if (wanted > held)
        HV_TRY(map_.reserve(wanted - held));
    for (; spare_count_ > 0; --spare_count_)
        map_.put_reserved(NestedMap::take(spare_));
    if (is_open()) {
        NestedView** link = &map_.views_;
        while (*link != this)
            link = &(*link)->next_;
        *link = next_;
        dismantle(root_, 0, nested_root_level);
        root_ = {};
    }
    own_ = next;
    if (own_.any()) {
        root_ = map_.take_reserved();
        next_ = map_.views_;
        map_.views_ = this;
        follow();
    }
    for (std::uint64_t used = tables_of(own_); used + spare_count_ < wanted; ++spare_count_)
        NestedMap::put(spare_, map_.take_reserved());
    map_.release_reserved();
    return Done{};
}

Status NestedView::reserve(std::span<const WatchedPages> pages, bool barred)
{
    const Differences all{.hole = {}, .watched = list_of(pages)};
    const LockGuard guard{map_.lock_};
    const std::uint64_t promised = std::max(promised_, tables_of(all));
    const std::uint64_t held = tables_of(own_) + spare_count_;
    const std::uint64_t wanted = tables_to_hold(own_, promised);
    const bool bars = barred && barred_ == HostPhysical{};
    HV_TRY(map_.reserve((wanted > held ? wanted - held : 0) + (bars ? 1 : 0)));
    for (; tables_of(own_) + spare_count_ < wanted; ++spare_count_)
        NestedMap::put(spare_, map_.take_reserved());
    if (bars)
        barred_ = map_.take_reserved();
    promised_ = promised;
    return Done{};
}

void NestedView::trim(std::span<const WatchedPages> pages, bool barred)
{
    const Differences all{.hole = {}, .watched = list_of(pages)};
    const LockGuard guard{map_.lock_};
    promised_ = tables_of(all);
    const std::uint64_t wanted = tables_to_hold(own_, promised_);
    for (; spare_count_ > 0 && tables_of(own_) + spare_count_ > wanted; --spare_count_)
        map_.release_table(NestedMap::take(spare_));
    if (!barred && barred_ != HostPhysical{})
        map_.release_table(std::exchange(barred_, {}));
}

HostPhysical NestedView::barred_root()
{
    const LockGuard guard{map_.lock_};
    HV_ASSERT(barred_ != HostPhysical{});
    const NestedMap::Entry* const from = map_.table_at(root().raw());
    NestedMap::Entry* const to = map_.table_at(barred_.raw());
    for (unsigned index = 0; index < nested_entries; ++index) {
        const std::uint64_t entry = from[index].load(std::memory_order_acquire);
        const std::uint64_t bars = (entry & ~map_.format_.execute) | map_.format_.deny_execute;
        to[index].store(entry == 0 ? 0 : bars, std::memory_order_relaxed);
    }
    return barred_;
}

void NestedView::follow() { fill(root_, 0, nested_root_level, map_.table_at(map_.root_.raw()), 0); }

/// `source`: the map's table of the same place, or null where one large page (or nothing) maps all of it.  A table of its own
/// that is new is all zeros.
void NestedView::fill(HostPhysical table, std::uint64_t guest, unsigned level, const NestedMap::Entry* source, std::uint64_t large)
{
    NestedMap::Entry* const own = map_.table_at(table.raw());
    for (unsigned index = 0; index < nested_entries; ++index) {
        const std::uint64_t entry =
            source != nullptr ? source[index].load(std::memory_order_acquire) : map_.piece_of(large, level, index);
        const std::uint64_t at = guest + index * nested_span(level);
        if (!own_.touch(at, nested_span(level))) {
            own[index].store(entry, std::memory_order_release);
            continue;
        }
        if (level == 1) {
            own[index].store(restricted(entry, at), std::memory_order_release);
            continue;
        }
        const std::uint64_t known = own[index].load(std::memory_order_relaxed);
        const HostPhysical below = known != 0 ? HostPhysical{known & map_.format_.address_mask} : map_.take_reserved();
        const bool leads_on = entry != 0 && !map_.is_leaf(entry, level);
        fill(below, at, level - 1, leads_on ? map_.table_at(entry) : nullptr, leads_on ? 0 : entry);
        own[index].store(below.raw() | map_.format_.table, std::memory_order_release);
    }
}

std::uint64_t NestedView::restricted(std::uint64_t entry, std::uint64_t guest) const
{
    if (own_.hole == GuestPhysical{guest})
        return 0;
    const std::uint64_t page = guest / page_size;
    if (entry == 0 || is_let_through(page))
        return entry;
    NestedAccess access = map_.access_of(entry);
    for (const WatchedPages& range : own_.watched) {
        if (page < range.first || page > range.last)
            continue;
        if (range.read)
            return 0;
        access.write = access.write && !range.write;
        access.execute = access.execute && !range.execute;
    }
    return map_.make_leaf(entry & map_.format_.address_mask, access, 1);
}

bool NestedView::watches_just(std::span<const WatchedPages> pages) const
{
    return std::ranges::equal(own_.watched, pages);
}

bool NestedView::is_let_through(std::uint64_t page) const
{
    for (const std::uint64_t one : through_)
        if (one == page)
            return true;
    return false;
}

bool NestedView::stops(GuestPhysical page) const
{
    const std::uint64_t number = page.page_number();
    if (own_.hole == page.page_base() || is_let_through(number))
        return false;
    for (const WatchedPages& range : own_.watched)
        if (number >= range.first && number <= range.last)
            return true;
    return false;
}

/// The entry of a page that differs, anew.
void NestedView::refresh(GuestPhysical page)
{
    const auto now = map_.lookup(page.page_base());
    NestedMap::Entry* entries = map_.table_at(root_.raw());
    for (unsigned level = nested_root_level; level > 1; --level)
        entries = map_.table_at(entries[nested_index(page.raw(), level)].load(std::memory_order_relaxed));
    const std::uint64_t entry = now ? map_.make_leaf(now->host.page_base().raw(), now->access, 1) : 0;
    entries[nested_index(page.raw(), 1)].store(restricted(entry, page.page_base().raw()), std::memory_order_release);
}

void NestedView::let_through(GuestPhysical page)
{
    const LockGuard guard{map_.lock_};
    if (!own_.touch(page.page_base().raw(), page_size) || is_let_through(page.page_number()))
        return;
    if (through_.full()) {  // it comes to be asked for again
        const std::uint64_t oldest = through_[0];
        through_.erase(through_.begin());
        refresh(GuestPhysical{oldest * page_size});
    }
    static_cast<void>(through_.push_back(page.page_number()));
    refresh(page);
}

void NestedView::end_letting_through()
{
    const LockGuard guard{map_.lock_};
    while (!through_.empty()) {
        const std::uint64_t last = through_.back();
        through_.pop_back();
        refresh(GuestPhysical{last * page_size});
    }
}

}  // namespace hv::core
