// SPDX-License-Identifier: MIT
//
// First fit, from below or from above, around what is taken.
#include "image/guest_layout.hpp"

#include <algorithm>

#include "base/failure.hpp"
#include "config/byte_size.hpp"
#include "hv/base/checked.hpp"
#include "hv/protocol/platform_layout.hpp"

namespace hv::xl {
namespace {

constexpr std::uint64_t low_ram_end{0x9fc00};
constexpr std::uint64_t high_ram_begin{0x10'0000};
/// Page 0 stays empty: a null pointer of a guest finds nothing of ours, and 0 means "none" in start
/// structures.
constexpr std::uint64_t lowest_place{0x1000};

[[noreturn]] void no_room(const std::string& what, std::uint64_t bytes)
{
    throw Failure{ExitCode::not_granted,
                  {"the guest's memory has no room for " + what + " (" + std::to_string(bytes) + " bytes)",
                   "/memory",
                   {}}};
}

}  // namespace

GuestLayout::GuestLayout(std::uint64_t memory_bytes, std::uint64_t acpi_bytes)
    : low_top_{std::min(memory_bytes, protocol::mmio_hole_begin)},
      high_top_{protocol::mmio_hole_end + (memory_bytes - low_top_)}, acpi_bytes_{acpi_bytes}
{
}

bool GuestLayout::is_free(std::uint64_t address, std::uint64_t bytes) const
{
    const GuestRange wanted{GuestPhysical{address}, bytes};
    const GuestRange low{GuestPhysical{0}, low_ram_end};
    const GuestRange high{GuestPhysical{high_ram_begin}, acpi_address() - high_ram_begin};
    if (!low.contains(wanted.begin, bytes) && !high.contains(wanted.begin, bytes))
        return false;
    return std::none_of(taken_.begin(), taken_.end(),
                        [&](const GuestRange& one) { return one.overlaps(wanted); });
}

void GuestLayout::claim(std::uint64_t address, std::uint64_t bytes, const std::string& what)
{
    if (!is_free(address, bytes)) {
        char place[40];
        std::snprintf(place, sizeof place, "0x%llx", static_cast<unsigned long long>(address));
        throw Failure{ExitCode::not_granted,
                      {what + " needs " + std::to_string(bytes) + " bytes at " + place +
                           ", which is not free RAM of this guest of " + byte_size_text(low_top_),
                       "/memory",
                       {}}};
    }
    taken_.push_back({GuestPhysical{address}, bytes});
}

std::uint64_t GuestLayout::place_low(std::uint64_t bytes, std::uint64_t alignment, const std::string& what)
{
    std::uint64_t candidate{lowest_place};
    while (candidate + bytes <= low_ram_end) {
        const GuestRange wanted{GuestPhysical{candidate}, bytes};
        const auto obstacle = std::find_if(taken_.begin(), taken_.end(),
                                           [&](const GuestRange& one) { return one.overlaps(wanted); });
        if (obstacle == taken_.end()) {
            taken_.push_back(wanted);
            return candidate;
        }
        candidate = *checked_align_up(obstacle->begin.raw() + obstacle->bytes, alignment);
    }
    no_room(what, bytes);
}

std::uint64_t GuestLayout::place_high(std::uint64_t bytes, std::uint64_t alignment, std::uint64_t limit,
                                      const std::string& what)
{
    std::uint64_t end{std::min(limit, acpi_address())};
    while (end >= high_ram_begin && end - high_ram_begin >= bytes) {
        const std::uint64_t candidate{align_down(end - bytes, alignment)};
        const GuestRange wanted{GuestPhysical{candidate}, bytes};
        if (candidate < high_ram_begin)
            break;
        const auto obstacle = std::find_if(taken_.begin(), taken_.end(),
                                           [&](const GuestRange& one) { return one.overlaps(wanted); });
        if (obstacle == taken_.end()) {
            taken_.push_back(wanted);
            return candidate;
        }
        end = obstacle->begin.raw();
    }
    no_room(what, bytes);
}

std::vector<MemoryMapEntry> GuestLayout::memory_map() const
{
    std::vector<MemoryMapEntry> map{
        {0, low_ram_end, MemoryType::ram},
        {low_ram_end, high_ram_begin - low_ram_end, MemoryType::reserved},
        {high_ram_begin, acpi_address() - high_ram_begin, MemoryType::ram},
        {acpi_address(), acpi_bytes_, MemoryType::acpi_reclaimable},
        {protocol::io_apic_base, protocol::io_apic_bytes, MemoryType::reserved},
        {protocol::local_apic_base, protocol::local_apic_bytes, MemoryType::reserved},
    };
    if (high_top_ > protocol::mmio_hole_end)
        map.push_back({protocol::mmio_hole_end, high_top_ - protocol::mmio_hole_end, MemoryType::ram});
    return map;
}

}  // namespace hv::xl
