// SPDX-License-Identifier: MIT
#include "module_memory.hpp"

#include "hv/base/assert.hpp"
#include "hv/core/platform/module_space.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::core {

InstanceMemory::~InstanceMemory()
{
    HV_ASSERT(!image_);
}

Expected<loader::Placement> InstanceMemory::reserve(const loader::ImageLayout& layout)
{
    HV_ASSERT(!image_);
    const std::uint64_t address = HV_TRY(platform::reserve_module_space(layout.bytes()));
    auto frames = OwnedFrames::allocate(frames_, order_for_bytes(layout.bytes()), ledger_);
    if (!frames) {
        platform::release_module_space(address, layout.bytes());
        return frames.error();
    }
    image_ = std::move(frames.value());
    auto* const bytes = static_cast<std::byte*>(platform::to_pointer(image_.address()));
    return loader::Placement{{bytes, static_cast<std::size_t>(layout.bytes())}, address};
}

Status InstanceMemory::seal(const loader::Placement& placement, const loader::ImageLayout& layout)
{
    const auto map = [&](const loader::Region& region, platform::ModuleAccess access) -> Status {
        if (region.bytes == 0)
            return Done{};
        return platform::map_module_pages(placement.address + region.offset,
                                          image_.address().plus(region.offset), region.bytes, access);
    };
    HV_TRY(map(layout.text, platform::ModuleAccess::read_execute));
    HV_TRY(map(layout.rodata, platform::ModuleAccess::read_only));
    return map(layout.data, platform::ModuleAccess::read_write);
}

void InstanceMemory::release(const loader::Placement& placement, const loader::ImageLayout& layout)
{
    platform::release_module_space(placement.address, layout.bytes());
    image_ = OwnedFrames{};
}

}  // namespace hv::core
