// SPDX-License-Identifier: MIT
//
// Exception vectors and the page-fault error code.  Definitions only.  [APM2-3.41 §8.2].
#pragma once

#include <cstdint>

#include "hv/base/field.hpp"

namespace hv::x86 {

enum class Exception : std::uint8_t {
    DE = 0,
    DB = 1,
    NMI = 2,
    BP = 3,
    OF = 4,
    BR = 5,
    UD = 6,
    NM = 7,
    DF = 8,
    TS = 10,
    NP = 11,
    SS = 12,
    GP = 13,
    PF = 14,
    MF = 16,
    AC = 17,
    MC = 18,
    XF = 19,
    CP = 21,
    HV = 28,
    VC = 29,
    SX = 30,
};

inline constexpr unsigned exception_vectors{32};

/// True for the vectors that push an error code [APM2-3.41 §8.2, table 8-1].
constexpr bool pushes_error_code(std::uint8_t vector)
{
    constexpr std::uint32_t with_code{1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 |
                                      1u << 17 | 1u << 21 | 1u << 29 | 1u << 30};
    return vector < exception_vectors && ((with_code >> vector) & 1) != 0;
}

/// Error code of #PF [APM2-3.41 §8.4.2].
struct PageFaultCode {
    using P = Bit<0>;
    using RW = Bit<1>;
    using US = Bit<2>;
    using RSV = Bit<3>;
    using ID = Bit<4>;
};

}  // namespace hv::x86
