// SPDX-License-Identifier: MIT
//
// Whole numbers of 256 bits, as four words with the lowest first: what the field and the scalars of Ed25519 are made of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hv::loader::ed25519 {

using Words = std::array<std::uint64_t, 4>;
__extension__ using Wide = unsigned __int128;

/// a += b; the carry out of the highest word.
constexpr std::uint64_t add_in_place(Words& a, const Words& b)
{
    Wide carry{0};
    for (std::size_t word = 0; word < a.size(); ++word) {
        carry += Wide{a[word]} + b[word];
        a[word] = static_cast<std::uint64_t>(carry);
        carry >>= 64;
    }
    return static_cast<std::uint64_t>(carry);
}

/// a -= b; 1 where b was greater, and a has then wrapped.
constexpr std::uint64_t subtract_in_place(Words& a, const Words& b)
{
    std::uint64_t borrow{0};
    for (std::size_t word = 0; word < a.size(); ++word) {
        const Wide difference{Wide{a[word]} - b[word] - borrow};
        a[word] = static_cast<std::uint64_t>(difference);
        borrow = static_cast<std::uint64_t>(difference >> 64) & 1;
    }
    return borrow;
}

constexpr bool less(Words a, const Words& b)
{
    return subtract_in_place(a, b) != 0;
}

/// `index` below 256.
constexpr bool bit(const Words& a, unsigned index)
{
    return (a[index / 64] >> index % 64 & 1) != 0;
}

/// 32 bytes, little-endian.
constexpr Words words_of(std::span<const std::uint8_t, 32> bytes)
{
    Words words{};
    for (std::size_t index = 0; index < bytes.size(); ++index)
        words[index / 8] |= std::uint64_t{bytes[index]} << index % 8 * 8;
    return words;
}

constexpr std::array<std::uint8_t, 32> bytes_of(const Words& words)
{
    std::array<std::uint8_t, 32> bytes{};
    for (std::size_t index = 0; index < bytes.size(); ++index)
        bytes[index] = static_cast<std::uint8_t>(words[index / 8] >> index % 8 * 8);
    return bytes;
}

}  // namespace hv::loader::ed25519
