// SPDX-License-Identifier: MIT
//
// Addresses for extension modules in a test process: pages of the process, with the contents of the frames
// copied in and really protected, so that a placed module runs and a write to its text ends the test.
#include <sys/mman.h>

#include <cstring>

#include "fake_platform.hpp"
#include "hv/base/assert.hpp"
#include "hv/core/platform/module_space.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::fake {

namespace {
unsigned reservations_now{};
unsigned mappings_to_fail{~0u};
}  // namespace

unsigned module_reservations()
{
    return reservations_now;
}
void fail_module_mapping(unsigned after)
{
    mappings_to_fail = after;
}
bool module_mapping_fails()
{
    return mappings_to_fail != ~0u && mappings_to_fail-- == 0;
}

}  // namespace hv::fake

namespace hv::core::platform {

Expected<std::uint64_t> reserve_module_space(std::uint64_t bytes)
{
    void* const pages = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return Error::limit_reached;
    ++fake::reservations_now;
    return reinterpret_cast<std::uint64_t>(pages);
}

Status map_module_pages(std::uint64_t address, HostPhysical frames, std::uint64_t bytes, ModuleAccess access)
{
    if (fake::module_mapping_fails())
        return Error::no_memory;
    auto* const pages = reinterpret_cast<std::byte*>(address);
    HV_ASSERT(mprotect(pages, bytes, PROT_READ | PROT_WRITE) == 0);
    std::memcpy(pages, to_pointer(frames), bytes);
    const int rights = access == ModuleAccess::read_execute ? PROT_READ | PROT_EXEC
                       : access == ModuleAccess::read_write ? PROT_READ | PROT_WRITE
                                                            : PROT_READ;
    HV_ASSERT(mprotect(pages, bytes, rights) == 0);
    return Done{};
}

void release_module_space(std::uint64_t address, std::uint64_t bytes)
{
    HV_ASSERT(munmap(reinterpret_cast<void*>(address), bytes) == 0);
    --fake::reservations_now;
}

}  // namespace hv::core::platform
