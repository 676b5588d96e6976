// SPDX-License-Identifier: MIT
//
// `--set a.b=VALUE`: one value of a config replaced on the command line, before the config is checked.  The same of the
// params that ext-attach is given.
#pragma once

#include <string_view>

#include "config/json.hpp"

namespace hv::xl {

/// Sets the value named by the dotted path; a number steps into an array (its length is the next entry),
/// objects that are missing are made.  VALUE is JSON if it parses as such, else a string.  Failure
/// (bad_text): no =, an empty step, a step into something that is neither object nor array, an index beyond
/// the end, text that is not UTF-8.
void apply_override(Json& config, std::string_view setting);

}  // namespace hv::xl
