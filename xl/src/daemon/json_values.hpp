// SPDX-License-Identifier: MIT
//
// Values of the control protocol as JSON has them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace hv::xl {

/// Text of a guest or of the hypervisor need not be UTF-8; what is shown as JSON has to be.
[[nodiscard]] inline std::string printable(std::string_view text)
{
    std::string result;
    for (const char character : text)
        result += static_cast<unsigned char>(character) < 0x20 || static_cast<unsigned char>(character) > 0x7e
                      ? '?'
                      : character;
    return result;
}

[[nodiscard]] inline std::string hex_text(std::span<const std::uint8_t> bytes)
{
    static constexpr std::string_view digits{"0123456789abcdef"};
    std::string text;
    for (const std::uint8_t byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 0xf];
    }
    return text;
}

}  // namespace hv::xl
