// SPDX-License-Identifier: MIT
//
// The state of an extension's instance as `xl ext-inspect` shows it: the hypervisor's state records as JSON.
#pragma once

#include <cstddef>
#include <span>

#include "config/json.hpp"

namespace hv::xl {

/// An array of one object a record: `type`, `name`, `version`, `bytes`, `vcpu` where it is one's; `words` of a block of the core's, or
/// `fields`, hexadecimal by number, of a module's own; and `rest`, hexadecimal, where these leave any.  Fails where a record is not whole.
[[nodiscard]] Json state_json(std::span<const std::byte> records);

}  // namespace hv::xl
