// SPDX-License-Identifier: MIT
#include "identity_memory.hpp"

#include <bit>
#include <cstdlib>

#include "hv/base/assert.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::test {

IdentityMemory::IdentityMemory(std::uint64_t count)
    : memory_{std::aligned_alloc(page_size, count * page_size)}
{
    HV_ASSERT(memory_ != nullptr);
    const HostRange range{core::platform::to_physical(memory_), count * page_size};
    HV_ASSERT(frames.add_range(range).has_value());
}

IdentityMemory::~IdentityMemory()
{
    std::free(memory_);
}

}  // namespace hv::test

namespace hv::core::platform {

void* to_pointer(HostPhysical address)
{
    return std::bit_cast<void*>(address.raw());
}
HostPhysical to_physical(const void* pointer)
{
    return HostPhysical{std::bit_cast<std::uint64_t>(pointer)};
}

}  // namespace hv::core::platform
