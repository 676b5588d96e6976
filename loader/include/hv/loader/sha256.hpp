// SPDX-License-Identifier: MIT
//
// SHA-256, to name a module file by its content (`xl ext-list`).  Not for secrets: nothing here is
// constant-time, and a hash is not a signature.  [FIPS-180-4 §5.3.3, §6.2].
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hv::loader {

using Sha256 = std::array<std::uint8_t, 32>;

[[nodiscard]] Sha256 sha256(std::span<const std::byte> bytes);

/// The hash as 64 lower-case hexadecimal digits.
[[nodiscard]] std::array<char, 64> hexadecimal(const Sha256& hash);

}  // namespace hv::loader
