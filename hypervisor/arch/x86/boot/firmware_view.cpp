// SPDX-License-Identifier: MIT
//
// Reading memory that firmware and loader filled: see firmware_view.hpp.
#include "hv/arch/x86/boot/firmware_view.hpp"

#include <algorithm>

#include "hv/arch/x86/mm/address_space.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::x86 {

namespace {

constexpr std::uint64_t first_megabyte{1ull << 20};

std::span<const std::byte> bytes_at(HostPhysical address, std::uint64_t length)
{
    return {static_cast<const std::byte*>(core::platform::to_pointer(address)),
            static_cast<std::size_t>(length)};
}

std::span<const std::byte> view_boot(void*, HostPhysical address, std::uint64_t length)
{
    if (!HostRange{HostPhysical{0}, boot_mapped_bytes}.contains(address, length))
        return {};
    return bytes_at(address, length);
}

/// True when the map's entries, joined, hold the whole range.
bool is_named(const core::MemoryMap& map, HostPhysical address, std::uint64_t length)
{
    if (HostRange{HostPhysical{0}, first_megabyte}.contains(address, length))
        return true;
    for (const core::E820Entry& entry : map) {
        const HostRange range{HostPhysical{entry.begin}, entry.bytes};
        if (!range.contains(address))
            continue;
        const std::uint64_t inside = std::min(length, entry.begin + entry.bytes - address.raw());
        address = address.plus(inside);
        length -= inside;
        if (length == 0)
            return true;
    }
    return length == 0;
}

std::span<const std::byte> view_firmware(void* context, HostPhysical address, std::uint64_t length)
{
    if (!is_named(*static_cast<const core::MemoryMap*>(context), address, length))
        return {};
    if (!map_firmware({address, length}))
        return {};
    return bytes_at(address, length);
}

}  // namespace

core::FirmwareMemory boot_memory_view()
{
    return {.context = nullptr, .view = view_boot};
}

core::FirmwareMemory firmware_memory_view(const core::MemoryMap& map)
{
    return {.context = const_cast<core::MemoryMap*>(&map), .view = view_firmware};
}

}  // namespace hv::x86
