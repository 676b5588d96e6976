// SPDX-License-Identifier: MIT
//
// The table of keys in docs/config.md, made from the schema.
#pragma once

#include <string>

#include "config/json.hpp"

namespace hv::xl {

/// Markdown: one row per key, with its type, default and meaning.
[[nodiscard]] std::string config_reference(const Json& schema);

}  // namespace hv::xl
