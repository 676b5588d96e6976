// SPDX-License-Identifier: MIT
//
// Addresses for extension modules, on the target: see module_space.hpp.  No address is given out twice since
// boot: a processor that still has a translation of an image that is gone cannot meet the next one's by it,
// and no other processor's translations need to be flushed.  What was not present before needs no flush
// either [APM2-3.41 "TLB Management"].
#include "hv/core/platform/module_space.hpp"

#include "hv/arch/x86/mm/address_space.hpp"
#include "hv/arch/x86/mm/layout.hpp"
#include "hv/base/assert.hpp"
#include "hv/core/sync/spinlock.hpp"
#include "module_access.hpp"

namespace hv::core::platform {
namespace {

constinit Spinlock lock{};
constinit std::uint64_t next_address{x86::module_area_base + page_size};

}  // namespace

Expected<std::uint64_t> reserve_module_space(std::uint64_t bytes)
{
    HV_ASSERT(bytes % page_size == 0);
    const LockGuard guard{lock};
    const std::uint64_t left = x86::module_area_base + x86::module_area_bytes - next_address;
    if (bytes > left || left - bytes < page_size)
        return Error::limit_reached;
    const std::uint64_t address = next_address;
    next_address += bytes + page_size;  // the page between is mapped by nobody
    return address;
}

Status map_module_pages(std::uint64_t address, HostPhysical frames, std::uint64_t bytes, ModuleAccess access)
{
    const LockGuard guard{lock};
    const x86::HostLinear linear{address};
    const auto mapped = x86::host_page_tables().map(linear, frames, bytes, {.access = access_of(access)});
    if (!mapped)
        static_cast<void>(x86::host_page_tables().unmap(linear, bytes));
    return mapped;
}

void release_module_space(std::uint64_t address, std::uint64_t bytes)
{
    const LockGuard guard{lock};
    for (std::uint64_t offset = 0; offset < bytes; offset += page_size)
        if (x86::host_page_tables().translate(x86::HostLinear{address + offset})) {
            const auto unmapped = x86::host_page_tables().unmap(x86::HostLinear{address + offset}, page_size);
            HV_ASSERT(unmapped);  // see map_module_pages: images are smaller than a large page is aligned
        }
}

}  // namespace hv::core::platform
