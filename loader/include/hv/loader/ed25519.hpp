// SPDX-License-Identifier: MIT
//
// Verifying Ed25519 signatures, written from [RFC-8032 §5.1].  Nothing is signed here and nothing is secret, so nothing
// is constant-time.
//
// Where implementations differ on forged or odd input we take the strictest side, so that what is accepted here is
// accepted by all of them:
//   - the equation is checked without the cofactor: [S]B = R + [k]A;
//   - S is below L, and R is compared as bytes, so that it has one encoding only; R is not the neutral point;
//   - a key has the one encoding of its point, and the point is of order L: neither small nor mixed, so that with or
//     without cofactor, and with k reduced or not, the answer is the same.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/base/expected.hpp"

namespace hv::loader {

inline constexpr std::size_t ed25519_key_bytes{32};
inline constexpr std::size_t ed25519_signature_bytes{64};

/// A public key that was found good.
class Ed25519Key {
public:
    /// Error::malformed: not 32 bytes, or not the encoding of a point.  Error::invalid_argument: a point, but not of
    /// order L, for which others than the key's owner could sign.
    [[nodiscard]] static Expected<Ed25519Key> from(std::span<const std::byte> bytes);

    [[nodiscard]] const std::array<std::uint8_t, ed25519_key_bytes>& bytes() const { return bytes_; }

    /// True where `signature` is this key's over `message`.  A signature that is not 64 bytes long is nobody's.
    [[nodiscard]] bool signed_by(std::span<const std::byte> message, std::span<const std::byte> signature) const;

private:
    explicit Ed25519Key(const std::array<std::uint8_t, ed25519_key_bytes>& bytes) : bytes_{bytes} {}

    std::array<std::uint8_t, ed25519_key_bytes> bytes_;
};

}  // namespace hv::loader
