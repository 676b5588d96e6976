// SPDX-License-Identifier: MIT
//
// One call that carries out an instruction whose memory operand a device answers: decode, plan, read,
// execute, write, commit.  The plain 64-bit moves that drivers use for nearly every access take a short cut
// that must do exactly what the long way does.  Who wants the steps one by one has decode.hpp and mmio.hpp.
#pragma once

#include <concepts>

#include "hv/core/emulate/mmio.hpp"

namespace hv::core::emulate {

/// Where an emulated instruction's memory accesses go: the caller translates the address and finds out
/// whether a device or plain memory is there.  `size` is 1, 2, 4 or 8; values are in the low `size` bytes.
template <typename P>
concept MemoryPort = requires(P port, GuestLinear address, unsigned size, std::uint64_t value)
{
    {
        port.read(address, size)
        } -> std::same_as<Expected<std::uint64_t>>;
    {
        port.write(address, size, value)
        } -> std::same_as<Status>;
};

/// MOV of 32 or 64 bits between memory and a register, or of an immediate to memory.
struct PlainMove {
    std::uint64_t address;
    std::uint64_t value;  ///< to write
    std::uint8_t size;
    std::uint8_t length;
    std::uint8_t register_index;
    bool writes;
};

/// Recognises 89, 8B and C7 /0 in 64-bit mode: no prefix but REX, any base, index and displacement but
/// RIP-relative. `bytes` must have all fifteen that an instruction can have; anything else is left to the
/// long way (false).
[[nodiscard]] inline bool find_plain_move(std::span<const std::byte> bytes, const Registers& registers,
                                          PlainMove& move)
{
    if (bytes.size() < maximum_instruction_length)
        return false;
    const std::byte* next{bytes.data()};
    const auto take = [&next] { return static_cast<std::uint8_t>(*next++); };
    const auto take_dword = [&next] {
        std::int32_t value;
        __builtin_memcpy(&value, next, sizeof value);
        next += sizeof value;
        return static_cast<std::uint64_t>(std::int64_t{value});
    };
    unsigned rex_bits{};
    unsigned opcode{take()};
    if ((opcode & 0xf0) == 0x40) {
        rex_bits = opcode;
        opcode = take();
    }
    if (opcode != 0x8b && opcode != 0x89 && opcode != 0xc7)
        return false;
    const unsigned modrm{take()};
    const unsigned mod{modrm >> 6};
    const unsigned reg{modrm >> 3 & 7};
    unsigned base{modrm & 7};
    if (mod == 3 || (mod == 0 && base == 5) || (opcode == 0xc7 && reg != 0))
        return false;
    std::uint64_t address{};
    bool has_base{true};
    if (base == rsp) {
        const unsigned sib{take()};
        base = sib & 7;
        has_base = mod != 0 || base != 5;
        const unsigned index{(sib >> 3 & 7) | (rex_bits & rex::x) << 2};
        if (index != rsp)
            address = registers.general[index] << (sib >> 6);
    }
    if (has_base)
        address += registers.general[base | (rex_bits & rex::b) << 3];
    if (mod == 1)
        address += static_cast<std::uint64_t>(std::int64_t{static_cast<std::int8_t>(take())});
    else if (mod == 2 || !has_base)
        address += take_dword();
    move.address = address;
    move.size = (rex_bits & rex::w) != 0 ? 8 : 4;
    move.register_index = static_cast<std::uint8_t>(reg | (rex_bits & rex::r) << 1);
    move.writes = opcode != 0x8b;
    move.value = opcode == 0xc7 ? take_dword() : registers.general[move.register_index];
    if (move.size == 4)
        move.value &= 0xffff'ffff;
    move.length = static_cast<std::uint8_t>(next - bytes.data());
    return true;
}

/// What is left to do when the access went well: `value` is what was read.  RFLAGS stays the caller's.
inline void commit(const PlainMove& move, Registers& registers, std::uint64_t value)
{
    if (!move.writes)
        registers.general[move.register_index] = move.size == 4 ? value & 0xffff'ffff : value;
    registers.rip += move.length;
}

/// The long way of emulate_access(): any instruction that plan() knows.
template <MemoryPort Port>
Status emulate_access_by_plan(std::span<const std::byte> bytes, Mode mode, Registers& registers,
                              const Segments& segments, Port& port)
{
    const auto instruction = HV_TRY(decode(bytes, mode));
    const auto operation = HV_TRY(plan(instruction, registers, segments));
    std::uint64_t value{};
    if (operation.reads)
        value = HV_TRY(port.read(operation.read_address, operation.size));
    const Effect effect{execute(operation, registers, value)};
    if (operation.writes)
        HV_TRY(port.write(operation.write_address, operation.size, effect.write_value));
    commit(effect, registers);
    return Done{};
}

/// Carries out the instruction whose bytes start at RIP, or one iteration of a repeated one.  A failure of
/// decode(), plan() or the port leaves the registers as they were and is returned as it is.
template <MemoryPort Port>
Status emulate_access(std::span<const std::byte> bytes, Mode mode, Registers& registers,
                      const Segments& segments, Port& port)
{
    PlainMove move;
    if (mode != Mode::bits64 || !find_plain_move(bytes, registers, move))
        return emulate_access_by_plan(bytes, mode, registers, segments, port);
    constexpr std::uint64_t resume_flag{1u << 16};
    const GuestLinear address{move.address};
    std::uint64_t value{};
    if (move.writes)
        HV_TRY(port.write(address, move.size, move.value));
    else
        value = HV_TRY(port.read(address, move.size));
    commit(move, registers, value);
    registers.rflags &= ~resume_flag;
    return Done{};
}

}  // namespace hv::core::emulate
