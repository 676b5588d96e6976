// SPDX-License-Identifier: MIT
//
// What an instruction with a memory operand does, for accesses that a device answers.  plan() finds the
// operand; the caller translates the linear addresses, reads the device or memory; execute() computes; the
// caller writes, and if that went well commit() changes the registers.  Nothing is changed before: whatever
// fails, the guest can execute the instruction again.  Integer instructions only; no faults are raised and no
// privilege is checked, since the processor did that before it found the page missing: what does not fit is
// an error, and the caller lets the guest try again.
#pragma once

#include <cstdint>

#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/emulate/decode.hpp"
#include "hv/core/vcpu/registers.hpp"

namespace hv::core::emulate {

/// A segment register's hidden part.  The attributes are the VMCB's twelve bits [APM2-3.41 §15.5.1], the
/// limit is in bytes.
struct Segment {
    std::uint64_t base{};
    std::uint32_t limit{};
    std::uint16_t attributes{};
};

/// The six segments in encoding order (SegmentRegister).
struct Segments {
    Segment segments[6];

    [[nodiscard]] const Segment& operator[](SegmentRegister which) const
    {
        return segments[static_cast<unsigned>(which)];
    }
};

/// What an instruction does with its memory operand.
enum class Operation : std::uint8_t {
    unsupported,
    add,  ///< the eight of the arithmetic group, in encoding order
    bitwise_or,
    add_with_carry,
    subtract_with_borrow,
    bitwise_and,
    subtract,
    exclusive_or,
    compare,
    test,
    move,
    zero_extend,
    sign_extend,
    swap_bytes,  ///< MOVBE
    exchange,
    invert,
    negate,
    increment,
    decrement,
    bit_test,
    bit_set,
    bit_reset,
    bit_complement,
    compare_exchange,
    compare_exchange_8_bytes,
    exchange_add,
    set_condition,
    move_condition,
    push,
    pop,
    move_string,
    store_string,
    load_string,
    scan_string,
};

/// The direction in which a two-operand instruction works.
enum class Direction : std::uint8_t {
    to_memory,
    to_register,
};

/// A planned access: where it reads and writes, and what execute() will need.
struct MmioOperation {
    GuestLinear read_address{};  ///< meaningful if `reads`
    GuestLinear
        write_address{};  ///< meaningful if `writes`; the same as read_address but for MOVS, PUSH and POP
    bool reads{};
    bool writes{};        ///< CMPXCHG always writes, a value or what was there [APM3-3.35 "CMPXCHG"]
    bool locked{};        ///< read and write are one atomic step: a LOCK prefix, or XCHG
    std::uint8_t size{};  ///< of the memory operand: 1, 2, 4 or 8 bytes

    Operation operation{};
    Direction direction{};
    std::uint8_t register_size{};  ///< of the register operand
    std::uint8_t register_index{};
    bool high_byte{};  ///< the register is AH, CH, DH or BH
    bool source_is_immediate{};
    bool repeats{};
    std::uint8_t count_size{};  ///< of rCX, rSI, rDI: the address size
    std::uint8_t bit{};         ///< BT and its family: which bit of the operand
    std::uint8_t opcode{};      ///< its low nibble is the condition of SETcc and CMOVcc; A6…AF the string's
    bool until_not_equal{};     ///< REPNE SCAS
    bool long_mode{};
    std::uint64_t immediate{};
    std::uint64_t next_rip{};
};

/// What execute() found.  `write_value` is to be written if the plan `writes`.
struct Effect {
    struct Change {
        std::uint8_t index;
        std::uint64_t value;  ///< of the whole register
    };
    std::uint64_t write_value{};
    std::uint64_t rip{};
    std::uint64_t rflags{};
    Change changes[3]{};
    std::uint8_t change_count{};
};

/// Finds the memory operand.  Of a repeated string instruction one iteration is planned; if none is left, the
/// plan neither reads nor writes.  Linear addresses wrap as the address size and mode say; whether they are
/// canonical and mapped is the caller's translation to find.  Fails with
///   Error::not_supported     an instruction that is not emulated (x87, vector, shifts, far, CMPS, …),
///   Error::conflict          no memory operand: not the instruction that was intercepted,
///   Error::permission_denied outside the segment, or the segment may not be so used (not in 64-bit mode).
[[nodiscard]] Expected<MmioOperation> plan(const Instruction& instruction, const Registers& registers,
                                           const Segments& segments);

/// Computes the result and the flags from what was read (0 if nothing was).  Flags that the manuals leave
/// undefined are as AMD's processors leave them.  A repeated string instruction with iterations left keeps
/// RIP where it was.
[[nodiscard]] Effect execute(const MmioOperation& operation, const Registers& registers,
                             std::uint64_t read_value);

/// Makes the effect the processor's state; RFLAGS.RF is cleared when the instruction is complete.
inline void commit(const Effect& effect, Registers& registers)
{
    for (unsigned i = 0; i < effect.change_count; ++i)
        registers.general[effect.changes[i].index] = effect.changes[i].value;
    registers.rip = effect.rip;
    registers.rflags = effect.rflags;
}

}  // namespace hv::core::emulate
