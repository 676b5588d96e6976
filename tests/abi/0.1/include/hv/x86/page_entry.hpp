// SPDX-License-Identifier: MIT
//
// Entries of long-mode page tables, of the host's and of nested ones alike.  Definitions only.  [APM2-3.41
// §5.3 and §5.4].
#pragma once

#include <cstdint>

#include "hv/base/address.hpp"
#include "hv/base/field.hpp"

namespace hv::x86 {

struct PageEntry {
    using Present = Bit<0>;
    using Writable = Bit<1>;
    using User = Bit<2>;
    using WriteThrough = Bit<3>;
    using CacheDisable = Bit<4>;
    using Accessed = Bit<5>;
    using Dirty = Bit<6>;
    using Large = Bit<7>;  // at the 2 MiB and 1 GiB levels; at the 4 KiB level it is PAT
    using Global = Bit<8>;
    using NoExecute = Bit<63>;
    static constexpr std::uint64_t address_mask{0x000f'ffff'ffff'f000};
};

inline constexpr unsigned page_table_entries{512};
inline constexpr unsigned page_table_levels{4};
inline constexpr std::uint64_t large_page_size{2ull << 20};
inline constexpr std::uint64_t huge_page_size{1ull << 30};

/// Bytes that one entry maps at `level`: 1 is the last (4 KiB), 2 is 2 MiB, 3 is 1 GiB, 4 is 512 GiB.
constexpr std::uint64_t entry_span(unsigned level)
{
    return page_size << (9 * (level - 1));
}
constexpr unsigned entry_index(std::uint64_t address, unsigned level)
{
    return static_cast<unsigned>(address >> (12 + 9 * (level - 1))) & (page_table_entries - 1);
}
static_assert(entry_span(2) == large_page_size && entry_span(3) == huge_page_size);

}  // namespace hv::x86
