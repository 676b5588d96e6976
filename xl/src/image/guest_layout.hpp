// SPDX-License-Identifier: MIT
//
// A guest's physical memory while it is being filled: where RAM is, what is taken, where the next thing goes.
// RAM is [0, 0x9fc00), [1 MiB, 3 GiB) and the rest from 4 GiB on; what lies between is told to the guest as
// reserved.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hv/base/address.hpp"

namespace hv::xl {

/// As the types of e820 and of PVH's memory map number them.
enum class MemoryType : std::uint32_t { ram = 1, reserved = 2, acpi_reclaimable = 3 };

struct MemoryMapEntry {
    std::uint64_t address{};
    std::uint64_t bytes{};
    MemoryType type{};

    friend bool operator==(const MemoryMapEntry&, const MemoryMapEntry&) = default;
};

class GuestLayout {
public:
    /// `memory_bytes` of RAM, a multiple of a page and at least 2 MiB; of it `acpi_bytes` (a multiple of a
    /// page) are kept for ACPI tables, at the top of the RAM below 3 GiB.
    GuestLayout(std::uint64_t memory_bytes, std::uint64_t acpi_bytes);

    /// Takes a range that a file asked for.  Failure (not_granted): not in RAM below 3 GiB, or taken already.
    void claim(std::uint64_t address, std::uint64_t bytes, const std::string& what);
    /// The lowest free place below 640 KiB.  Failure: none.
    [[nodiscard]] std::uint64_t place_low(std::uint64_t bytes, std::uint64_t alignment,
                                          const std::string& what);
    /// The highest free place between 1 MiB and `limit`.  Failure: none.
    [[nodiscard]] std::uint64_t place_high(std::uint64_t bytes, std::uint64_t alignment, std::uint64_t limit,
                                           const std::string& what);
    /// True where the range could be claimed.
    [[nodiscard]] bool is_free(std::uint64_t address, std::uint64_t bytes) const;

    [[nodiscard]] std::uint64_t acpi_address() const { return low_top_ - acpi_bytes_; }
    /// Ascending, without overlaps.
    [[nodiscard]] std::vector<MemoryMapEntry> memory_map() const;

private:
    std::uint64_t low_top_;   ///< end of RAM below 3 GiB
    std::uint64_t high_top_;  ///< end of RAM above 4 GiB; 4 GiB where there is none
    std::uint64_t acpi_bytes_;
    std::vector<GuestRange> taken_;
};

}  // namespace hv::xl
