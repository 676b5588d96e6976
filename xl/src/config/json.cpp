// SPDX-License-Identifier: MIT
//
// The one place where the JSON value's members are compiled.
#include "config/json.hpp"

template class nlohmann::basic_json<nlohmann::ordered_map>;
