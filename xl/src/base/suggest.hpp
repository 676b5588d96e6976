// SPDX-License-Identifier: MIT
//
// The nearest right name to a wrong one.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace hv::xl {

/// Insertions, deletions, substitutions and swaps of neighbours that make one word of the other.  Letters
/// that differ in case alone are equal.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `wrong`, or an empty string when none is near enough to have been meant.
[[nodiscard]] std::string nearest_name(std::string_view wrong, std::span<const std::string> candidates);

}  // namespace hv::xl
