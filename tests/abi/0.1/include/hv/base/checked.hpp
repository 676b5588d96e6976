// SPDX-License-Identifier: MIT
//
// Arithmetic on numbers that somebody else chose: sums, products and alignments that say when they do not fit.
#pragma once

#include <concepts>
#include <optional>

namespace hv {

template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> checked_add(T a, T b)
{
    T result{};
    if (__builtin_add_overflow(a, b, &result))
        return std::nullopt;
    return result;
}

template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> checked_multiply(T a, T b)
{
    T result{};
    if (__builtin_mul_overflow(a, b, &result))
        return std::nullopt;
    return result;
}

/// True for 1, 2, 4, …
template <std::unsigned_integral T>
[[nodiscard]] constexpr bool is_power_of_two(T value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

/// The next multiple of `alignment` (a power of two), or nothing when that does not fit.
template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> checked_align_up(T value, T alignment)
{
    const auto sum = checked_add<T>(value, static_cast<T>(alignment - 1));
    if (!sum)
        return std::nullopt;
    return static_cast<T>(*sum & ~static_cast<T>(alignment - 1));
}

template <std::unsigned_integral T>
[[nodiscard]] constexpr T align_down(T value, T alignment)
{
    return static_cast<T>(value & ~static_cast<T>(alignment - 1));
}

}  // namespace hv
