// SPDX-License-Identifier: MIT
//
// `params` of an extension as the modules' ABI knows them: single values under one key each.  A list is given
// element by element, a value in an object has the object's key, a dot and its own.
#pragma once

#include <string>
#include <vector>

#include "base/failure.hpp"
#include "config/json.hpp"

namespace hv::xl {

struct ExtensionParam {
    std::string key;
    Json value;           ///< text, an integer or a truth value; null: the key's list is empty
    std::string pointer;  ///< into `params`: "/features/1"
    std::string owner;    ///< of the list or the value that has the key: "/features"
};

/// In the order of the config, the elements of a list one after the other.  Objects without members give
/// nothing.  `params` fits the schema.
[[nodiscard]] std::vector<ExtensionParam> flat_params(const Json& params);

/// What the schema cannot say of them: lengths, ranges, their number, keys that are one key when written with
/// dots.  Pointers begin with `place`.
[[nodiscard]] std::vector<Problem> check_params(const Json& params, const std::string& place);

}  // namespace hv::xl
