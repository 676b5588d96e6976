// SPDX-License-Identifier: MIT
//
// From text to JSON, as configs are written: // and /* */ comments are allowed, a key given twice is an error
// (a plain parser would silently take the last).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/failure.hpp"
#include "config/json.hpp"

namespace hv::xl {

/// Nesting that no config has; deeper text is refused before it costs anything.
inline constexpr std::size_t deepest_json{32};

/// The text's value.  Failure (bad_text): a syntax error with line and column, nesting deeper than
/// deepest_json, or duplicate keys, each with its pointer.
[[nodiscard]] Json parse_json_text(std::string_view text);

/// One step of a JSON pointer, with ~ and / escaped [RFC 6901 §3].
[[nodiscard]] std::string pointer_step(std::string_view key);

/// Control characters would end up in a kernel's command line, in a path or on a terminal.
[[nodiscard]] bool has_control_character(std::string_view text);

}  // namespace hv::xl
