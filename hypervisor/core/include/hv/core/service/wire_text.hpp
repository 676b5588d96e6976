// SPDX-License-Identifier: MIT
//
// Text in the fixed fields of the control protocol: padded with zero bytes, at least one at the end.
#pragma once

#include <cstddef>
#include <string_view>

namespace hv::core::service {

/// What does not fit is cut.
template <std::size_t Size>
void put_text(char (&field)[Size], std::string_view text)
{
    for (std::size_t at = 0; at < Size; ++at)
        field[at] = at < text.size() && at < Size - 1 ? text[at] : '\0';
}

template <std::size_t Size>
std::string_view get_text(const char (&field)[Size])
{
    std::size_t length{0};
    while (length < Size && field[length] != '\0')
        ++length;
    return {field, length};
}

}  // namespace hv::core::service
