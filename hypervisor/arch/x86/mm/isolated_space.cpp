// SPDX-License-Identifier: MIT
//
// The page tables of isolated instances: see isolated_space.hpp.  A space's upper half is the hypervisor's own, entry by entry,
// and none of its leaves is for ring 3; in the lower half, isolated_area_base begins with the page of stubs, and what the
// instance has follows.  No page of a space is ever replaced or unmapped while it exists, so that nothing needs to be flushed
// but by loading another root [APM2-3.41 §5.5.2].
#include "hv/core/platform/isolated_space.hpp"

#include "hv/arch/x86/mm/address_space.hpp"
#include "hv/base/assert.hpp"
#include "hv/core/platform/platform.hpp"
#include "module_access.hpp"

extern "C" const char hv_module_stubs[];

namespace hv::core::platform {
namespace {

constexpr std::uint64_t stub_bytes{16};
constexpr std::uint64_t stack_bytes{12 * 1024};

x86::PageTables tables_of(IsolatedSpace& space)
{
    return {space.frames, space.ledger, space.root};
}

Status map_for_module(IsolatedSpace& space, std::uint64_t address, HostPhysical frames, std::uint64_t bytes,
                      x86::PageAccess access)
{
    return tables_of(space).map(x86::HostLinear{address}, frames, bytes, {.access = access, .user = true});
}

}  // namespace

Status create_isolated_space(IsolatedSpace& space)
{
    HV_ASSERT(space.root == HostPhysical{});
    x86::PageTables tables{space.frames, space.ledger};
    HV_TRY(tables.create());
    space.root = tables.root();
    space.base = x86::isolated_area_base + page_size;
    tables.share_upper_half(x86::host_page_tables());
    const HostPhysical stubs = to_physical(hv_module_stubs);
    return map_for_module(space, x86::isolated_area_base, stubs, page_size, x86::PageAccess::read_execute);
}

void destroy_isolated_space(IsolatedSpace& space)
{
    tables_of(space).destroy();
    space.root = HostPhysical{};
}

Status map_isolated_pages(IsolatedSpace& space, std::uint64_t address, HostPhysical frames, std::uint64_t bytes,
                          ModuleAccess access)
{
    HV_ASSERT(address >= space.base && address - space.base < isolated_bytes);
    return map_for_module(space, address, frames, bytes, access_of(access));
}

std::uint64_t isolated_stack_bytes()
{
    return stack_bytes;
}

std::uint64_t isolated_service(unsigned position)
{
    return x86::isolated_area_base + (position + 1) * stub_bytes;
}

std::uint64_t isolated_return()
{
    return x86::isolated_area_base;
}

}  // namespace hv::core::platform
