// SPDX-License-Identifier: MIT
//
// The exception fixup table: ranges of instructions that may fault on purpose, and where to go on if they do.
// The recovery code finds registers as they were at the fault, the vector in no register: it knows what it
// risked.
#pragma once

#include <cstdint>

namespace hv::x86 {

/// The recovery address for an exception at `rip`, or 0 when none was foreseen.
[[nodiscard]] std::uint64_t find_fixup(std::uint64_t rip);

}  // namespace hv::x86

/// For inline assembly: an exception at [from, to) goes on at `recovery`; all three are labels.
#define HV_FIXUP(from, to, recovery)                                                                         \
    ".pushsection .fixup, \"a\"\n\t"                                                                         \
    ".quad " from ", " to ", " recovery "\n\t"                                                               \
    ".popsection\n\t"
