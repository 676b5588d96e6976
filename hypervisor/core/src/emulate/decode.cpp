// SPDX-License-Identifier: MIT
//
// The decoder: prefixes, opcode, ModRM, SIB, displacement, immediate, in the order in which the processor
// reads them. What the tables say is in opcode_forms.hpp, opcode_presence.hpp and modrm_rules.hpp; here is
// how to walk them.
#include "hv/core/emulate/decode.hpp"

#include <algorithm>

#include "modrm_rules.hpp"
#include "opcode_forms.hpp"
#include "opcode_presence.hpp"

namespace hv::core::emulate {

namespace {

/// Sizes by mode and by whether the prefix is there [APM3-3.35 §1.2.2, §1.2.3].
constexpr std::uint8_t operand_sizes[3][2]{{2, 4}, {4, 2}, {4, 2}};
constexpr std::uint8_t address_sizes[3][2]{{2, 4}, {4, 2}, {8, 4}};

/// Sizes of immediates by kind and by operand size / 4; of a memory offset by address size / 4.
constexpr std::uint8_t immediate_sizes[][3]{
    {0, 0, 0}, {1, 1, 1}, {2, 2, 2}, {3, 3, 3}, {2, 4, 4},
    {2, 4, 8}, {4, 6, 6}, {2, 4, 8}, {2, 2, 2}, {4, 4, 4},
};

/// The mandatory prefix's digit in the tables, by the operand-size, rep and repne bits: F3 and F2 win
/// over 66.
constexpr std::uint8_t prefix_digits[8]{1, 2, 4, 4, 8, 8, 4, 4};

/// The suffixes of the 3DNow! instructions [APM3-3.35 §A.1.2 "3DNow! opcodes"].
constexpr bool is_3dnow_suffix(std::uint64_t suffix)
{
    constexpr std::uint8_t suffixes[]{0x0c, 0x0d, 0x1c, 0x1d, 0x8a, 0x8e, 0x90, 0x94, 0x96, 0x97, 0x9a, 0x9e,
                                      0xa0, 0xa4, 0xa6, 0xa7, 0xaa, 0xae, 0xb0, 0xb4, 0xb6, 0xb7, 0xbb, 0xbf};
    return std::find(std::begin(suffixes), std::end(suffixes), suffix & 0xff) != std::end(suffixes);
}

/// One decode under way.  A step that fails leaves its reason in failure_.
class Decoder {
public:
    Decoder(std::span<const std::byte> bytes, Mode mode)
        : begin_{bytes.data()},
          next_{begin_},
          end_{begin_ + std::min(bytes.size(), maximum_instruction_length)}
    {
        out_.mode = mode;
    }

    Expected<Instruction> run()
    {
        if (!read_opcode() || !read_modrm() || !read_immediate() || !is_legal()) [[unlikely]]
            return failure_;
        out_.length = static_cast<std::uint8_t>(next_ - begin_);
        return out_;
    }

private:
    bool fail(Error error)
    {
        failure_ = error;
        return false;
    }

    bool shortage()
    {
        return fail(end_ - begin_ == maximum_instruction_length ? instruction_too_long : truncated);
    }

    bool take(std::uint8_t& byte)
    {
        if (next_ == end_) [[unlikely]]
            return shortage();
        byte = static_cast<std::uint8_t>(*next_++);
        return true;
    }

    template <typename Signed>
    bool take_signed(std::uint64_t& value)
    {
        if (static_cast<std::size_t>(end_ - next_) < sizeof(Signed)) [[unlikely]]
            return shortage();
        Signed field;
        __builtin_memcpy(&field, next_, sizeof field);  // a load; freestanding std::memcpy would be a call
        next_ += sizeof field;
        value = static_cast<std::uint64_t>(static_cast<std::int64_t>(field));
        return true;
    }

    bool take_sized(unsigned size, std::uint64_t& value)
    {
        if (size == 1)
            return take_signed<std::int8_t>(value);
        if (size == 4)
            return take_signed<std::int32_t>(value);
        if (static_cast<std::size_t>(end_ - next_) < size)
            return shortage();
        if (size == 2)
            return take_signed<std::int16_t>(value);
        value = 0;
        for (unsigned i = 0; i < size; ++i)
            value |= std::uint64_t{static_cast<std::uint8_t>(next_[i])} << (8 * i);
        next_ += size;
        return true;
    }

    bool is_long() const { return out_.mode == Mode::bits64; }

    void note_prefix(std::uint8_t byte);
    bool read_opcode();
    bool read_special(std::uint8_t byte, bool& done);
    bool read_escaped();
    bool read_vector_prefix(Special kind, bool& done);
    bool read_vex(Special kind);
    bool read_evex();
    bool read_vector_opcode(unsigned map, unsigned digit);
    bool read_modrm();
    bool read_displacement(unsigned size);
    bool read_immediate();
    bool is_legal();
    bool control_register_is_legal();

    const std::byte* begin_;
    const std::byte* next_;
    const std::byte* end_;
    Instruction out_{};
    std::uint8_t form_{};
    std::uint8_t prefix_digit_{1};
    Error failure_{};
};

void Decoder::note_prefix(std::uint8_t byte)
{
    const auto override_segment = [this](SegmentRegister segment) {
        // In 64-bit mode the four flat segments' prefixes do nothing, not even undo FS or GS [APM3-3.35
        // §1.2.4].
        if (!is_long() || segment >= SegmentRegister::fs)
            out_.segment = segment;
    };
    constexpr std::uint8_t repeats{prefix::rep | prefix::repne};
    switch (byte) {
    case 0x66: out_.prefixes |= prefix::operand_size; break;
    case 0x67: out_.prefixes |= prefix::address_size; break;
    case 0xf0: out_.prefixes |= prefix::lock; break;
    case 0xf2: out_.prefixes = static_cast<std::uint8_t>((out_.prefixes & ~repeats) | prefix::repne); break;
    case 0xf3: out_.prefixes = static_cast<std::uint8_t>((out_.prefixes & ~repeats) | prefix::rep); break;
    case 0x26: override_segment(SegmentRegister::es); break;
    case 0x2e: override_segment(SegmentRegister::cs); break;
    case 0x36: override_segment(SegmentRegister::ss); break;
    case 0x3e: override_segment(SegmentRegister::ds); break;
    case 0x64: override_segment(SegmentRegister::fs); break;
    default: override_segment(SegmentRegister::gs); break;
    }
}

bool Decoder::read_opcode()
{
    const FormTable& forms{is_long() ? primary_forms_long : primary_forms_legacy};
    for (;;) {
        std::uint8_t byte{};
        if (!take(byte))
            return false;
        form_ = forms[byte];
        if ((form_ & form::special) == 0) [[likely]] {
            out_.opcode = byte;
            prefix_digit_ = prefix_digits[out_.prefixes & 7];
            return true;
        }
        bool done{};
        if (!read_special(byte, done))
            return false;
        if (done)
            return true;
    }
}

/// Everything in the primary map that is no opcode.  `done` once an opcode was found behind it.
bool Decoder::read_special(std::uint8_t byte, bool& done)
{
    const auto kind = static_cast<Special>(form_ & form::kind_mask);
    switch (kind) {
    case rex_prefix: out_.rex = byte; return true;
    case legacy_prefix:
        out_.rex = 0;  // a REX prefix counts only just before the opcode [APM3-3.35 §1.2.7]
        note_prefix(byte);
        return true;
    case escape_0f: done = true; return read_escaped();
    case no_instruction: return fail(undefined_opcode);
    default: out_.opcode = byte; return read_vector_prefix(kind, done);
    }
}

bool Decoder::read_escaped()
{
    prefix_digit_ = prefix_digits[out_.prefixes & 7];
    if (!take(out_.opcode))
        return false;
    out_.map = OpcodeMap::legacy_0f;
    form_ = legacy_0f_forms[out_.opcode];
    if ((form_ & form::special) != 0) {
        if ((form_ & form::kind_mask) != escape_0f)
            return fail(undefined_opcode);
        const bool has_immediate{out_.opcode == 0x3a};
        out_.map = has_immediate ? OpcodeMap::legacy_0f3a : OpcodeMap::legacy_0f38;
        form_ = static_cast<std::uint8_t>(form::modrm | (has_immediate ? byte_immediate : no_immediate));
        if (!take(out_.opcode))
            return false;
    }
    if (!is_present(static_cast<unsigned>(out_.map), out_.opcode, prefix_digit_))
        return fail(undefined_opcode);
    if (out_.opcode == 0x78 && out_.map == OpcodeMap::legacy_0f && prefix_digit_ != 1)
        form_ = form::modrm | two_immediates;
    return true;
}

/// C4, C5, 62 and 8F: a vector prefix or, where the next byte says so, an old instruction [APM3-3.35 §1.2.8].
bool Decoder::read_vector_prefix(Special kind, bool& done)
{
    if (next_ == end_)
        return shortage();
    const auto following = static_cast<std::uint8_t>(*next_);
    done = true;
    const bool is_prefix{kind == xop_prefix ? (following & 0x1f) >= 8 : is_long() || following >= 0xc0};
    if (!is_prefix) {  // POP, LES, LDS, BOUND
        form_ = form::modrm;
        prefix_digit_ = prefix_digits[out_.prefixes & 7];
        return true;
    }
    constexpr std::uint8_t forbidden{prefix::operand_size | prefix::rep | prefix::repne | prefix::lock};
    if ((out_.prefixes & forbidden) != 0 || out_.rex != 0)
        return fail(undefined_opcode);
    return kind == evex_prefix ? read_evex() : read_vex(kind);
}

/// Two- and three-byte VEX, and XOP, which has the same fields [APM3-3.35 §1.2.8].
bool Decoder::read_vex(Special kind)
{
    std::uint8_t first{};
    if (!take(first))
        return false;
    if (kind == vex2_prefix) {
        out_.rex = (first & 0x80) != 0 ? 0 : rex::r;
        return read_vector_opcode(static_cast<unsigned>(OpcodeMap::vex_0f), first & 3);
    }
    std::uint8_t second{};
    if (!take(second))
        return false;
    out_.rex = static_cast<std::uint8_t>((~first >> 5 & 7) | (second >> 4 & rex::w));
    const unsigned selected{first & 0x1fu};
    const bool is_vex{kind == vex3_prefix};
    const unsigned base{is_vex ? 1u : 8u};
    if (selected < base || selected > base + 2)
        return fail(undefined_opcode);
    const auto first_map = static_cast<unsigned>(is_vex ? OpcodeMap::vex_0f : OpcodeMap::xop_8);
    return read_vector_opcode(first_map + selected - base, second & 3);
}

/// EVEX: four bytes, two of whose bits are fixed [SDM2-083 §2.7.1].
bool Decoder::read_evex()
{
    std::uint8_t payload[3]{};
    for (std::uint8_t& byte : payload)
        if (!take(byte))
            return false;
    constexpr std::uint8_t maps[8]{0,
                                   static_cast<std::uint8_t>(OpcodeMap::evex_0f),
                                   static_cast<std::uint8_t>(OpcodeMap::evex_0f38),
                                   static_cast<std::uint8_t>(OpcodeMap::evex_0f3a),
                                   0,
                                   static_cast<std::uint8_t>(OpcodeMap::evex_5),
                                   static_cast<std::uint8_t>(OpcodeMap::evex_6),
                                   0};
    const unsigned map{maps[payload[0] & 7]};
    if (map == 0 || (payload[0] & 0x08) != 0 || (payload[1] & 0x04) == 0)
        return fail(undefined_opcode);
    out_.rex = static_cast<std::uint8_t>((~payload[0] >> 5 & 7) | (payload[1] >> 4 & rex::w));
    return read_vector_opcode(map, payload[1] & 3);
}

bool Decoder::read_vector_opcode(unsigned map, unsigned digit)
{
    if (!is_long())
        out_.rex = static_cast<std::uint8_t>(out_.rex & rex::w);
    prefix_digit_ = static_cast<std::uint8_t>(1u << digit);
    out_.map = static_cast<OpcodeMap>(map);
    if (!take(out_.opcode))
        return false;
    if (!is_present(map, out_.opcode, prefix_digit_))
        return fail(undefined_opcode);
    switch (out_.map) {
    case OpcodeMap::vex_0f:
    case OpcodeMap::evex_0f: form_ = legacy_0f_forms[out_.opcode]; return true;
    case OpcodeMap::vex_0f3a:
    case OpcodeMap::evex_0f3a:
    case OpcodeMap::xop_8: form_ = form::modrm | byte_immediate; return true;
    case OpcodeMap::xop_a: form_ = form::modrm | dword_immediate; return true;
    default: form_ = form::modrm; return true;
    }
}

/// ModRM, SIB and displacement [APM3-3.35 §1.4].
bool Decoder::read_modrm()
{
    const auto mode = static_cast<unsigned>(out_.mode);
    out_.operand_size =
        (out_.rex & rex::w) != 0 && is_long() ? std::uint8_t{8} : operand_sizes[mode][out_.prefixes & 1];
    out_.address_size = address_sizes[mode][out_.prefixes >> 3 & 1];
    if ((form_ & form::modrm) == 0)
        return true;
    out_.has_modrm = true;
    if (!take(out_.modrm))
        return false;
    const bool moves_control_register{out_.map == OpcodeMap::legacy_0f && (out_.opcode & 0xfc) == 0x20};
    if (out_.mod() == 3 || moves_control_register)  // whose mod counts as 3 [APM3-3.35 "MOV CRn"]
        return true;
    constexpr std::uint8_t by_mod_16[3]{0, 1, 2};
    constexpr std::uint8_t by_mod_32[3]{0, 1, 4};
    if (out_.address_size == 2)
        return read_displacement(out_.mod() == 0 && out_.rm() == 6 ? 2u : by_mod_16[out_.mod()]);
    unsigned base{out_.rm()};
    if (base == 4) {
        out_.has_sib = true;
        if (!take(out_.sib))
            return false;
        base = out_.sib & 7;
    }
    return read_displacement(out_.mod() == 0 && base == 5 ? 4u : by_mod_32[out_.mod()]);
}

bool Decoder::read_displacement(unsigned size)
{
    out_.displacement_size = static_cast<std::uint8_t>(size);
    return size == 0 || take_sized(size, out_.displacement);
}

bool Decoder::read_immediate()
{
    const unsigned kind{static_cast<unsigned>(form_ & form::kind_mask)};
    if (kind == no_immediate) [[likely]]
        return true;
    if ((form_ & form::only_reg_0_and_1) != 0 && out_.reg() > 1)
        return true;
    if (kind == memory_offset) {
        out_.displacement_size = out_.address_size;
        if (!take_sized(out_.address_size, out_.displacement))
            return false;
        if (out_.address_size < 8)
            out_.displacement &= (1ull << (8 * out_.address_size)) - 1;
        return true;
    }
    out_.immediate_size = immediate_sizes[kind][out_.operand_size >> 2];
    return take_sized(out_.immediate_size, out_.immediate);
}

bool Decoder::is_legal()
{
    if (out_.has_modrm && !modrm_is_legal(out_, prefix_digit_)) [[unlikely]]
        return fail(undefined_opcode);
    if (out_.map == OpcodeMap::legacy_0f) {
        if ((out_.opcode & 0xfc) == 0x20 && !control_register_is_legal())
            return fail(undefined_opcode);
        if (out_.opcode == 0x0f && !is_3dnow_suffix(out_.immediate))
            return fail(undefined_opcode);
    }
    if ((out_.prefixes & prefix::lock) != 0 && !may_be_locked(out_)) [[unlikely]]
        return fail(undefined_opcode);
    return true;
}

/// MOV to and from CR0, CR2, CR3, CR4, CR8 and DR0–DR7 [APM3-3.35 "MOV CRn", "MOV DRn"].
bool Decoder::control_register_is_legal()
{
    const unsigned index{out_.reg_index()};
    return (out_.opcode & 1) != 0 ? index < 8 : index < 16 && (0b1'0001'1101u >> index & 1) != 0;
}

}  // namespace

Expected<Instruction> decode(std::span<const std::byte> bytes, Mode mode)
{
    return Decoder{bytes, mode}.run();
}

}  // namespace hv::core::emulate
