// SPDX-License-Identifier: MIT
//
// Zydis as the oracle of the decoder: one comparison of both on the same bytes, and the short list of what
// they may disagree on.  Zydis checks more (VEX.L, VEX.W, VEX.vvvv, masks, register operands of vector
// instructions) and knows less (LWP and FP16 are not in its tables); a length or a piece that differs is
// never excused.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "hv/core/emulate/decode.hpp"
#include "hv/core/vcpu/registers.hpp"

namespace hv::test {

/// Compares decode() with Zydis on the instruction at the start of `bytes` (at least 16 of them, of which the
/// decoder is shown 15).  Returns an empty string, or what is wrong.
std::string disagreement(std::span<const std::byte> bytes, core::emulate::Mode mode);

/// Whether Zydis decodes the bytes at all.
bool zydis_knows(std::span<const std::byte> bytes, core::emulate::Mode mode);

/// A memory operand as Zydis computes it: the offset in its segment.
struct EffectiveAddress {
    std::uint64_t offset;
    core::emulate::SegmentRegister segment;
    unsigned size;
};
std::optional<EffectiveAddress> zydis_effective_address(std::span<const std::byte> bytes,
                                                        core::emulate::Mode mode,
                                                        const core::Registers& registers);

/// How often each answer was seen, so that a test can tell that it tested something.
struct OracleCounts {
    std::uint64_t both_legal{};
    std::uint64_t both_undefined{};
    std::uint64_t both_too_long{};
    std::uint64_t excused{};
};
extern OracleCounts oracle_counts;

}  // namespace hv::test
