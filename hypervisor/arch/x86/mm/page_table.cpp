// SPDX-License-Identifier: MIT
//
// Walking and changing page tables: see page_table.hpp.
#include "hv/arch/x86/mm/page_table.hpp"

#include <cstring>

#include "hv/arch/x86/cpu/features.hpp"
#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/base/assert.hpp"
#include "hv/core/platform/platform.hpp"
#include "hv/x86/page_entry.hpp"

namespace hv::x86 {

namespace {

/// Bits of an entry that leads to a table: rights are decided at the leaf.
constexpr std::uint64_t table_bits{PageEntry::Present::mask | PageEntry::Writable::mask};

std::uint64_t leaf_bits(PageAttributes attributes, unsigned level)
{
    std::uint64_t bits = PageEntry::Present::mask | PageEntry::Accessed::mask |
                         PageEntry::User::make(attributes.user) | PageEntry::Large::make(level > 1);
    if (attributes.access == PageAccess::read_write)
        bits |= PageEntry::Writable::mask | PageEntry::Dirty::mask;
    if (attributes.access != PageAccess::read_execute)
        bits |= PageEntry::NoExecute::mask;
    if (attributes.cache == CacheMode::uncached)
        bits |= PageEntry::CacheDisable::mask | PageEntry::WriteThrough::mask;
    return bits;
}

std::uint64_t* table_at(std::uint64_t entry)
{
    return static_cast<std::uint64_t*>(
        core::platform::to_pointer(HostPhysical{entry & PageEntry::address_mask}));
}

bool is_present(std::uint64_t entry)
{
    return PageEntry::Present::get(entry);
}
bool is_table(std::uint64_t entry, unsigned level)
{
    return is_present(entry) && level > 1 && !PageEntry::Large::get(entry);
}

/// The level whose entry maps the largest page that begins here and is no longer than what is wanted.
unsigned level_for(std::uint64_t linear, std::uint64_t physical, std::uint64_t bytes)
{
    for (unsigned level = features().huge_pages ? 3 : 2; level > 1; --level)
        if ((linear | physical) % entry_span(level) == 0 && bytes >= entry_span(level))
            return level;
    return 1;
}

}  // namespace

Status PageTables::create()
{
    HV_ASSERT(root_ == HostPhysical{});
    root_ = HostPhysical{HV_TRY(new_table())};
    return Done{};
}

Expected<std::uint64_t> PageTables::new_table()
{
    const HostPhysical frame = HV_TRY(frames_.allocate(0, ledger_));
    std::memset(core::platform::to_pointer(frame), 0, page_size);
    return frame.raw();
}

Status PageTables::reserve_top(HostLinear linear, std::uint64_t bytes)
{
    constexpr std::uint64_t span{entry_span(page_table_levels)};
    for (std::uint64_t offset = 0; offset < bytes; offset += span) {
        Status status{Done{}};
        if (entry_for(linear.plus(offset), page_table_levels - 1, status) == nullptr)
            return status;
    }
    return Done{};
}

void PageTables::share_upper_half(PageTables& from)
{
    constexpr std::size_t half{page_table_entries / 2};
    std::memcpy(table_at(root_.raw()) + half, table_at(from.root_.raw()) + half, half * sizeof(std::uint64_t));
    from.top_is_shared_ = true;
}

void PageTables::release_table(std::uint64_t table, unsigned level)
{
    const unsigned entries = level == page_table_levels ? page_table_entries / 2 : page_table_entries;
    for (unsigned index = 0; index < entries; ++index)
        if (const std::uint64_t entry = table_at(table)[index]; is_table(entry, level))
            release_table(entry & PageEntry::address_mask, level - 1);
    frames_.release(HostPhysical{table}, 0, ledger_);
}

void PageTables::destroy()
{
    if (root_ != HostPhysical{})
        release_table(root_.raw(), page_table_levels);
    root_ = HostPhysical{};
}

/// Replaces a large page by a table of the next smaller ones that maps the same.
Status PageTables::split(std::uint64_t& entry, unsigned level)
{
    const std::uint64_t frame = HV_TRY(new_table());
    std::uint64_t* const smaller = table_at(frame);
    const std::uint64_t bits =
        (entry & ~PageEntry::address_mask) & ~(level == 2 ? PageEntry::Large::mask : 0);
    for (unsigned index = 0; index < page_table_entries; ++index)
        smaller[index] = ((entry & PageEntry::address_mask) + index * entry_span(level - 1)) | bits;
    entry = frame | table_bits | (entry & PageEntry::User::mask);
    return Done{};
}

/// The entry of `level` for an address; tables on the way are made, large pages on the way are split.
std::uint64_t* PageTables::entry_for(HostLinear linear, unsigned level, Status& status)
{
    std::uint64_t* table = table_at(root_.raw());
    for (unsigned at = page_table_levels; at > level; --at) {
        std::uint64_t& entry = table[entry_index(linear.raw(), at)];
        if (!is_present(entry) && at == page_table_levels && top_is_shared_) {
            status = Error::limit_reached;
            return nullptr;
        }
        if (!is_present(entry)) {
            const auto frame = new_table();
            if (!frame) {
                status = frame.error();
                return nullptr;
            }
            entry = frame.value() | table_bits;
        } else if (!is_table(entry, at)) {
            status = split(entry, at);
            if (!status)
                return nullptr;
        }
        table = table_at(entry);
    }
    return &table[entry_index(linear.raw(), level)];
}

Status PageTables::map(HostLinear linear, HostPhysical physical, std::uint64_t bytes,
                       PageAttributes attributes)
{
    HV_ASSERT((linear.raw() | physical.raw() | bytes) % page_size == 0);
    while (bytes > 0) {
        unsigned level = level_for(linear.raw(), physical.raw(), bytes);
        Status status{Done{}};
        std::uint64_t* entry = entry_for(linear, level, status);
        while (entry != nullptr &&
               is_table(*entry, level))  // smaller pages are there already: keep their table
            entry = entry_for(linear, --level, status);
        if (entry == nullptr)
            return status;
        const bool replaces = is_present(*entry);
        *entry = physical.raw() | leaf_bits(attributes, level);
        if (replaces)
            invalidate_page(linear.raw());
        if (attributes.user)
            for (unsigned at = level + 1; at <= page_table_levels; ++at)
                *entry_for(linear, at, status) |= PageEntry::User::mask;
        linear = linear.plus(entry_span(level));
        physical = physical.plus(entry_span(level));
        bytes -= entry_span(level);
    }
    return Done{};
}

Status PageTables::unmap(HostLinear linear, std::uint64_t bytes)
{
    HV_ASSERT((linear.raw() | bytes) % page_size == 0);
    for (; bytes > 0; linear = linear.plus(page_size), bytes -= page_size) {
        Status status{Done{}};
        std::uint64_t* const entry = entry_for(linear, 1, status);
        if (entry == nullptr)
            return status;
        *entry = 0;
        invalidate_page(linear.raw());
    }
    return Done{};
}

std::optional<PageTranslation> PageTables::translate(HostLinear linear) const
{
    const std::uint64_t* table = table_at(root_.raw());
    for (unsigned level = page_table_levels; level > 0; --level) {
        const std::uint64_t entry = table[entry_index(linear.raw(), level)];
        if (!is_present(entry))
            return std::nullopt;
        if (!is_table(entry, level)) {
            const std::uint64_t inside = linear.raw() & (entry_span(level) - 1);
            const std::uint64_t page = entry & PageEntry::address_mask & ~(entry_span(level) - 1);
            return PageTranslation{.physical = HostPhysical{page + inside}, .entry = entry};
        }
        table = table_at(entry);
    }
    return std::nullopt;
}

}  // namespace hv::x86
