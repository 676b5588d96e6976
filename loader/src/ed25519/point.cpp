// SPDX-License-Identifier: MIT
#include "point.hpp"

namespace hv::loader::ed25519 {

namespace {

/// d = -121665/121666 [RFC-8032 §5.1, table 1].
constexpr Field curve_d{-Field{121665} * inverse(Field{121666})};
constexpr Field twice_d{curve_d + curve_d};
/// A square root of -1: 2^((p - 1) / 4).
constexpr Field root_of_minus_one{power(Field{2}, Words{~4ull, ~0ull, ~0ull, ~0ull >> 3})};
static_assert(square(root_of_minus_one) == -Field{1});

/// The square root of u / v that comes first, or nothing where there is none [RFC-8032 §5.1.3, step 2 and 3].
constexpr std::optional<Field> root_of_ratio(const Field& u, const Field& v)
{
    constexpr Words exponent{~2ull, ~0ull, ~0ull, ~0ull >> 4};  // (p - 5) / 8
    const Field v3{square(v) * v};
    const Field v7{square(v3) * v};
    const Field candidate{u * v3 * power(u * v7, exponent)};
    const Field check{v * square(candidate)};
    if (check == u)
        return candidate;
    if (check == -u)
        return candidate * root_of_minus_one;
    return std::nullopt;
}

constexpr std::optional<Field> x_for(const Field& y, bool odd)
{
    const Field y2{square(y)};
    const auto x = root_of_ratio(y2 - Field{1}, curve_d * y2 + Field{1});
    if (!x || (odd && *x == Field{}))
        return std::nullopt;
    return x->is_odd() == odd ? *x : -*x;
}

constexpr Point affine(const Field& x, const Field& y)
{
    return {x, y, Field{1}, x * y};
}

/// y of the base point is 4/5 and its x is even [RFC-8032 §5.1, table 1; RFC-7748 §4.1].
constexpr Field base_y{Field{4} * inverse(Field{5})};
constexpr Field base_x{*x_for(base_y, false)};

}  // namespace

constinit const Point base_point{affine(base_x, base_y)};

Point operator+(const Point& a, const Point& b)
{
    const Field first{(a.y - a.x) * (b.y - b.x)};
    const Field second{(a.y + a.x) * (b.y + b.x)};
    const Field third{a.t * twice_d * b.t};
    const Field fourth{(a.z + a.z) * b.z};
    const Field e{second - first}, f{fourth - third}, g{fourth + third}, h{second + first};
    return {e * f, g * h, f * g, e * h};
}

Point operator-(const Point& a)
{
    return {-a.x, a.y, a.z, -a.t};
}

Point doubled(const Point& a)
{
    const Field x2{square(a.x)}, y2{square(a.y)}, z2{square(a.z)};
    const Field h{x2 + y2}, e{h - square(a.x + a.y)}, g{x2 - y2}, f{z2 + z2 + g};
    return {e * f, g * h, f * g, e * h};
}

Point combination(const Words& first, const Point& a, const Words& second, const Point& b)
{
    const Point both{a + b};
    Point sum;
    for (unsigned index = 256; index-- > 0;) {
        sum = doubled(sum);
        const bool of_a{bit(first, index)}, of_b{bit(second, index)};
        if (of_a || of_b)
            sum = sum + (of_a && of_b ? both : of_a ? a : b);
    }
    return sum;
}

bool is_neutral(const Point& a)
{
    return a.x == Field{} && a.y == a.z;
}

std::array<std::uint8_t, 32> encoded(const Point& a)
{
    const Field to_affine{inverse(a.z)};
    auto bytes = bytes_of((a.y * to_affine).canonical());
    if ((a.x * to_affine).is_odd())
        bytes[31] |= 0x80;
    return bytes;
}

std::optional<Point> decoded(std::span<const std::uint8_t, 32> bytes)
{
    Words words{words_of(bytes)};
    const bool odd{bit(words, 255)};
    words[3] &= ~0ull >> 1;
    if (!less(words, field_prime))
        return std::nullopt;
    const Field y{words};
    const auto x = x_for(y, odd);
    if (!x)
        return std::nullopt;
    return affine(*x, y);
}

}  // namespace hv::loader::ed25519
