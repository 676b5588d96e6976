// SPDX-License-Identifier: MIT
#include "isolated_memory.hpp"

#include <cstring>

#include "hv/base/assert.hpp"
#include "hv/base/checked.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::core {
namespace {

std::byte* bytes_of(HostPhysical frames)
{
    return static_cast<std::byte*>(platform::to_pointer(frames));
}

}  // namespace

IsolatedMemory::~IsolatedMemory()
{
    HV_ASSERT(image_.own == nullptr);
    for (const Block& block : blocks_)
        release_region(block.region);
    for (const Region& seat : seats_)
        release_region(seat);
    release_region(writable_);
    release_region(constants_);
    platform::destroy_isolated_space(space);
}

Status IsolatedMemory::create(std::uint64_t constant_bytes, std::uint64_t writable_bytes, unsigned seats)
{
    HV_TRY(platform::create_isolated_space(space));
    constants_ = HV_TRY(add_region(constant_bytes, platform::ModuleAccess::read_only));
    writable_ = HV_TRY(add_region(writable_bytes, platform::ModuleAccess::read_write));
    for (unsigned index = 0; index < seats; ++index) {
        const std::uint64_t bytes = platform::isolated_stack_bytes() + sizeof(Exchange);
        HV_ASSERT(seats_.push_back(HV_TRY(add_region(bytes, platform::ModuleAccess::read_write))));
    }
    return Done{};
}

/// Addresses with a page that nobody maps before and after.
Expected<std::uint64_t> IsolatedMemory::take_addresses(std::uint64_t bytes)
{
    const std::uint64_t left = platform::isolated_bytes - 2 * page_size - next_address_;
    if (bytes > left || left - bytes < page_size)
        return Error::limit_reached;
    const std::uint64_t address = space.base + next_address_ + page_size;
    next_address_ += page_size + bytes;
    return address;
}

/// Whole pages of zeroes.
Expected<IsolatedMemory::Region> IsolatedMemory::add_region(std::uint64_t bytes, platform::ModuleAccess access)
{
    const std::uint64_t whole = *checked_align_up(bytes, page_size);  // ours: no larger than the instance may become
    const std::uint64_t address = HV_TRY(take_addresses(whole));
    auto frames = HV_TRY(OwnedFrames::allocate(frames_, order_for_bytes(whole), ledger_));
    std::memset(bytes_of(frames.address()), 0, static_cast<std::size_t>(frames.bytes()));
    HV_TRY(platform::map_isolated_pages(space, address, frames.address(), whole, access));
    return Region{address, whole, bytes_of(frames.leak()), access == platform::ModuleAccess::read_write};
}

void IsolatedMemory::release_region(const Region& region)
{
    if (region.own != nullptr)
        frames_.release(platform::to_physical(region.own), order_for_bytes(region.bytes), ledger_);
}

// ---- the image
// --------------------------------------------------------------------------------------------------

Expected<loader::Placement> IsolatedMemory::reserve(const loader::ImageLayout& layout)
{
    HV_ASSERT(image_.own == nullptr);
    const std::uint64_t address = HV_TRY(take_addresses(layout.bytes()));
    auto frames = HV_TRY(OwnedFrames::allocate(frames_, order_for_bytes(layout.bytes()), ledger_));
    std::memset(bytes_of(frames.address()), 0, static_cast<std::size_t>(frames.bytes()));
    image_ = {address, layout.bytes(), bytes_of(frames.leak()), false};
    layout_ = layout;
    return loader::Placement{{image_.own, static_cast<std::size_t>(layout.bytes())}, address};
}

Status IsolatedMemory::seal(const loader::Placement& placement, const loader::ImageLayout& layout)
{
    const auto map = [&](const loader::Region& region, platform::ModuleAccess access) -> Status {
        if (region.bytes == 0)
            return Done{};
        const HostPhysical frames = platform::to_physical(image_.own + region.offset);
        return platform::map_isolated_pages(space, placement.address + region.offset, frames, region.bytes, access);
    };
    HV_TRY(map(layout.text, platform::ModuleAccess::read_execute));
    HV_TRY(map(layout.rodata, platform::ModuleAccess::read_only));
    return map(layout.data, platform::ModuleAccess::read_write);
}

/// The frames only: the mappings end with the space, in which nothing runs any more.
void IsolatedMemory::release(const loader::Placement&, const loader::ImageLayout&)
{
    release_region(image_);
    image_ = {};
}

// ---- addresses
// --------------------------------------------------------------------------------------------------

std::uint64_t IsolatedMemory::address_of(const void* own) const
{
    const auto* const byte = static_cast<const std::byte*>(own);
    const Region& region = byte - constants_.own >= 0 && byte < constants_.own + constants_.bytes ? constants_ : writable_;
    HV_ASSERT(byte >= region.own && byte < region.own + region.bytes);
    return region.address + static_cast<std::uint64_t>(byte - region.own);
}

void IsolatedMemory::fill_seat(unsigned index, Seat& seat) const
{
    constexpr std::uint64_t stack_alignment{16};
    const Region& region = seats_[index];
    const std::uint64_t room = align_down(region.bytes - sizeof(Exchange), stack_alignment);
    seat.exchange = new (region.own + room) Exchange{};
    seat.to_module = region.address - reinterpret_cast<std::uintptr_t>(region.own);
    seat.return_slot = reinterpret_cast<std::uint64_t*>(region.own + room) - 1;
    seat.stack = region.address + room - sizeof *seat.return_slot;
}

std::byte* IsolatedMemory::reach(std::uint64_t address, std::uint64_t bytes, bool write)
{
    for (const Region& seat : seats_)
        if (std::byte* const found = seat.reach(address, bytes, write))
            return found;
    for (const Region* const region : {&writable_, &constants_, &image_})
        if (std::byte* const found = region->reach(address, bytes, write))
            return found;
    if (image_.own != nullptr) {
        const Region data{image_.address + layout_.data.offset, layout_.data.bytes, image_.own + layout_.data.offset, true};
        if (std::byte* const found = data.reach(address, bytes, write))
            return found;
    }
    const LockGuard guard{allocation_lock_};
    for (const Block& block : blocks_)
        if (std::byte* const found = block.used ? block.region.reach(address, bytes, write) : nullptr)
            return found;
    return nullptr;
}

// ---- allocations
// ------------------------------------------------------------------------------------------------

Expected<std::uint64_t> IsolatedMemory::allocate(std::uint64_t bytes)
{
    const unsigned order = order_for_bytes(bytes);
    const LockGuard guard{allocation_lock_};
    for (Block& block : blocks_)
        if (!block.used && block.order == order) {
            std::memset(block.region.own, 0, static_cast<std::size_t>(block.region.bytes));
            block.used = true;
            return block.region.address;
        }
    if (blocks_.full())
        return Error::limit_reached;
    const Region region = HV_TRY(add_region(page_size << order, platform::ModuleAccess::read_write));
    HV_ASSERT(blocks_.push_back({region, order, true}));
    return region.address;
}

Status IsolatedMemory::release_allocation(std::uint64_t address)
{
    const LockGuard guard{allocation_lock_};
    for (Block& block : blocks_)
        if (block.used && block.region.address == address) {
            block.used = false;
            return Done{};
        }
    return Error::invalid_argument;
}

}  // namespace hv::core
