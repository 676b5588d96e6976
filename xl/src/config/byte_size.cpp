// SPDX-License-Identifier: MIT
//
// Sizes to and from text.
#include "config/byte_size.hpp"

#include <charconv>

#include "hv/base/checked.hpp"

namespace hv::xl {

std::optional<std::uint64_t> parse_byte_size(std::string_view text)
{
    std::uint64_t number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{})
        return std::nullopt;
    const std::string_view unit{text.substr(static_cast<std::size_t>(end - text.data()))};
    if (unit == "KiB")
        return checked_multiply<std::uint64_t>(number, 1ull << 10);
    if (unit == "MiB")
        return checked_multiply<std::uint64_t>(number, 1ull << 20);
    if (unit == "GiB")
        return checked_multiply<std::uint64_t>(number, 1ull << 30);
    return std::nullopt;
}

std::string byte_size_text(std::uint64_t bytes)
{
    if (bytes % (1ull << 30) == 0)
        return std::to_string(bytes >> 30) + "GiB";
    if (bytes % (1ull << 20) == 0)
        return std::to_string(bytes >> 20) + "MiB";
    return std::to_string(bytes >> 10) + "KiB";
}

}  // namespace hv::xl
