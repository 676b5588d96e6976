// SPDX-License-Identifier: MIT
//
// Sizes as configs write them: a whole number and KiB, MiB or GiB.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hv::xl {

/// The number of bytes, or nothing where the text is no size or does not fit 64 bits.
[[nodiscard]] std::optional<std::uint64_t> parse_byte_size(std::string_view text);

/// The shortest text that parse_byte_size reads back as this many bytes, a multiple of 1 KiB.
[[nodiscard]] std::string byte_size_text(std::uint64_t bytes);

}  // namespace hv::xl
