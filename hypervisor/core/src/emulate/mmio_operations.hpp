// SPDX-License-Identifier: MIT
//
// Which opcodes the MMIO emulator knows, and how their operands lie [APM3-3.35 §A.1].  Private to the
// emulator.
#pragma once

#include <array>
#include <cstdint>

#include "hv/core/emulate/mmio.hpp"

namespace hv::core::emulate {

/// How an opcode's operands are encoded.
enum class Operands : std::uint8_t {
    memory_register,   ///< r/m, reg
    register_memory,   ///< reg, r/m
    memory_immediate,  ///< r/m, immediate
    memory,            ///< r/m
    accumulator_from_offset,
    offset_from_accumulator,
    string,
};

struct OpcodeUse {
    Operation operation{};
    Operands operands{};
    std::uint8_t size{};  ///< of the memory operand; 0: the operand size
};

using UseTable = std::array<OpcodeUse, 256>;

constexpr void add_pair(UseTable& table, unsigned opcode, Operation operation, Operands operands)
{
    table[opcode] = {operation, operands, 1};
    table[opcode + 1] = {operation, operands, 0};
}

inline constexpr UseTable primary_uses{[] {
    using enum Operands;
    UseTable table{};
    for (unsigned i = 0; i < 8; ++i) {
        const auto operation = static_cast<Operation>(static_cast<unsigned>(Operation::add) + i);
        add_pair(table, 8 * i, operation, memory_register);
        add_pair(table, 8 * i + 2, operation, register_memory);
    }
    add_pair(table, 0x84, Operation::test, memory_register);
    add_pair(table, 0x86, Operation::exchange, memory_register);
    add_pair(table, 0x88, Operation::move, memory_register);
    add_pair(table, 0x8a, Operation::move, register_memory);
    add_pair(table, 0xa0, Operation::move, accumulator_from_offset);
    add_pair(table, 0xa2, Operation::move, offset_from_accumulator);
    add_pair(table, 0xa4, Operation::move_string, string);
    add_pair(table, 0xaa, Operation::store_string, string);
    add_pair(table, 0xac, Operation::load_string, string);
    add_pair(table, 0xae, Operation::scan_string, string);
    add_pair(table, 0xc6, Operation::move, memory_immediate);
    table[0x63] = {Operation::sign_extend, register_memory, 4};  // in 64-bit mode
    table[0x8f] = {Operation::pop, memory, 0};
    return table;
}()};

inline constexpr UseTable legacy_0f_uses{[] {
    using enum Operands;
    UseTable table{};
    for (unsigned condition = 0; condition < 16; ++condition) {
        table[0x40 + condition] = {Operation::move_condition, register_memory, 0};
        table[0x90 + condition] = {Operation::set_condition, memory, 1};
    }
    table[0xa3] = {Operation::bit_test, memory_register, 0};
    table[0xab] = {Operation::bit_set, memory_register, 0};
    table[0xb3] = {Operation::bit_reset, memory_register, 0};
    table[0xbb] = {Operation::bit_complement, memory_register, 0};
    add_pair(table, 0xb0, Operation::compare_exchange, memory_register);
    add_pair(table, 0xc0, Operation::exchange_add, memory_register);
    table[0xb6] = {Operation::zero_extend, register_memory, 1};
    table[0xb7] = {Operation::zero_extend, register_memory, 2};
    table[0xbe] = {Operation::sign_extend, register_memory, 1};
    table[0xbf] = {Operation::sign_extend, register_memory, 2};
    table[0xc3] = {Operation::move, memory_register, 0};  // MOVNTI
    return table;
}()};

/// Opcodes whose operation ModRM.reg names.
constexpr OpcodeUse group_use(const Instruction& instruction)
{
    using enum Operands;
    const unsigned reg{instruction.reg()};
    const std::uint8_t opcode{instruction.opcode};
    const auto size = static_cast<std::uint8_t>(opcode & 1 ? 0 : 1);
    if (instruction.map == OpcodeMap::legacy_0f) {
        if (opcode == 0xba && reg >= 4)
            return {static_cast<Operation>(static_cast<unsigned>(Operation::bit_test) + reg - 4),
                    memory_immediate, 0};
        if (opcode == 0xc7 && reg == 1 && instruction.operand_size != 8)
            return {Operation::compare_exchange_8_bytes, memory, 8};
        return {};
    }
    switch (opcode) {
    case 0x80:
    case 0x81:
    case 0x82:
    case 0x83:
        return {static_cast<Operation>(static_cast<unsigned>(Operation::add) + reg), memory_immediate, size};
    case 0xf6:
    case 0xf7:
        if (reg < 2)
            return {Operation::test, memory_immediate, size};
        if (reg < 4)
            return {reg == 2 ? Operation::invert : Operation::negate, memory, size};
        return {};
    case 0xfe:
    case 0xff:
        if (reg < 2)
            return {reg == 0 ? Operation::increment : Operation::decrement, memory, size};
        if (opcode == 0xff && reg == 6)
            return {Operation::push, memory, 0};
        return {};
    default: return {};
    }
}

/// What the instruction does, or Operation::unsupported.
constexpr OpcodeUse use_of(const Instruction& instruction)
{
    const std::uint8_t opcode{instruction.opcode};
    switch (instruction.map) {
    case OpcodeMap::primary: {
        if (opcode == 0x63 && instruction.mode != Mode::bits64)
            return {};  // ARPL
        const OpcodeUse& use{primary_uses[opcode]};
        return use.operation != Operation::unsupported ? use : group_use(instruction);
    }
    case OpcodeMap::legacy_0f: {
        const OpcodeUse& use{legacy_0f_uses[opcode]};
        return use.operation != Operation::unsupported ? use : group_use(instruction);
    }
    case OpcodeMap::legacy_0f38:
        if ((opcode & 0xfe) == 0xf0 && (instruction.prefixes & prefix::repne) == 0)  // MOVBE, not CRC32
            return {Operation::swap_bytes,
                    opcode == 0xf0 ? Operands::register_memory : Operands::memory_register, 0};
        return {};
    default: return {};
    }
}

/// Whether an operation whose destination is memory reads it first, and whether it writes it at all.
constexpr bool reads_destination(Operation operation)
{
    switch (operation) {
    case Operation::move:
    case Operation::swap_bytes:
    case Operation::set_condition: return false;
    default: return true;
    }
}

constexpr bool writes_destination(Operation operation)
{
    return operation != Operation::compare && operation != Operation::test &&
           operation != Operation::bit_test;
}

}  // namespace hv::core::emulate
