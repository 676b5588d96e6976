// SPDX-License-Identifier: MIT
//
// Numbers modulo L, the order of the base point [RFC-8032 §5.1, table 1].
#pragma once

#include "words.hpp"

namespace hv::loader::ed25519 {

/// L = 2^252 + 27742317777372353535851937790883648493.
inline constexpr Words group_order{0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, 0x1000000000000000};

/// 64 bytes, little-endian, modulo L: long division a bit at a time, once for each signature.
constexpr Words reduced(std::span<const std::uint8_t, 64> bytes)
{
    Words remainder{};
    for (unsigned index = 512; index-- > 0;) {
        add_in_place(remainder, Words{remainder});
        remainder[0] |= bytes[index / 8] >> index % 8 & 1;
        if (!less(remainder, group_order))
            subtract_in_place(remainder, group_order);
    }
    return remainder;
}

}  // namespace hv::loader::ed25519
