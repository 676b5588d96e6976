// SPDX-License-Identifier: MIT
//
// Registers as fields with positions.  The layout is arithmetic, not a language bit-field, so it is the same on every
// compiler, works in constexpr and can be applied to a volatile or a freshly read value.
#pragma once

#include <cstdint>

namespace hv {

/// Bits High..Low of a register, as a value of type T.
template <unsigned High, unsigned Low, typename T = std::uint64_t>
struct Field {
    static_assert(High >= Low && High < 64);
    static constexpr unsigned low{Low};
    static constexpr std::uint64_t mask{(~0ull >> (63 - High)) & (~0ull << Low)};

    [[nodiscard]] static constexpr T get(std::uint64_t raw) { return static_cast<T>((raw & mask) >> Low); }
    [[nodiscard]] static constexpr std::uint64_t set(std::uint64_t raw, T value)
    {
        return (raw & ~mask) | ((static_cast<std::uint64_t>(value) << Low) & mask);
    }
    [[nodiscard]] static constexpr std::uint64_t make(T value) { return set(0, value); }
};

/// A single bit as a flag.
template <unsigned Position>
using Bit = Field<Position, Position, bool>;

}  // namespace hv
