// SPDX-License-Identifier: MIT
//
// What this machine's processor is called and which of its features are used, as text for the operator.
#pragma once

#include <string_view>

namespace hv {

[[nodiscard]] std::string_view processor_name();
[[nodiscard]] std::string_view processor_features();

}  // namespace hv
