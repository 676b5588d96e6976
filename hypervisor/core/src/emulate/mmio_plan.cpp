// SPDX-License-Identifier: MIT
//
// Where the memory operand is: effective address, segment, wrap [APM1-3.23 §2.2] [APM3-3.35 §1.4,
// §1.5].
#include "hv/core/emulate/mmio.hpp"

#include "hv/base/field.hpp"
#include "mmio_operations.hpp"
#include "register_access.hpp"

namespace hv::core::emulate {

namespace {

/// Segment attributes as the VMCB has them [APM2-3.41 §15.5.1, §4.7].
struct SegmentAttributes {
    using Writable = Bit<1>;    // of data; readable, of code
    using ExpandDown = Bit<2>;  // of data; conforming, of code
    using Code = Bit<3>;
    using Present = Bit<7>;
    using Big = Bit<10>;
};

enum class Access : std::uint8_t {
    read,
    write,
};

/// Everything that the address of an operand depends on.
class AddressFinder {
public:
    AddressFinder(const Instruction& instruction, const Registers& registers, const Segments& segments)
        : instruction_{instruction}, registers_{registers}, segments_{segments}
    {
    }

    /// ModRM's memory operand as an offset; POP adds to RSP before it is used.
    [[nodiscard]] std::uint64_t effective_offset(std::uint64_t next_rip,
                                                 std::uint64_t added_to_stack_pointer = 0) const
    {
        if (instruction_.address_size == 2)
            return offset_16();
        const std::uint64_t offset{offset_32(next_rip) + (uses_stack_pointer() ? added_to_stack_pointer : 0)};
        return offset & size_mask(instruction_.address_size);
    }

    /// The segment of ModRM's memory operand.
    [[nodiscard]] SegmentRegister segment() const
    {
        return overridden(uses_stack_segment() ? SegmentRegister::ss : SegmentRegister::ds);
    }

    [[nodiscard]] SegmentRegister overridden(SegmentRegister usual) const
    {
        return instruction_.segment == SegmentRegister::none ? usual : instruction_.segment;
    }

    /// Offset to linear address, checked against the segment outside of 64-bit mode.
    [[nodiscard]] Expected<GuestLinear> linear(SegmentRegister which, std::uint64_t offset, unsigned size,
                                               Access access) const
    {
        const Segment& segment{segments_[which]};
        if (instruction_.mode == Mode::bits64) [[likely]]
            return GuestLinear{which >= SegmentRegister::fs ? segment.base + offset : offset};
        if (!allows(segment, offset, size, access))
            return Error::permission_denied;
        return GuestLinear{(segment.base + offset) & 0xffff'ffff};
    }

private:
    /// Type and limit checks [APM2-3.41 §4.7, §4.12].
    static bool allows(const Segment& segment, std::uint64_t offset, unsigned size, Access access)
    {
        const std::uint64_t attributes{segment.attributes};
        const bool code{SegmentAttributes::Code::get(attributes)};
        const bool writable{SegmentAttributes::Writable::get(attributes)};
        if (!SegmentAttributes::Present::get(attributes))
            return false;
        if (access == Access::write ? code || !writable : code && !writable)
            return false;
        const std::uint64_t last{offset + size - 1};
        if (code || !SegmentAttributes::ExpandDown::get(attributes))
            return last <= segment.limit;
        return offset > segment.limit &&
               last <= (SegmentAttributes::Big::get(attributes) ? 0xffff'ffffull : 0xffffull);
    }

    [[nodiscard]] std::uint64_t general(unsigned index) const { return registers_.general[index]; }

    [[nodiscard]] std::uint64_t offset_16() const
    {
        constexpr std::uint8_t none{16};
        constexpr std::uint8_t bases[8]{rbx, rbx, rbp, rbp, none, none, rbp, rbx};
        constexpr std::uint8_t indexes[8]{rsi, rdi, rsi, rdi, rsi, rdi, none, none};
        const unsigned rm{instruction_.rm()};
        std::uint64_t offset{instruction_.displacement};
        if (bases[rm] != none && !(rm == 6 && instruction_.mod() == 0))
            offset += general(bases[rm]);
        if (indexes[rm] != none)
            offset += general(indexes[rm]);
        return offset & 0xffff;
    }

    [[nodiscard]] std::uint64_t offset_32(std::uint64_t next_rip) const
    {
        const bool no_base{instruction_.mod() == 0};
        std::uint64_t offset{instruction_.displacement};
        if (!instruction_.has_sib) [[likely]] {
            if (no_base && instruction_.rm() == 5)
                return instruction_.mode == Mode::bits64 ? offset + next_rip : offset;
            return offset + general(instruction_.rm_index());
        }
        const unsigned base{instruction_.sib & 7u};
        const unsigned index{(instruction_.sib >> 3 & 7u) | ((instruction_.rex & rex::x) != 0 ? 8u : 0u)};
        if (!(no_base && base == 5))
            offset += general(base | ((instruction_.rex & rex::b) != 0 ? 8u : 0u));
        if (index != rsp)
            offset += general(index) << (instruction_.sib >> 6);
        return offset;
    }

    [[nodiscard]] bool uses_stack_pointer() const
    {
        return instruction_.has_sib && (instruction_.sib & 7) == rsp && (instruction_.rex & rex::b) == 0;
    }

    [[nodiscard]] bool uses_stack_segment() const
    {
        const unsigned rm{instruction_.rm()};
        if (instruction_.address_size == 2)
            return rm == 2 || rm == 3 || (rm == 6 && instruction_.mod() != 0);
        const unsigned base{instruction_.has_sib ? instruction_.sib & 7u : rm};
        if ((instruction_.rex & rex::b) != 0)
            return false;
        return base == rsp || (base == rbp && instruction_.mod() != 0);
    }

    const Instruction& instruction_;
    const Registers& registers_;
    const Segments& segments_;
};

/// One plan under way.
class Planner {
public:
    Planner(const Instruction& instruction, const Registers& registers, const Segments& segments)
        : instruction_{instruction},
          registers_{registers},
          segments_{segments},
          finder_{instruction, registers, segments}
    {
    }

    Expected<MmioOperation> run()
    {
        const OpcodeUse use{use_of(instruction_)};
        if (instruction_.has_modrm && instruction_.mod() == 3)
            return Error::conflict;
        if (use.operation == Operation::unsupported)
            return instruction_.has_modrm ? Error::not_supported : Error::conflict;
        const std::uint64_t rip{registers_.rip + instruction_.length};
        plan_.next_rip = instruction_.mode == Mode::bits64 ? rip : rip & 0xffff'ffff;
        plan_.operation = use.operation;
        plan_.opcode = instruction_.opcode;
        plan_.long_mode = instruction_.mode == Mode::bits64;
        plan_.size = use.size != 0 ? use.size : instruction_.operand_size;
        plan_.register_size = plan_.size;
        const Status status{plan_operands(use.operands)};
        if (!status)
            return status.error();
        return plan_;
    }

private:
    Status plan_operands(Operands operands)
    {
        switch (operands) {
        case Operands::memory_register: set_register(instruction_.reg_index()); return plan_destination();
        case Operands::register_memory: return plan_source();
        case Operands::memory_immediate:
            plan_.source_is_immediate = true;
            plan_.immediate = instruction_.immediate;
            return plan_destination();
        case Operands::memory:
            if (plan_.operation == Operation::push || plan_.operation == Operation::pop)
                return plan_stack();
            return plan_destination();
        case Operands::accumulator_from_offset:
            plan_.direction = Direction::to_register;
            return plan_at(finder_.overridden(SegmentRegister::ds), instruction_.displacement);
        case Operands::offset_from_accumulator:
            return plan_at(finder_.overridden(SegmentRegister::ds), instruction_.displacement);
        case Operands::string: return plan_string();
        }
        return Error::not_supported;
    }

    /// A byte register without REX may be the second byte of rAX … rBX.
    void set_register(unsigned index)
    {
        plan_.high_byte = plan_.register_size == 1 && instruction_.rex == 0 && index >= 4;
        plan_.register_index = static_cast<std::uint8_t>(plan_.high_byte ? index - 4 : index);
    }

    /// Memory is the destination, or the only operand.
    Status plan_destination()
    {
        plan_.locked = (instruction_.prefixes & prefix::lock) != 0 || plan_.operation == Operation::exchange;
        std::uint64_t offset{finder_.effective_offset(plan_.next_rip)};
        if (plan_.operation >= Operation::bit_test && plan_.operation <= Operation::bit_complement)
            offset = plan_bit(offset);
        return plan_at(finder_.segment(), offset);
    }

    /// Memory is the source; the register takes the result.
    Status plan_source()
    {
        plan_.direction = Direction::to_register;
        if (plan_.operation == Operation::sign_extend || plan_.operation == Operation::zero_extend) {
            plan_.register_size = instruction_.operand_size;
            if (plan_.size > plan_.register_size)
                plan_.size = plan_.register_size;
        }
        set_register(instruction_.reg_index());
        return plan_at(finder_.segment(), finder_.effective_offset(plan_.next_rip));
    }

    /// A register's bit offset reaches beyond the operand, in either direction [APM3-3.35 "BT"].
    std::uint64_t plan_bit(std::uint64_t offset)
    {
        const unsigned bits{8u * plan_.size};
        if (plan_.source_is_immediate) {
            plan_.bit = static_cast<std::uint8_t>(plan_.immediate & (bits - 1));
            return offset;
        }
        const std::uint64_t index{sign_extend(registers_.general[plan_.register_index], plan_.size)};
        plan_.bit = static_cast<std::uint8_t>(index & (bits - 1));
        const auto bytes =
            static_cast<std::uint64_t>(static_cast<std::int64_t>(index & ~std::uint64_t{bits - 1}) >> 3);
        return (offset + bytes) & size_mask(instruction_.address_size);
    }

    Status plan_at(SegmentRegister segment, std::uint64_t offset)
    {
        const bool to_memory{plan_.direction == Direction::to_memory};
        plan_.writes = to_memory && writes_destination(plan_.operation);
        plan_.reads = !to_memory || reads_destination(plan_.operation);
        const Expected<GuestLinear> address{
            finder_.linear(segment, offset, plan_.size, plan_.writes ? Access::write : Access::read)};
        if (!address)
            return address.error();
        plan_.read_address = plan_.write_address = address.value();
        return Done{};
    }

    Status plan_stack()
    {
        const bool long_mode{plan_.long_mode};
        plan_.size =
            long_mode && instruction_.operand_size == 4 ? std::uint8_t{8} : instruction_.operand_size;
        const bool big{SegmentAttributes::Big::get(segments_[SegmentRegister::ss].attributes)};
        plan_.count_size = long_mode ? 8 : big ? 4 : 2;
        plan_.reads = plan_.writes = true;
        const bool pops{plan_.operation == Operation::pop};
        const std::uint64_t stack_mask{size_mask(plan_.count_size)};
        const std::uint64_t top{registers_.general[rsp] & stack_mask};
        const std::uint64_t slot{pops ? top : (top - plan_.size) & stack_mask};
        const std::uint64_t offset{finder_.effective_offset(plan_.next_rip, pops ? plan_.size : 0u)};
        const Expected<GuestLinear> stack{
            finder_.linear(SegmentRegister::ss, slot, plan_.size, pops ? Access::read : Access::write)};
        const Expected<GuestLinear> operand{
            finder_.linear(finder_.segment(), offset, plan_.size, pops ? Access::write : Access::read)};
        if (!stack || !operand)
            return Error::permission_denied;
        plan_.read_address = pops ? stack.value() : operand.value();
        plan_.write_address = pops ? operand.value() : stack.value();
        return Done{};
    }

    Status plan_string()
    {
        constexpr std::uint8_t repeats{prefix::rep | prefix::repne};
        const Operation operation{plan_.operation};
        plan_.count_size = instruction_.address_size;
        plan_.repeats = (instruction_.prefixes & repeats) != 0;
        plan_.until_not_equal = (instruction_.prefixes & prefix::repne) != 0;
        const std::uint64_t mask{size_mask(plan_.count_size)};
        if (plan_.repeats && (registers_.general[rcx] & mask) == 0)
            return Done{};
        plan_.reads = operation != Operation::store_string;
        plan_.writes = operation == Operation::store_string || operation == Operation::move_string;
        const Expected<GuestLinear> source{
            string_operand(finder_.overridden(SegmentRegister::ds), rsi, Access::read)};
        const Expected<GuestLinear> destination{string_operand(
            SegmentRegister::es, rdi, operation == Operation::scan_string ? Access::read : Access::write)};
        const bool uses_source{operation == Operation::move_string || operation == Operation::load_string};
        const bool uses_destination{operation != Operation::load_string};
        if ((uses_source && !source) || (uses_destination && !destination))
            return Error::permission_denied;
        if (plan_.reads)
            plan_.read_address = uses_source ? source.value() : destination.value();
        if (plan_.writes)
            plan_.write_address = destination.value();
        return Done{};
    }

    [[nodiscard]] Expected<GuestLinear> string_operand(SegmentRegister segment, unsigned index,
                                                       Access access) const
    {
        return finder_.linear(segment, registers_.general[index] & size_mask(plan_.count_size), plan_.size,
                              access);
    }

    const Instruction& instruction_;
    const Registers& registers_;
    const Segments& segments_;
    AddressFinder finder_;
    MmioOperation plan_{};
};

}  // namespace

Expected<MmioOperation> plan(const Instruction& instruction, const Registers& registers,
                             const Segments& segments)
{
    return Planner{instruction, registers, segments}.run();
}

}  // namespace hv::core::emulate
