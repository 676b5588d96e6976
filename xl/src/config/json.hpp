// SPDX-License-Identifier: MIT
//
// The JSON type of xl: objects keep the order in which their keys were written, so that output reads as
// documented.  Its members are compiled once, in json.cpp, for they are most of what compiling a user of it would cost.
#pragma once

#include <nlohmann/json.hpp>

extern template class nlohmann::basic_json<nlohmann::ordered_map>;

namespace hv::xl {

using Json = nlohmann::ordered_json;

}  // namespace hv::xl
