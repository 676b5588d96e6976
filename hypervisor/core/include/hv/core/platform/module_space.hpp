// SPDX-License-Identifier: MIT
//
// Where the images of extension modules run: addresses of the hypervisor's own space, apart from everything
// else, with nothing mapped before and behind each.  A link-time seam like platform.hpp: the target's
// definitions are in hypervisor/arch/x86/mm/module_space.cpp, the host tests' in tests/fake.  Knows nothing
// of modules: pages and rights.
#pragma once

#include <cstdint>

#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"

namespace hv::core::platform {

/// How a page may be used.  Nothing is ever writable and executable.
enum class ModuleAccess : std::uint8_t {
    read_execute,
    read_only,
    read_write
};

/// Addresses for `bytes` (whole pages, at most 2 MiB), nothing mapped there yet.  Fails with limit_reached.
Expected<std::uint64_t> reserve_module_space(std::uint64_t bytes);
/// Makes [frames, frames + bytes) appear at `address`, where nothing was mapped before: what it holds has
/// been written already.  Fails with no_memory; nothing of this range is then mapped.
Status map_module_pages(std::uint64_t address, HostPhysical frames, std::uint64_t bytes, ModuleAccess access);
/// Takes the mappings of a reservation away, whatever of it was mapped, and ends it.  No processor runs in it
/// any more.
void release_module_space(std::uint64_t address, std::uint64_t bytes);

}  // namespace hv::core::platform
