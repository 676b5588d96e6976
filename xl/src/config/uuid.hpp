// SPDX-License-Identifier: MIT
//
// The identity of a domain as sixteen bytes and as text.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hv::xl {

using Uuid = std::array<std::uint8_t, 16>;

/// Text of the form 8-4-4-4-12, in either case; the bytes are in the order of the text.
[[nodiscard]] std::optional<Uuid> parse_uuid(std::string_view text);
[[nodiscard]] std::string uuid_text(const Uuid& uuid);

/// A random one, version 4, variant 1 [RFC 4122 §4.4].  Failure: the system gives no random bytes.
[[nodiscard]] Uuid random_uuid();

}  // namespace hv::xl
