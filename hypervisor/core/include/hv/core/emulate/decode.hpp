// SPDX-License-Identifier: MIT
//
// The x86 instruction decoder: how long an instruction is and what its pieces are.  It knows where the opcode
// maps have an instruction [SDM2-083 Appendix A] [APM3-3.35 Appendix A] and takes the union of both vendors'
// maps; whether this processor has the instruction, and whether VEX.L, VEX.W, VEX.vvvv or a mask fit it, is
// the processor's business.  It does not say what an instruction does: mmio.hpp and intercepted.hpp do, for
// the few that the core must know. Where the vendors differ it follows AMD: an operand-size prefix shortens
// near branches in 64-bit mode. Pure, no allocation, no access to anything but its arguments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/base/expected.hpp"

namespace hv::core::emulate {

/// The longest instruction, in bytes; a longer one is #GP [APM3-3.35 §1.1] [SDM2-083 §2.3.11].
inline constexpr std::size_t maximum_instruction_length{15};

/// Default sizes of the code segment: CS.L, else CS.D.
enum class Mode : std::uint8_t {
    bits16,
    bits32,
    bits64,
};

/// Opcode maps; the enumerator also says how the map was reached (legacy escape, VEX, XOP or EVEX prefix).
enum class OpcodeMap : std::uint8_t {
    primary,
    legacy_0f,
    legacy_0f38,
    legacy_0f3a,
    vex_0f,
    vex_0f38,
    vex_0f3a,
    xop_8,
    xop_9,
    xop_a,
    evex_0f,
    evex_0f38,
    evex_0f3a,
    evex_5,
    evex_6,
};
inline constexpr std::size_t opcode_map_count{15};

/// Segment registers in encoding order; `none` where no override applies.
enum class SegmentRegister : std::uint8_t {
    es,
    cs,
    ss,
    ds,
    fs,
    gs,
    none,
};

/// Legacy prefixes as bits of Instruction::prefixes.  Of repne and rep only the last one in the instruction
/// is set.
namespace prefix {
inline constexpr std::uint8_t operand_size{0x01};
inline constexpr std::uint8_t rep{0x02};
inline constexpr std::uint8_t repne{0x04};
inline constexpr std::uint8_t address_size{0x08};
inline constexpr std::uint8_t lock{0x10};
}  // namespace prefix

/// Bits of Instruction::rex.
namespace rex {
inline constexpr std::uint8_t b{0x1};
inline constexpr std::uint8_t x{0x2};
inline constexpr std::uint8_t r{0x4};
inline constexpr std::uint8_t w{0x8};
inline constexpr std::uint8_t present{0x40};
}  // namespace rex

/// One instruction, taken apart.
struct Instruction {
    std::uint64_t
        immediate{};  ///< one immediate: sign-extended; a far pointer, ENTER, EXTRQ: its bytes as they are
    std::uint64_t displacement{};  ///< sign-extended; for MOV A0–A3 the offset, zero-extended
    std::uint8_t length{};
    std::uint8_t opcode{};
    std::uint8_t modrm{};
    std::uint8_t sib{};
    std::uint8_t rex{};  ///< 0100WRXB, or 0; for VEX, XOP and EVEX the same bits, uninverted, without 0x40
    std::uint8_t prefixes{};
    OpcodeMap map{};
    Mode mode{};
    SegmentRegister segment{SegmentRegister::none};  ///< the override that applies
    std::uint8_t operand_size{};                     ///< 2, 4 or 8 bytes, from mode, prefix and REX.W alone
    std::uint8_t address_size{};                     ///< 2, 4 or 8 bytes
    std::uint8_t displacement_size{};
    std::uint8_t immediate_size{};
    bool has_modrm{};
    bool has_sib{};

    [[nodiscard]] constexpr unsigned mod() const { return modrm >> 6; }
    /// ModRM.reg and ModRM.rm without their REX bits.
    [[nodiscard]] constexpr unsigned reg() const { return (modrm >> 3) & 7; }
    [[nodiscard]] constexpr unsigned rm() const { return modrm & 7; }
    /// The register that ModRM.reg names.
    [[nodiscard]] constexpr unsigned reg_index() const { return reg() | ((rex & rex::r) != 0 ? 8u : 0u); }
    /// The register that ModRM.rm names when mod is 3.
    [[nodiscard]] constexpr unsigned rm_index() const { return rm() | ((rex & rex::b) != 0 ? 8u : 0u); }
};

/// decode()'s errors, by what they mean to its caller.
inline constexpr Error truncated{Error::out_of_range};              ///< more bytes than these are needed
inline constexpr Error undefined_opcode{Error::not_found};          ///< no such instruction: #UD
inline constexpr Error instruction_too_long{Error::limit_reached};  ///< more than 15 bytes: #GP(0)

/// Takes apart the instruction that starts at `bytes[0]`.  Bytes after it, and any beyond the fifteenth, do
/// not matter. Fails with `truncated`, `undefined_opcode` or `instruction_too_long`.
[[nodiscard]] Expected<Instruction> decode(std::span<const std::byte> bytes, Mode mode);

}  // namespace hv::core::emulate
