// SPDX-License-Identifier: MIT
#include "hv/core/memory/guest_memory.hpp"

#include <cstring>

#include "hv/core/memory/nested_map.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::core {
namespace {

/// Bytes from `address` to the end of its page, at most `length`.
std::uint64_t within_page(GuestPhysical address, std::uint64_t length)
{
    const std::uint64_t left = page_size - address.page_offset();
    return left < length ? left : length;
}

}  // namespace

std::uint64_t GuestMemory::address_mask() const { return map_.format().address_mask; }

std::byte* GuestMemory::page(GuestPhysical address, bool for_writing) const
{
    auto found = map_.lookup(address.page_base());
    if (!found && populator_ != nullptr && populator_->populate(address))
        found = map_.lookup(address.page_base());
    if (!found || (for_writing && !found->access.write))
        return nullptr;
    return static_cast<std::byte*>(platform::to_pointer(found->host));
}

Status GuestMemory::read(GuestPhysical address, std::span<std::byte> to) const
{
    if (!address.checked_add(to.size()))
        return Error::out_of_range;
    while (!to.empty()) {
        const std::byte* const source = page(address, false);
        if (source == nullptr)
            return Error::out_of_range;
        const std::uint64_t piece = within_page(address, to.size());
        std::memcpy(to.data(), source + address.page_offset(), piece);
        to = to.subspan(piece);
        address = address.plus(piece);
    }
    return Done{};
}

bool GuestMemory::writable(GuestPhysical address, std::uint64_t length) const
{
    if (!address.checked_add(length))
        return false;
    for (std::uint64_t done = 0; done < length;) {
        if (page(address.plus(done), true) == nullptr)
            return false;
        done += within_page(address.plus(done), length - done);
    }
    return true;
}

Status GuestMemory::write(GuestPhysical address, std::span<const std::byte> from) const
{
    if (!writable(address, from.size()))  // all of it, before any of it
        return Error::out_of_range;
    while (!from.empty()) {
        std::byte* const target = page(address, true);
        if (target == nullptr)
            return Error::out_of_range;
        const std::uint64_t piece = within_page(address, from.size());
        std::memcpy(target + address.page_offset(), from.data(), piece);
        from = from.subspan(piece);
        address = address.plus(piece);
    }
    return Done{};
}

Status GuestMemory::clear(GuestPhysical address, std::uint64_t length) const
{
    if (!writable(address, length))
        return Error::out_of_range;
    while (length > 0) {
        std::byte* const target = page(address, true);
        if (target == nullptr)
            return Error::out_of_range;
        const std::uint64_t piece = within_page(address, length);
        std::memset(target + address.page_offset(), 0, piece);
        length -= piece;
        address = address.plus(piece);
    }
    return Done{};
}

}  // namespace hv::core
