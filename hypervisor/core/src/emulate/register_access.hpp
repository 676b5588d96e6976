// SPDX-License-Identifier: MIT
//
// Reading and writing parts of general registers: the low 1, 2, 4 or 8 bytes, or AH, CH, DH, BH.  Writing 32
// bits clears the upper half, writing less keeps the rest [APM1-3.23 §3.1.2].  Private to the emulator.
#pragma once

#include <cstdint>

namespace hv::core::emulate {

/// All ones in the low `size` (1, 2, 4 or 8) bytes.
constexpr std::uint64_t size_mask(unsigned size)
{
    return ~0ull >> (64 - 8 * size);
}

constexpr std::uint64_t sign_extend(std::uint64_t value, unsigned size)
{
    const unsigned unused{64 - 8 * size};
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused);
}

/// `whole` after `value` was written to its low `size` bytes.
constexpr std::uint64_t merge(std::uint64_t whole, std::uint64_t value, unsigned size)
{
    if (size >= 4)
        return value & size_mask(size);
    return (whole & ~size_mask(size)) | (value & size_mask(size));
}

/// `whole` after `value` was written to its second byte.
constexpr std::uint64_t merge_high_byte(std::uint64_t whole, std::uint64_t value)
{
    return (whole & ~0xff00ull) | (value & 0xff) << 8;
}

}  // namespace hv::core::emulate
