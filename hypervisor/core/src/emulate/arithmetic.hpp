// SPDX-License-Identifier: MIT
//
// Integer arithmetic with its flags [APM1-3.23 §3.1.4] [APM3-3.35 Appendix F].  Private to the emulator.
#pragma once

#include <cstdint>

#include "register_access.hpp"

namespace hv::core::emulate {

/// The status flags of RFLAGS.
namespace flag {
inline constexpr std::uint64_t carry{1u << 0};
inline constexpr std::uint64_t parity{1u << 2};
inline constexpr std::uint64_t adjust{1u << 4};
inline constexpr std::uint64_t zero{1u << 6};
inline constexpr std::uint64_t sign{1u << 7};
inline constexpr std::uint64_t direction{1u << 10};
inline constexpr std::uint64_t overflow{1u << 11};
inline constexpr std::uint64_t resume{1u << 16};
inline constexpr std::uint64_t arithmetic{carry | parity | adjust | zero | sign | overflow};
}  // namespace flag

struct Result {
    std::uint64_t value;
    std::uint64_t flags;  ///< the arithmetic flags; all others are zero
};

constexpr std::uint64_t flag_if(bool condition, std::uint64_t which)
{
    return condition ? which : 0;
}

/// Zero, sign and parity of a result.
constexpr std::uint64_t flags_of(std::uint64_t value, unsigned size)
{
    const std::uint64_t kept{value & size_mask(size)};
    return flag_if(kept == 0, flag::zero) | flag_if((kept >> (8 * size - 1) & 1) != 0, flag::sign) |
           flag_if((__builtin_popcount(static_cast<unsigned>(kept & 0xff)) & 1) == 0, flag::parity);
}

/// a + b + carry.  The carries out of each bit give carry, adjust and overflow.
constexpr Result add(std::uint64_t a, std::uint64_t b, bool carry, unsigned size)
{
    const std::uint64_t sum{(a + b + (carry ? 1 : 0)) & size_mask(size)};
    const std::uint64_t carries{(a & b) | ((a | b) & ~sum)};
    const unsigned top{8 * size - 1};
    return {sum, flags_of(sum, size) | flag_if((carries >> top & 1) != 0, flag::carry) |
                     flag_if((carries >> 3 & 1) != 0, flag::adjust) |
                     flag_if((((sum ^ a) & (sum ^ b)) >> top & 1) != 0, flag::overflow)};
}

/// a − b − borrow.
constexpr Result subtract(std::uint64_t a, std::uint64_t b, bool borrow, unsigned size)
{
    const std::uint64_t difference{(a - b - (borrow ? 1 : 0)) & size_mask(size)};
    const std::uint64_t borrows{(~a & b) | ((~a | b) & difference)};
    const unsigned top{8 * size - 1};
    return {difference, flags_of(difference, size) | flag_if((borrows >> top & 1) != 0, flag::carry) |
                            flag_if((borrows >> 3 & 1) != 0, flag::adjust) |
                            flag_if((((a ^ b) & (a ^ difference)) >> top & 1) != 0, flag::overflow)};
}

/// AND, OR, XOR, TEST: carry, overflow and adjust are cleared.
constexpr Result logical(std::uint64_t value, unsigned size)
{
    return {value & size_mask(size), flags_of(value, size)};
}

/// Whether condition 0–15 (an opcode's low nibble) holds [APM3-3.35 §A.1 "rFLAGS condition codes"].
constexpr bool condition_holds(unsigned condition, std::uint64_t flags)
{
    const bool less{((flags & flag::sign) != 0) != ((flags & flag::overflow) != 0)};
    const bool holds[8]{
        (flags & flag::overflow) != 0,
        (flags & flag::carry) != 0,
        (flags & flag::zero) != 0,
        (flags & (flag::carry | flag::zero)) != 0,
        (flags & flag::sign) != 0,
        (flags & flag::parity) != 0,
        less,
        less || (flags & flag::zero) != 0,
    };
    return holds[condition >> 1 & 7] != ((condition & 1) != 0);
}

}  // namespace hv::core::emulate
