// SPDX-License-Identifier: MIT
//
// The machine's memory as the firmware describes it, put in order, and its division between the control
// domain and the frame allocator.  Portable; knows addresses only and touches no memory.
#pragma once

#include <cstdint>
#include <span>

#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/base/static_vector.hpp"
#include "hv/core/control_domain/builder.hpp"  // E820Entry

namespace hv::core {

inline constexpr std::size_t maximum_memory_entries{256};

/// Ascending and disjoint when it comes from normalize_memory_map().
using MemoryMap = StaticVector<E820Entry, maximum_memory_entries>;
using HostRanges = StaticVector<HostRange, maximum_memory_entries>;

/// Puts a firmware's map in order: ascending, disjoint, neighbours of one type joined.  Where entries overlap
/// the more restrictive type wins (anything beats RAM); unknown types become reserved; empty entries vanish
/// and what wraps is cut. Fails with limit_reached.
Expected<MemoryMap> normalize_memory_map(std::span<const E820Entry> raw);

[[nodiscard]] std::uint64_t ram_bytes(const MemoryMap& map);
/// True when the whole range is RAM.
[[nodiscard]] bool is_ram(const MemoryMap& map, HostRange range);

/// Who gets what.
struct MemorySplit {
    MemoryMap control_domain;  ///< the control domain's map: its RAM, and everything else as what it is, or
                               ///< reserved
    HostRanges allocator;      ///< whole pages of RAM for the frame allocator
};

/// The control domain gets the lowest `control_bytes` of RAM, except what is in `reserved` (the hypervisor's
/// image, the page that processors start in); the allocator gets the RAM above, page by page, except what is
/// reserved.  Fails with no_memory when there is not that much RAM, or limit_reached when the maps become too
/// long.
Expected<MemorySplit> split_memory(const MemoryMap& map, std::span<const HostRange> reserved,
                                   std::uint64_t control_bytes);

/// Where a module goes that lies in the control domain's RAM.
struct ModuleMove {
    std::size_t index;  ///< into the modules that plan_module_moves was given
    HostPhysical to;
};
using ModuleMoves = StaticVector<ModuleMove, 64>;

/// Finds a new place, below `ceiling` and outside of everything else, for each module that overlaps RAM of
/// the control domain, and takes the places of all modules out of `split.allocator`.  Fails with no_memory,
/// or limit_reached; the split is then unchanged.
Expected<ModuleMoves> plan_module_moves(MemorySplit& split, std::span<const HostRange> modules,
                                        HostPhysical ceiling);

/// The highest page of RAM below 512 KiB that none of the ranges touches: processors start there in real
/// mode.  Fails with no_memory.
Expected<HostPhysical> find_low_page(const MemoryMap& map, std::span<const HostRange> taken);

}  // namespace hv::core
