// SPDX-License-Identifier: MIT
//
// SHA-256, to name a module's file by what is in it.  No secret ever passes through here.
// Specification: [FIPS 180-4 §5, §6.2].
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace hv::xl {

using Sha256 = std::array<std::uint8_t, 32>;

[[nodiscard]] Sha256 sha256(std::span<const std::byte> bytes);
[[nodiscard]] std::string hex_text(std::span<const std::uint8_t> bytes);

}  // namespace hv::xl
