// SPDX-License-Identifier: MIT
//
// Arithmetic modulo p = 2^255 - 19 [RFC-8032 §5.1, table 1].  An element is any number of 256 bits that is congruent to
// it; only canonical() makes it the one below p.  What runs over 2^256 comes back times 38, since 2^256 is 38 more than
// a multiple of p.  Not constant-time: only public values are computed with.
#pragma once

#include "words.hpp"

namespace hv::loader::ed25519 {

inline constexpr Words field_prime{~18ull, ~0ull, ~0ull, ~0ull >> 1};

class Field {
public:
    constexpr Field() = default;
    constexpr explicit Field(const Words& words) : words_{words} {}
    constexpr explicit Field(std::uint64_t value) : words_{value} {}

    /// The one representative below p: a number of 256 bits holds p at most twice.
    [[nodiscard]] constexpr Words canonical() const
    {
        Words words{words_};
        while (!less(words, field_prime))
            subtract_in_place(words, field_prime);
        return words;
    }
    [[nodiscard]] constexpr bool is_odd() const { return bit(canonical(), 0); }

    friend constexpr bool operator==(const Field& a, const Field& b) { return a.canonical() == b.canonical(); }

    friend constexpr Field operator+(Field a, const Field& b)
    {
        const std::uint64_t carry{add_in_place(a.words_, b.words_)};
        return a.plus_small(carry * 38);
    }

    friend constexpr Field operator-(Field a, const Field& b)
    {
        // A wrap put 2^256 in, which is 38 too many; taking them out can wrap once more, and then no further.
        for (std::uint64_t wrapped = subtract_in_place(a.words_, b.words_); wrapped != 0;)
            wrapped = subtract_in_place(a.words_, Words{38});
        return a;
    }

    friend constexpr Field operator*(const Field& a, const Field& b)
    {
        std::array<std::uint64_t, 8> product{};
        for (std::size_t i = 0; i < 4; ++i) {
            Wide carry{0};
            for (std::size_t j = 0; j < 4; ++j) {
                carry += Wide{a.words_[i]} * b.words_[j] + product[i + j];
                product[i + j] = static_cast<std::uint64_t>(carry);
                carry >>= 64;
            }
            product[i + 4] = static_cast<std::uint64_t>(carry);
        }
        Field folded;
        Wide carry{0};
        for (std::size_t i = 0; i < 4; ++i) {
            carry += Wide{product[i + 4]} * 38 + product[i];
            folded.words_[i] = static_cast<std::uint64_t>(carry);
            carry >>= 64;
        }
        return folded.plus_small(static_cast<std::uint64_t>(carry) * 38);
    }

private:
    /// `value` is at most 38 * 38: where the sum wraps, what is left is small, and 38 more cannot wrap again.
    [[nodiscard]] constexpr Field plus_small(std::uint64_t value) const
    {
        Field sum{*this};
        if (add_in_place(sum.words_, Words{value}) != 0)
            add_in_place(sum.words_, Words{38});
        return sum;
    }

    Words words_{};
};

constexpr Field operator-(const Field& a)
{
    return Field{} - a;
}

constexpr Field square(const Field& a)
{
    return a * a;
}

/// base^exponent; the exponent has 255 bits at most.
constexpr Field power(const Field& base, const Words& exponent)
{
    Field result{1};
    for (unsigned index = 255; index-- > 0;) {
        result = square(result);
        if (bit(exponent, index))
            result = result * base;
    }
    return result;
}

/// 1 / a by Fermat: a^(p - 2).  Of zero: zero.
constexpr Field inverse(const Field& a)
{
    return power(a, Words{~20ull, ~0ull, ~0ull, ~0ull >> 1});
}

}  // namespace hv::loader::ed25519
