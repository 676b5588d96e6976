// SPDX-License-Identifier: MIT
//
// The JSON type of xl: objects keep the order in which their keys were written, so that output reads as
// documented.
#pragma once

#include <nlohmann/json.hpp>

namespace hv::xl {

using Json = nlohmann::ordered_json;

}  // namespace hv::xl
