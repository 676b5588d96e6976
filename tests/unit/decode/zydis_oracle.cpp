// SPDX-License-Identifier: MIT
//
// The comparison itself; zydis_oracle.hpp says what it promises.
#include "zydis_oracle.hpp"

#include <Zydis/Zydis.h>
#include <algorithm>
#include <cstdio>

namespace hv::test {

using namespace core::emulate;

OracleCounts oracle_counts{};

namespace {

ZydisDecoder make_decoder(Mode mode)
{
    ZydisDecoder decoder{};
    switch (mode) {
    case Mode::bits16:
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16);
        break;
    case Mode::bits32:
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
        break;
    case Mode::bits64: ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); break;
    }
    ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_AMD_BRANCHES, ZYAN_TRUE);
    ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);  // no processor with SVM has it
    return decoder;
}

const ZydisDecoder& decoder_for(Mode mode)
{
    static const ZydisDecoder decoders[]{make_decoder(Mode::bits16), make_decoder(Mode::bits32),
                                         make_decoder(Mode::bits64)};
    return decoders[static_cast<unsigned>(mode)];
}

std::string describe(std::span<const std::byte> bytes, Mode mode, const char* what, long ours, long theirs)
{
    std::string text{mode == Mode::bits16 ? "16 bits:" : mode == Mode::bits32 ? "32 bits:" : "64 bits:"};
    char buffer[80];
    for (const std::byte byte : bytes.first(std::min<std::size_t>(bytes.size(), 16))) {
        std::snprintf(buffer, sizeof buffer, " %02x", static_cast<unsigned>(byte));
        text += buffer;
    }
    std::snprintf(buffer, sizeof buffer, ": %s: decoder %ld, Zydis %ld", what, ours, theirs);
    return text + buffer;
}

std::uint64_t low_bytes(std::uint64_t value, unsigned size)
{
    return size >= 8 ? value : value & ((1ull << (8 * size)) - 1);
}

/// Zydis keeps two-part immediates apart; the decoder has one.
std::uint64_t immediate_of(const ZydisDecodedInstruction& instruction)
{
    const auto& first = instruction.raw.imm[0];
    const auto& second = instruction.raw.imm[1];
    const std::uint64_t low{low_bytes(first.value.u, first.size / 8u)};
    return second.size == 0 ? low : low | low_bytes(second.value.u, second.size / 8u) << first.size;
}

std::string compare_pieces(std::span<const std::byte> bytes, Mode mode, const Instruction& ours,
                           const ZydisDecodedInstruction& theirs)
{
    const bool is_3dnow{theirs.opcode_map == ZYDIS_OPCODE_MAP_0F0F};
    const unsigned immediate_size{is_3dnow ? 1u : (theirs.raw.imm[0].size + theirs.raw.imm[1].size) / 8u};
    const std::uint64_t immediate{is_3dnow ? theirs.opcode : immediate_of(theirs)};
    const bool has_modrm{(theirs.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0};
    const bool has_sib{(theirs.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0};
    const struct {
        const char* what;
        std::uint64_t ours;
        std::uint64_t theirs;
    } pieces[]{
        {"length", ours.length, theirs.length},
        {"opcode", ours.opcode, is_3dnow ? 0x0fu : theirs.opcode},
        {"has ModRM", ours.has_modrm, has_modrm},
        {"has SIB", ours.has_sib, has_sib},
        {"mod", has_modrm ? ours.mod() : 0, has_modrm ? theirs.raw.modrm.mod : 0u},
        {"reg", has_modrm ? ours.reg() : 0, has_modrm ? theirs.raw.modrm.reg : 0u},
        {"rm", has_modrm ? ours.rm() : 0, has_modrm ? theirs.raw.modrm.rm : 0u},
        {"base", ours.sib & 7u, has_sib ? theirs.raw.sib.base : 0u},
        {"index", ours.sib >> 3 & 7u, has_sib ? theirs.raw.sib.index : 0u},
        {"scale", ours.sib >> 6 & 3u, has_sib ? theirs.raw.sib.scale : 0u},
        {"displacement size", ours.displacement_size, theirs.raw.disp.size / 8u},
        {"displacement", low_bytes(ours.displacement, ours.displacement_size),
         low_bytes(static_cast<std::uint64_t>(theirs.raw.disp.value), theirs.raw.disp.size / 8u)},
        {"immediate size", ours.immediate_size, immediate_size},
        {"immediate", low_bytes(ours.immediate, ours.immediate_size), immediate},
    };
    for (const auto& piece : pieces)
        if (piece.ours != piece.theirs)
            return describe(bytes, mode, piece.what, static_cast<long>(piece.ours),
                            static_cast<long>(piece.theirs));
    return {};
}

/// Instructions of Zydis that are not in the maps of AMD or Intel processors: Knights Corner's and VIA's.
bool only_zydis_has(const ZydisDecodedInstruction& instruction)
{
    switch (instruction.meta.isa_ext) {
    case ZYDIS_ISA_EXT_KNC:
    case ZYDIS_ISA_EXT_KNCE:
    case ZYDIS_ISA_EXT_KNCV:
    case ZYDIS_ISA_EXT_PADLOCK: return true;
    default: return false;
    }
}

}  // namespace

namespace {

/// For vector encodings the decoder knows the place in the map, Zydis also VEX.L, VEX.W, VEX.vvvv, masks and
/// operands.
bool zydis_is_stricter(const Instruction& ours)
{
    return ours.map >= OpcodeMap::vex_0f;
}

bool runs_out_of_bytes(ZyanStatus status)
{
    return status == ZYDIS_STATUS_NO_MORE_DATA || status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG;
}

}  // namespace

std::string disagreement(std::span<const std::byte> bytes, Mode mode)
{
    ZydisDecodedInstruction theirs{};
    const ZyanStatus status{
        ZydisDecoderDecodeInstruction(&decoder_for(mode), nullptr, bytes.data(), bytes.size(), &theirs)};
    const Expected<Instruction> ours{decode(bytes.first(maximum_instruction_length), mode)};
    if (ours && ZYAN_SUCCESS(status)) {
        ++oracle_counts.both_legal;
        return compare_pieces(bytes, mode, ours.value(), theirs);
    }
    if (ZYAN_SUCCESS(status)) {
        if (!only_zydis_has(theirs))
            return describe(bytes, mode, "only Zydis knows it", static_cast<long>(ours.error()),
                            theirs.meta.isa_ext);
        ++oracle_counts.excused;
        return {};
    }
    if (ours) {
        if (!zydis_is_stricter(ours.value()))
            return describe(bytes, mode, "only the decoder knows it", ours.value().length, status & 0xfffff);
        ++oracle_counts.excused;
        return {};
    }
    if (ours.error() == undefined_opcode)
        ++oracle_counts.both_undefined;
    else if (ours.error() == instruction_too_long && runs_out_of_bytes(status))
        ++oracle_counts.both_too_long;
    else if (ours.error() == truncated)
        return describe(bytes, mode, "called truncated", 0, status & 0xfffff);
    return {};
}

bool zydis_knows(std::span<const std::byte> bytes, Mode mode)
{
    ZydisDecodedInstruction theirs{};
    return ZYAN_SUCCESS(
        ZydisDecoderDecodeInstruction(&decoder_for(mode), nullptr, bytes.data(), bytes.size(), &theirs));
}

std::optional<EffectiveAddress> zydis_effective_address(std::span<const std::byte> bytes, Mode mode,
                                                        const core::Registers& registers)
{
    ZydisDecodedInstruction instruction{};
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT]{};
    if (!ZYAN_SUCCESS(
            ZydisDecoderDecodeFull(&decoder_for(mode), bytes.data(), bytes.size(), &instruction, operands)))
        return std::nullopt;
    ZydisRegisterContext context{};
    for (unsigned i = 0; i < 16; ++i) {
        context.values[ZYDIS_REGISTER_RAX + i] = registers.general[i];
        context.values[ZYDIS_REGISTER_EAX + i] = registers.general[i] & 0xffff'ffff;
        context.values[ZYDIS_REGISTER_AX + i] = registers.general[i] & 0xffff;
    }
    for (unsigned i = 0; i < instruction.operand_count; ++i) {
        if (operands[i].type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        ZyanU64 address{};
        if (!ZYAN_SUCCESS(
                ZydisCalcAbsoluteAddressEx(&instruction, &operands[i], registers.rip, &context, &address)))
            return std::nullopt;
        if (instruction.address_width == 16)
            address &= 0xffff;
        const auto segment = static_cast<unsigned>(operands[i].mem.segment - ZYDIS_REGISTER_ES);
        return EffectiveAddress{address, static_cast<SegmentRegister>(segment), operands[i].size / 8u};
    }
    return std::nullopt;
}

}  // namespace hv::test
