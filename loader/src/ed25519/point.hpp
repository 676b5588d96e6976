// SPDX-License-Identifier: MIT
//
// Points of the curve -x^2 + y^2 = 1 + d x^2 y^2 over the field, in extended homogeneous coordinates: x = X/Z, y = Y/Z,
// x y = T/Z [RFC-8032 §5.1.4].  The formulas for sum and double hold for every two points, the neutral one among them.
#pragma once

#include <optional>

#include "field.hpp"

namespace hv::loader::ed25519 {

struct Point {
    Field x, y{1}, z{1}, t;  ///< as it is made: the neutral element
};

/// The base point B.
extern const Point base_point;

[[nodiscard]] Point operator+(const Point& a, const Point& b);
[[nodiscard]] Point operator-(const Point& a);
[[nodiscard]] Point doubled(const Point& a);
/// [first]a + [second]b in one pass over the bits of both.
[[nodiscard]] Point combination(const Words& first, const Point& a, const Words& second, const Point& b);
[[nodiscard]] bool is_neutral(const Point& a);

/// y with the lowest bit of x on top [RFC-8032 §5.1.2].
[[nodiscard]] std::array<std::uint8_t, 32> encoded(const Point& a);
/// Nothing where the bytes are no point of the curve, or not the one encoding that a point has: y not below p, or a
/// sign with x = 0 [RFC-8032 §5.1.3].
[[nodiscard]] std::optional<Point> decoded(std::span<const std::uint8_t, 32> bytes);

}  // namespace hv::loader::ed25519
