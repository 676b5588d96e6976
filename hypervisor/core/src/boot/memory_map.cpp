// SPDX-License-Identifier: MIT
//
// Ordering and dividing memory: see memory_map.hpp.  Ranges are kept as [begin, end) while they are worked
// on; an end of 2^64 does not occur, since what wraps is cut at the last whole page.
#include "hv/core/boot/memory_map.hpp"

#include <algorithm>
#include <optional>

#include "hv/base/checked.hpp"
#include "hv/base/expected.hpp"

namespace hv::core {

namespace {

constexpr std::uint64_t last_page{~page_mask};
/// Below what a Linux in the control domain looks through for firmware's tables (iBFT: from 512 KiB on).
constexpr std::uint64_t low_memory_end{512 * 1024};

/// How much a type restricts: where two claim the same byte the higher one wins.
int severity(E820Type type)
{
    switch (type) {
    case E820Type::ram: return 0;
    case E820Type::acpi_tables: return 1;
    case E820Type::acpi_nvs: return 2;
    case E820Type::reserved: return 3;
    case E820Type::unusable: return 4;
    }
    return 3;
}

E820Type known(E820Type type)
{
    switch (type) {
    case E820Type::ram:
    case E820Type::reserved:
    case E820Type::acpi_tables:
    case E820Type::acpi_nvs:
    case E820Type::unusable: return type;
    }
    return E820Type::reserved;
}

std::uint64_t end_of(const E820Entry& entry)
{
    return checked_add(entry.begin, entry.bytes).value_or(last_page);
}
std::uint64_t end_of(const HostRange& range)
{
    return range.begin.raw() + range.bytes;
}

/// Appends, joined with the last entry where they touch and are of one type.
Status append(MemoryMap& map, std::uint64_t begin, std::uint64_t end, E820Type type)
{
    if (begin >= end)
        return Done{};
    if (!map.empty() && map.back().type == type && map.back().begin + map.back().bytes == begin) {
        map.back().bytes += end - begin;
        return Done{};
    }
    if (!map.push_back({.begin = begin, .bytes = end - begin, .type = type}))
        return Error::limit_reached;
    return Done{};
}

/// The next address after `position` where any entry begins or ends, or nothing.
std::optional<std::uint64_t> next_edge(std::span<const E820Entry> raw, std::uint64_t position)
{
    std::optional<std::uint64_t> next;
    const auto consider = [&](std::uint64_t edge) {
        if (edge > position && (!next || edge < *next))
            next = edge;
    };
    for (const E820Entry& entry : raw) {
        if (entry.bytes == 0)
            continue;
        consider(entry.begin);
        consider(end_of(entry));
    }
    return next;
}

std::optional<E820Type> type_at(std::span<const E820Entry> raw, std::uint64_t position)
{
    std::optional<E820Type> found;
    for (const E820Entry& entry : raw)
        if (entry.bytes != 0 && position >= entry.begin && position < end_of(entry))
            if (!found || severity(known(entry.type)) > severity(*found))
                found = known(entry.type);
    return found;
}

/// Takes [begin, end) out of every range; false when that makes too many pieces.
bool subtract(HostRanges& ranges, HostRange hole)
{
    for (std::size_t index = 0; index < ranges.size(); ++index) {
        const HostRange range = ranges[index];
        if (!range.overlaps(hole))
            continue;
        const std::uint64_t left = hole.begin > range.begin ? hole.begin.raw() - range.begin.raw() : 0;
        const std::uint64_t right = end_of(range) > end_of(hole) ? end_of(range) - end_of(hole) : 0;
        ranges.erase(ranges.begin() + index);
        if (right != 0 && !ranges.insert(ranges.begin() + index, {HostPhysical{end_of(hole)}, right}))
            return false;
        if (left != 0 && !ranges.insert(ranges.begin() + index, {range.begin, left}))
            return false;
        index = left == 0 && right == 0 ? index - 1 : index;  // wraps for 0, and ++ brings it back
    }
    return true;
}

HostRange outward(HostRange range)
{
    const std::uint64_t begin = align_down(range.begin.raw(), page_size);
    return {HostPhysical{begin}, checked_align_up(end_of(range), page_size).value_or(last_page) - begin};
}

HostRange inward(std::uint64_t begin, std::uint64_t end)
{
    const std::uint64_t first = checked_align_up(begin, page_size).value_or(last_page);
    const std::uint64_t last = align_down(end, page_size);
    return {HostPhysical{first}, last > first ? last - first : 0};
}

/// The RAM that can be given to anybody: whole pages, without what is reserved.
std::optional<HostRanges> free_ram(const MemoryMap& map, std::span<const HostRange> reserved)
{
    HostRanges ranges;
    for (const E820Entry& entry : map) {
        const HostRange pages = inward(entry.begin, end_of(entry));
        if (entry.type == E820Type::ram && pages.bytes != 0 && !ranges.push_back(pages))
            return std::nullopt;
    }
    for (const HostRange& range : reserved)
        if (range.bytes != 0 && !subtract(ranges, outward(range)))
            return std::nullopt;
    return ranges;
}

/// The machine's map with `own` as its only RAM.
Expected<MemoryMap> control_map(const MemoryMap& map, const HostRanges& own)
{
    MemoryMap result;
    for (const E820Entry& entry : map) {
        if (entry.type != E820Type::ram) {
            HV_TRY(append(result, entry.begin, end_of(entry), entry.type));
            continue;
        }
        std::uint64_t position = entry.begin;
        for (const HostRange& range : own) {
            if (range.begin.raw() < entry.begin || range.begin.raw() >= end_of(entry))
                continue;
            HV_TRY(append(result, position, range.begin.raw(), E820Type::reserved));
            HV_TRY(append(result, range.begin.raw(), end_of(range), E820Type::ram));
            position = end_of(range);
        }
        HV_TRY(append(result, position, end_of(entry), E820Type::reserved));
    }
    return result;
}

/// The highest place for so many bytes in what is free, below the ceiling, or nothing.
std::optional<HostRange> find_place(const HostRanges& free, std::uint64_t bytes, HostPhysical ceiling)
{
    for (std::size_t index = free.size(); index-- > 0;) {
        const std::uint64_t begin = free[index].begin.raw();
        const std::uint64_t end = align_down(std::min(end_of(free[index]), ceiling.raw()), page_size);
        if (end > begin && end - begin >= bytes)
            return HostRange{HostPhysical{end - bytes}, bytes};
    }
    return std::nullopt;
}

bool in_control_ram(const MemorySplit& split, HostRange range)
{
    for (const E820Entry& entry : split.control_domain)
        if (entry.type == E820Type::ram && range.overlaps({HostPhysical{entry.begin}, entry.bytes}))
            return true;
    return false;
}

}  // namespace

Expected<MemoryMap> normalize_memory_map(std::span<const E820Entry> raw)
{
    MemoryMap map;
    std::uint64_t position{0};
    for (;;) {
        const auto type = type_at(raw, position);
        const auto edge = next_edge(raw, position);
        if (!edge)
            return map;
        if (type)
            HV_TRY(append(map, position, *edge, *type));
        position = *edge;
    }
}

std::uint64_t ram_bytes(const MemoryMap& map)
{
    std::uint64_t sum{0};
    for (const E820Entry& entry : map)
        sum += entry.type == E820Type::ram ? entry.bytes : 0;
    return sum;
}

bool is_ram(const MemoryMap& map, HostRange range)
{
    for (const E820Entry& entry : map)
        if (entry.type == E820Type::ram &&
            HostRange{HostPhysical{entry.begin}, entry.bytes}.contains(range.begin, range.bytes))
            return true;
    return false;
}

Expected<MemorySplit> split_memory(const MemoryMap& map, std::span<const HostRange> reserved,
                                   std::uint64_t control_bytes)
{
    const auto free = free_ram(map, reserved);
    if (!free)
        return Error::limit_reached;
    HostRanges own;
    MemorySplit split;
    std::uint64_t wanted = control_bytes;
    for (const HostRange& range : *free) {
        const std::uint64_t taken = align_down(std::min(wanted, range.bytes), page_size);
        wanted -= taken;
        bool room{true};
        if (taken != 0)
            room = own.push_back({range.begin, taken});
        if (taken != range.bytes)
            room = room && split.allocator.push_back({range.begin.plus(taken), range.bytes - taken});
        if (!room)
            return Error::limit_reached;
    }
    if (wanted >= page_size)
        return Error::no_memory;
    split.control_domain = HV_TRY(control_map(map, own));
    return split;
}

Expected<ModuleMoves> plan_module_moves(MemorySplit& split, std::span<const HostRange> modules,
                                        HostPhysical ceiling)
{
    HostRanges free = split.allocator;
    for (const HostRange& module : modules)
        if (module.bytes != 0 && !subtract(free, outward(module)))
            return Error::limit_reached;
    ModuleMoves moves;
    for (std::size_t index = 0; index < modules.size(); ++index) {
        if (modules[index].bytes == 0 || !in_control_ram(split, modules[index]))
            continue;
        const auto bytes = checked_align_up(modules[index].bytes, page_size);
        const auto place = bytes ? find_place(free, *bytes, ceiling) : std::nullopt;
        if (!place)
            return Error::no_memory;
        if (!subtract(free, *place) || !moves.push_back({.index = index, .to = place->begin}))
            return Error::limit_reached;
    }
    split.allocator = free;
    return moves;
}

Expected<HostPhysical> find_low_page(const MemoryMap& map, std::span<const HostRange> taken)
{
    for (std::uint64_t page = low_memory_end - page_size; page >= page_size; page -= page_size) {
        const HostRange candidate{HostPhysical{page}, page_size};
        const bool free = std::none_of(taken.begin(), taken.end(),
                                       [&](const HostRange& range) { return range.overlaps(candidate); });
        if (free && is_ram(map, candidate))
            return candidate.begin;
    }
    return Error::no_memory;
}

}  // namespace hv::core
