// SPDX-License-Identifier: MIT
//
// The registers of a virtual processor beyond the general ones, in a form that no vendor's control block dictates.
#pragma once

#include <cstdint>

namespace hv::core {

/// A segment register with its hidden part.
struct Segment {
    std::uint16_t selector;
    /// Access byte in bits 0–7 (type, S, DPL, P), AVL, L, D/B, G in bits 8–11.
    std::uint16_t attributes;
    std::uint32_t limit;  ///< in bytes, scaled by G already
    std::uint64_t base;

    [[nodiscard]] constexpr bool long_mode() const { return (attributes & 0x200) != 0; }
    [[nodiscard]] constexpr bool default_32() const { return (attributes & 0x400) != 0; }
};

struct DescriptorTable {
    std::uint64_t base;
    std::uint32_t limit;
};

/// Index of a segment register, in the instruction encoding's order.
enum SegmentIndex : unsigned { segment_es, segment_cs, segment_ss, segment_ds, segment_fs, segment_gs };

struct SystemRegisters {
    Segment segments[6];  ///< by SegmentIndex
    Segment ldtr, tr;
    DescriptorTable gdtr, idtr;
    std::uint64_t cr0, cr2, cr3, cr4;
    std::uint64_t efer;
    std::uint64_t dr6, dr7;
    std::uint64_t dr[4];  ///< DR0–DR3: the addresses of breakpoints
    std::uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
    std::uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    std::uint64_t pat;
};

/// Whether code of a segment with these attributes (as in Segment) runs in 64-bit mode.
constexpr bool is_64_bit_code(std::uint64_t efer, std::uint16_t code_attributes)
{
    return (efer & 0x400) != 0 && (code_attributes & 0x200) != 0;
}

/// What address translation and instruction decoding need, and no more: read on the fast path.
struct ExecutionContext {
    std::uint64_t cr0, cr3, cr4, efer;
    std::uint64_t code_base;
    std::uint16_t code_attributes;
    std::uint8_t privilege_level;  ///< CPL

    [[nodiscard]] constexpr bool paging() const { return (cr0 >> 31) != 0; }
    [[nodiscard]] constexpr bool long_mode_active() const { return (efer & 0x400) != 0; }
    [[nodiscard]] constexpr bool code_64() const { return is_64_bit_code(efer, code_attributes); }
    /// 64, 32 or 16: the default operand and address size of the code segment.
    [[nodiscard]] constexpr unsigned code_bits() const
    {
        if (code_64())
            return 64;
        return (code_attributes & 0x400) != 0 ? 32 : 16;
    }
};

}  // namespace hv::core
