// SPDX-License-Identifier: MIT
//
// The checks that the JSON Schema in configs/schema makes.  valijson is the judge of what is valid; where it
// says no, a walk over the same schema finds every reason with its place and the nearest right name.  Beside
// the standard's words the schema uses "x-hint" (what a matching text looks like) and "x-refusal" (why a key
// is not accepted).
#pragma once

#include <string_view>
#include <vector>

#include "base/failure.hpp"
#include "config/json.hpp"

namespace hv::xl {

/// The schema as the build found it.
[[nodiscard]] std::string_view domain_schema_text();
[[nodiscard]] const Json& domain_schema();

/// Every reason why `config` does not fit the schema; empty when it does.
[[nodiscard]] std::vector<Problem> check_against_schema(const Json& config);

/// The walk alone, over any schema of the words that ours uses.
[[nodiscard]] std::vector<Problem> explain(const Json& value, const Json& schema);

/// valijson's verdict alone: its messages, empty for a valid value.
[[nodiscard]] std::vector<Problem> judge(const Json& value);

}  // namespace hv::xl
