// SPDX-License-Identifier: MIT
//
// The nested page table: every operation first counts the tables that it will need, gets them, and then
// cannot fail.
#include "hv/core/memory/nested_map.hpp"

#include <cstring>

#include "hv/base/assert.hpp"
#include "hv/core/memory/nested_view.hpp"
#include "hv/core/platform/platform.hpp"
#include "nested_levels.hpp"

namespace hv::core {

namespace {

/// Calls `visit` with the part of the change that falls to each entry of a table at `level`, until it returns
/// false.
template <typename Change, typename Visit>
void for_each_part(const Change& change, unsigned level, Visit visit)
{
    for (std::uint64_t done = 0; done < change.bytes;) {
        Change part = change;
        part.guest += done;
        part.host += done;
        const std::uint64_t room = nested_span(level) - part.guest % nested_span(level);
        part.bytes = room < change.bytes - done ? room : change.bytes - done;
        done += part.bytes;
        if (!visit(part))
            return;
    }
}

}  // namespace

NestedMap::NestedMap(FrameAllocator& frames, Ledger& ledger, const NestedEntryFormat& format,
                     bool gigabyte_pages)
    : frames_{frames}, ledger_{ledger}, format_{format}, largest_leaf_level_{gigabyte_pages ? 3u : 2u}
{
}

NestedMap::~NestedMap()
{
    HV_ASSERT(views_ == nullptr);
    if (root_ != HostPhysical{})
        destroy_table(root_, nested_root_level);
}

Status NestedMap::create()
{
    HV_ASSERT(root_ == HostPhysical{});
    HV_TRY(reserve(1));
    root_ = take_reserved();
    return Done{};
}

Status NestedMap::map(GuestPhysical guest, HostPhysical host, std::uint64_t bytes, NestedAccess access)
{
    return carry_out({Action::map, access, guest.raw(), host.raw(), bytes});
}

Status NestedMap::replace(GuestPhysical guest, HostPhysical host, std::uint64_t bytes, NestedAccess access)
{
    return carry_out({Action::replace, access, guest.raw(), host.raw(), bytes});
}

Status NestedMap::unmap(GuestPhysical guest, std::uint64_t bytes)
{
    return carry_out({Action::unmap, {}, guest.raw(), 0, bytes});
}

Status NestedMap::protect(GuestPhysical guest, std::uint64_t bytes, NestedAccess access)
{
    return carry_out({Action::protect, access, guest.raw(), 0, bytes});
}

Status NestedMap::carry_out(const Change& change)
{
    if (((change.guest | change.host | change.bytes) & page_mask) != 0 || change.bytes == 0)
        return Error::invalid_argument;
    if (change.guest >= address_space_bytes || address_space_bytes - change.guest < change.bytes)
        return Error::out_of_range;
    if (const std::uint64_t host_end = format_.address_mask | page_mask;
        change.host > host_end || host_end - change.host < change.bytes - 1)
        return Error::out_of_range;

    const LockGuard guard{lock_};
    Entry* const root = table_at(root_.raw());
    std::uint64_t tables_needed{0};
    HV_TRY(plan(change, nested_root_level, {root, 0}, tables_needed));
    HV_TRY(reserve(tables_needed));
    changed_ = false;
    apply(change, nested_root_level, root);
    HV_ASSERT(reserve_ == HostPhysical{});
    for (NestedView* view = views_; view != nullptr; view = view->next_)
        view->follow();
    if (changed_)
        generation_.fetch_add(1, std::memory_order_release);
    return Done{};
}

/// True when this entry takes its part of the change as it is, with no table made below it.
bool NestedMap::settles(const Change& part, unsigned level, std::uint64_t entry) const
{
    if (level == 1 || (entry == 0 && part.action == Action::unmap))
        return true;
    if (part.bytes != nested_span(level) || (entry != 0 && !is_leaf(entry, level)))
        return false;
    if (part.action == Action::unmap || part.action == Action::protect)
        return true;
    return level <= largest_leaf_level_ && part.host % nested_span(level) == 0;
}

/// Counts the tables that apply() will take, and finds every reason to refuse.
Status NestedMap::plan(const Change& change, unsigned level, Planned table,
                       std::uint64_t& tables_needed) const
{
    Status result{Done{}};
    for_each_part(change, level, [&](const Change& part) {
        const std::uint64_t entry =
            table.table == nullptr
                ? table.filler
                : table.table[nested_index(part.guest, level)].load(std::memory_order_relaxed);
        if (entry == 0 && part.action == Action::protect)
            result = Error::not_found;
        else if (is_leaf(entry, level) && part.action == Action::map)
            result = Error::already_exists;
        else if (settles(part, level, entry))
            return true;
        else if (entry != 0 && !is_leaf(entry, level))
            result = plan(part, level - 1, {table_at(entry), 0}, tables_needed);
        else {
            ++tables_needed;
            result =
                plan(part, level - 1, {nullptr, entry == 0 ? 0 : make_leaf(0, {}, level - 1)}, tables_needed);
        }
        return result.has_value();
    });
    return result;
}

/// Carries out what plan() has allowed, with the tables that were reserved.
void NestedMap::apply(const Change& change, unsigned level, Entry* table)
{
    for_each_part(change, level, [&](const Change& part) {
        Entry& entry = table[nested_index(part.guest, level)];
        std::uint64_t value = entry.load(std::memory_order_relaxed);
        if (settles(part, level, value)) {
            set_leaf(part, level, entry);
            return true;
        }
        if (value == 0 || is_leaf(value, level)) {
            insert_table(entry, level);
            value = entry.load(std::memory_order_relaxed);
        }
        apply(part, level - 1, table_at(value));
        return true;
    });
}

void NestedMap::set_leaf(const Change& part, unsigned level, Entry& entry)
{
    const std::uint64_t old = entry.load(std::memory_order_relaxed);
    const std::uint64_t host =
        part.action == Action::protect ? old & format_.address_mask & ~(nested_span(level) - 1) : part.host;
    const std::uint64_t value = part.action == Action::unmap ? 0 : make_leaf(host, part.access, level);
    entry.store(value, std::memory_order_release);
    changed_ = changed_ || (old != 0 && old != value);
}

/// Puts a table where there was nothing, or one that says the same where there was a large page.
void NestedMap::insert_table(Entry& entry, unsigned level)
{
    const std::uint64_t old = entry.load(std::memory_order_relaxed);
    const HostPhysical table = take_reserved();
    if (old != 0) {
        Entry* const below = table_at(table.raw());
        for (unsigned index = 0; index < nested_entries; ++index)
            below[index].store(piece_of(old, level - 1, index), std::memory_order_relaxed);
    }
    entry.store(table.raw() | format_.table, std::memory_order_release);
}

std::uint64_t NestedMap::piece_of(std::uint64_t large, unsigned level, unsigned index) const
{
    if (large == 0)
        return 0;
    const std::uint64_t host = large & format_.address_mask & ~(nested_span(level + 1) - 1);
    return make_leaf(host + index * nested_span(level), access_of(large), level);
}

bool NestedMap::is_leaf(std::uint64_t entry, unsigned level) const
{
    return entry != 0 && (level == 1 || (entry & format_.large) != 0);
}

std::uint64_t NestedMap::make_leaf(std::uint64_t host, NestedAccess access, unsigned level) const
{
    std::uint64_t entry = host | format_.leaf | format_.read;
    if (access.write)
        entry |= format_.write;
    entry |= access.execute ? format_.execute : format_.deny_execute;
    if (level > 1)
        entry |= format_.large;
    return entry;
}

NestedAccess NestedMap::access_of(std::uint64_t entry) const
{
    return {.write = (entry & format_.write) == format_.write,
            .execute = (entry & format_.execute) == format_.execute && (entry & format_.deny_execute) == 0};
}

NestedMap::Entry* NestedMap::table_at(std::uint64_t entry) const
{
    static_assert(sizeof(Entry) == sizeof(std::uint64_t) && Entry::is_always_lock_free);
    return static_cast<Entry*>(platform::to_pointer(HostPhysical{entry & format_.address_mask}));
}

std::optional<NestedTranslation> NestedMap::lookup(GuestPhysical guest) const
{
    if (guest.raw() >= address_space_bytes)
        return std::nullopt;
    const Entry* table = table_at(root_.raw());
    for (unsigned level = nested_root_level; level > 0; --level) {
        const std::uint64_t entry = table[nested_index(guest.raw(), level)].load(std::memory_order_acquire);
        if (entry == 0)
            return std::nullopt;
        if (is_leaf(entry, level))
            return NestedTranslation{HostPhysical{(entry & format_.address_mask & ~(nested_span(level) - 1)) +
                                                  guest.raw() % nested_span(level)},
                                     access_of(entry), nested_span(level)};
        table = table_at(entry);
    }
    return std::nullopt;
}

/// Gets so many tables, zeroed and linked through their first word, or none at all.
Status NestedMap::reserve(std::uint64_t tables)
{
    HV_ASSERT(reserve_ == HostPhysical{});
    for (; tables > 0; --tables) {
        const auto frame = frames_.allocate(0, ledger_);
        if (!frame) {
            release_reserved();
            return frame.error();
        }
        put_reserved(frame.value());
        ++table_frames_;
    }
    return Done{};
}

void NestedMap::put(HostPhysical& list, HostPhysical frame)
{
    void* const table = platform::to_pointer(frame);
    std::memset(table, 0, page_size);
    const std::uint64_t next = list.raw();
    std::memcpy(table, &next, sizeof next);
    list = frame;
}

void NestedMap::release_reserved()
{
    while (reserve_ != HostPhysical{})
        release_table(take_reserved());
}

HostPhysical NestedMap::take(HostPhysical& list)
{
    HV_ASSERT(list != HostPhysical{});
    const HostPhysical table = list;
    void* const first_word = platform::to_pointer(table);
    std::uint64_t next{};
    std::memcpy(&next, first_word, sizeof next);
    std::memset(first_word, 0, sizeof next);
    list = HostPhysical{next};
    return table;
}

void NestedMap::release_table(HostPhysical table)
{
    frames_.release(table, 0, ledger_);
    --table_frames_;
}

void NestedMap::destroy_table(HostPhysical table, unsigned level)
{
    if (level > 1) {
        const Entry* const table_entries = table_at(table.raw());
        for (unsigned index = 0; index < nested_entries; ++index) {
            const std::uint64_t entry = table_entries[index].load(std::memory_order_relaxed);
            if (entry != 0 && !is_leaf(entry, level))
                destroy_table(HostPhysical{entry & format_.address_mask}, level - 1);
        }
    }
    release_table(table);
}

}  // namespace hv::core
