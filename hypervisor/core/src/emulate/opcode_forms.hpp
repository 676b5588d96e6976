// SPDX-License-Identifier: MIT
//
// What follows an opcode byte, for every opcode of the maps: a ModRM byte, an immediate of which kind, or
// something that is no opcode at all.  Rows of sixteen characters, as the manuals print the maps [APM3-3.35
// §A.1] [SDM2-083 §A.3]. Private to the decoder.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace hv::core::emulate {

/// What follows an opcode: a Kind in the low nibble, and whether a ModRM byte comes first.
namespace form {
inline constexpr std::uint8_t kind_mask{0x0f};
inline constexpr std::uint8_t modrm{0x10};
inline constexpr std::uint8_t only_reg_0_and_1{0x20};  ///< group 3: just TEST has the immediate
inline constexpr std::uint8_t special{0x40};           ///< not an opcode: the kind is one of Special
}  // namespace form

/// Immediates by how their size is found.
enum Kind : std::uint8_t {
    no_immediate,
    byte_immediate,
    word_immediate,
    enter_immediate,  ///< 16 bits and 8 bits
    z_immediate,      ///< operand size, at most 32 bits
    v_immediate,      ///< operand size
    far_pointer,      ///< operand size and a selector
    memory_offset,    ///< address size
    two_immediates,   ///< two bytes: EXTRQ, INSERTQ
    dword_immediate,
};

enum Special : std::uint8_t {
    no_instruction,
    legacy_prefix,
    rex_prefix,
    escape_0f,
    vex2_prefix,
    vex3_prefix,
    evex_prefix,
    xop_prefix,
};

using FormRows = std::array<std::string_view, 16>;
using FormTable = std::array<std::uint8_t, 256>;

/// The meaning of one character of a row.
consteval std::uint8_t form_of(char letter)
{
    switch (letter) {
    case '.': return no_immediate;
    case 'b': return byte_immediate;
    case 'w': return word_immediate;
    case 'e': return enter_immediate;
    case 'z': return z_immediate;
    case 'v': return v_immediate;
    case 'p': return far_pointer;
    case 'o': return memory_offset;
    case 'M': return form::modrm;
    case 'B': return form::modrm | byte_immediate;
    case 'Z': return form::modrm | z_immediate;
    case 'n': return form::modrm | form::only_reg_0_and_1 | byte_immediate;
    case 'N': return form::modrm | form::only_reg_0_and_1 | z_immediate;
    case 'P': return form::special | legacy_prefix;
    case 'R': return form::special | rex_prefix;
    case 'E': return form::special | escape_0f;
    case '2': return form::special | vex2_prefix;
    case '3': return form::special | vex3_prefix;
    case '4': return form::special | evex_prefix;
    case 'X': return form::special | xop_prefix;
    default: return form::special | no_instruction;
    }
}

/// Not defined: calling it stops the compilation of a table with a short row.
void a_row_needs_sixteen_characters();

consteval FormTable forms_from(const FormRows& rows)
{
    FormTable table{};
    for (const std::string_view row : rows)
        if (row.size() != 16)
            a_row_needs_sixteen_characters();
    for (unsigned opcode = 0; opcode < 256; ++opcode)
        table[opcode] = form_of(rows[opcode / 16][opcode % 16]);
    return table;
}

// clang-format off
// . nothing   M ModRM   B ModRM and a byte   Z ModRM and 16/32 bits   n N group 3   b byte   w 16 bits
// z 16/32 bits   v 16/32/64 bits   p far pointer   o offset   e ENTER   P prefix   R REX   E escape
// 2 3 4 X VEX, EVEX, XOP   - none

inline constexpr FormTable primary_forms_legacy{forms_from({
    "MMMMbz..MMMMbz.E", "MMMMbz..MMMMbz..", "MMMMbzP.MMMMbzP.", "MMMMbzP.MMMMbzP.",  // 00
    "................", "................", "..4MPPPPzZbB....", "bbbbbbbbbbbbbbbb",  // 40
    "BZBBMMMMMMMMMMMX", "..........p.....", "oooo....bz......", "bbbbbbbbvvvvvvvv",  // 80
    "BBw.32BZe.w..b..", "MMMMbb..MMMMMMMM", "bbbbbbbbzzpb....", "P.PP..nN......MM",  // C0
})};

inline constexpr FormTable primary_forms_long{forms_from({
    "MMMMbz--MMMMbz-E", "MMMMbz--MMMMbz--", "MMMMbzP-MMMMbzP-", "MMMMbzP-MMMMbzP-",  // 00
    "RRRRRRRRRRRRRRRR", "................", "--4MPPPPzZbB....", "bbbbbbbbbbbbbbbb",  // 40
    "BZ-BMMMMMMMMMMMX", "..........-.....", "oooo....bz......", "bbbbbbbbvvvvvvvv",  // 80
    "BBw.32BZe.w..b-.", "MMMM---.MMMMMMMM", "bbbbbbbbzz-b....", "P.PP..nN......MM",  // C0
})};

// 0F 38 and 0F 3A are escapes too, but uniform ones: decode() knows them.
inline constexpr FormTable legacy_0f_forms{forms_from({
    "MMMM-.....-.-M.B", "MMMMMMMMMMMMMMMM", "MMMM----MMMMMMMM", "......-.E-E-----",  // 00
    "MMMMMMMMMMMMMMMM", "MMMMMMMMMMMMMMMM", "MMMMMMMMMMMMMMMM", "BBBBMMM.MMMMMMMM",  // 40
    "zzzzzzzzzzzzzzzz", "MMMMMMMMMMMMMMMM", "...MBMMM...MBMMM", "MMMMMMMMMMBMMMMM",  // 80
    "MMBMBBBM........", "MMMMMMMMMMMMMMMM", "MMMMMMMMMMMMMMMM", "MMMMMMMMMMMMMMMM",  // C0
})};
// clang-format on

}  // namespace hv::core::emulate
