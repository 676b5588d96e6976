// SPDX-License-Identifier: MIT
//
// Names of the ABI's numbers, for sentences and lists that people read.
#pragma once

#include <cstdint>
#include <string_view>

#include "hv/loader/signature.hpp"

namespace hv::loader {

/// The name of a hook by its position in abi::HookTable.
[[nodiscard]] std::string_view hook_name(std::uint32_t index);
/// The name of a capability bit, or nothing for one that is not known.
[[nodiscard]] std::string_view need_name(unsigned bit);
/// Of abi::WindowKind and abi::ExitKind; "?" for a number that is none.
[[nodiscard]] std::string_view window_kind_name(std::uint32_t kind);
[[nodiscard]] std::string_view exit_kind_name(std::uint32_t kind);
[[nodiscard]] std::string_view signature_state_name(SignatureState state);

}  // namespace hv::loader
