// SPDX-License-Identifier: MIT
//
// SHA-512, which Ed25519 is built on: what is added in pieces is hashed as one text, so that a file need not be copied
// to stand behind a signature's first half.  Nothing here is constant-time: only public bytes are hashed.
// [FIPS-180-4 §6.4].
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hv::loader {

class Sha512 {
public:
    static constexpr std::size_t block_bytes{128};
    using Digest = std::array<std::uint8_t, 64>;

    Sha512& add(std::span<const std::byte> bytes);
    /// The hash of all that was added; the object is used up.
    [[nodiscard]] Digest finish();

private:
    void add_block(const std::byte* block);

    /// The first 64 bits of the fractional parts of the square roots of the first eight primes [FIPS-180-4 §5.3.5].
    std::array<std::uint64_t, 8> state_{0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,
                                        0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f,
                                        0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
    std::array<std::byte, block_bytes> partial_{};  ///< bytes that do not fill a block yet
    std::uint64_t bytes_{};                         ///< added so far; the last part of them is in partial_
};

}  // namespace hv::loader
