// SPDX-License-Identifier: MIT
//
// Bytes as hexadecimal digits, two lower-case ones each.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace hv::xl {

[[nodiscard]] inline std::string hex_text(std::span<const std::byte> bytes)
{
    constexpr std::string_view digits{"0123456789abcdef"};
    std::string text;
    for (const std::byte byte : bytes) {
        text += digits[std::to_integer<unsigned>(byte) >> 4];
        text += digits[std::to_integer<unsigned>(byte) & 0xf];
    }
    return text;
}

}  // namespace hv::xl
