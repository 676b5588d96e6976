// SPDX-License-Identifier: MIT
//
// The shape of a nested table: four levels of 512 entries, the pages at level 1.
#pragma once

#include <cstdint>

#include "hv/base/address.hpp"

namespace hv::core {

inline constexpr unsigned nested_root_level{4};
inline constexpr unsigned nested_entries{512};

/// Bytes that one entry of a table of that level maps.
constexpr std::uint64_t nested_span(unsigned level)
{
    return page_size << (9 * (level - 1));
}

constexpr unsigned nested_index(std::uint64_t guest, unsigned level)
{
    return static_cast<unsigned>(guest / nested_span(level)) % nested_entries;
}

}  // namespace hv::core
