// SPDX-License-Identifier: MIT
#include "hv/arch/x86/control_domain/address_plan.hpp"

#include <algorithm>

namespace hv::control_domain {

namespace {

/// Bytes of RAM in `range`, by a map: whole pages alone, for nobody owns a part of one.
std::uint64_t ram_inside(const core::MemoryMap& map, GuestRange range)
{
    std::uint64_t sum{0};
    const std::uint64_t begin = range.begin.raw(), end = begin + range.bytes;
    for (const core::E820Entry& entry : map) {
        const std::uint64_t from = std::max(begin, (entry.begin + page_mask) & ~page_mask);
        const std::uint64_t to = std::min(end, (entry.begin + entry.bytes) & ~page_mask);
        if (entry.type == core::E820Type::ram && from < to)
            sum += to - from;
    }
    return sum;
}

}  // namespace

Region AddressPlan::region(GuestPhysical address) const
{
    if (address.raw() >= end_)
        return Region::outside;
    for (const auto& window : windows_)
        if (window && window->contains(address))
            return Region::window;
    const GuestRange byte{address, 1};
    if (ram_inside(own_, byte) != 0)
        return Region::own_ram;
    return ram_inside(machine_, byte) != 0 ? Region::hidden : Region::device;
}

bool AddressPlan::may_map(GuestRange range) const
{
    if (range.begin.raw() > end_ || end_ - range.begin.raw() < range.bytes)
        return false;
    for (const auto& window : windows_)
        if (window && window->overlaps(range))
            return false;
    // RAM that the machine has here and the control domain has not is somebody else's.
    return ram_inside(machine_, range) == ram_inside(own_, range);
}

}  // namespace hv::control_domain
