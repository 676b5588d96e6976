// SPDX-License-Identifier: MIT
//
// Where a guest finds the empty module.  Leaf and MSR 0 are declared, leaf and MSR 1 are a hook's.
#pragma once

#include <cstdint>

namespace empty {

inline constexpr std::uint32_t first_leaf{0x4000'0000};
inline constexpr std::uint32_t first_msr{0x4000'0b00};
inline constexpr std::uint16_t port{0x5a0};
inline constexpr std::uint64_t mmio{0xd000'0000};

}  // namespace empty
