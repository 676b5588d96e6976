// SPDX-License-Identifier: MIT
//
// What the instruction computes: the value that goes to memory, the registers, the flags [APM3-3.35 §3].
#include "hv/core/emulate/mmio.hpp"

#include "arithmetic.hpp"

namespace hv::core::emulate {

namespace {

/// One execution under way: reads the plan and the registers, collects an effect.
class Executor {
public:
    Executor(const MmioOperation& plan, const Registers& registers, std::uint64_t read_value)
        : plan_{plan}, registers_{registers}, memory_{read_value & size_mask(plan.size)}
    {
        effect_.rip = plan.next_rip;
        effect_.rflags = registers.rflags & ~flag::resume;
    }

    Effect run()
    {
        if (plan_.operation == Operation::move) [[likely]]
            move();
        else if (plan_.operation <= Operation::test)
            arithmetic();
        else
            other();
        return effect_;
    }

private:
    void move()
    {
        if (plan_.direction == Direction::to_register)
            set_register(memory_);
        else
            effect_.write_value = operand() & size_mask(plan_.size);
    }

    void arithmetic();
    void other();
    void bit();
    void compare_exchange();
    void compare_exchange_8_bytes();
    void string();
    void advance(unsigned index);
    void push_or_pop();

    /// The operand that is not in memory.
    [[nodiscard]] std::uint64_t operand() const
    {
        if (plan_.source_is_immediate)
            return plan_.immediate;
        const std::uint64_t whole{registers_.general[plan_.register_index]};
        return plan_.high_byte ? whole >> 8 : whole;
    }

    void set(unsigned index, std::uint64_t whole)
    {
        effect_.changes[effect_.change_count++] = {static_cast<std::uint8_t>(index), whole};
    }

    void set_register(std::uint64_t value)
    {
        const std::uint64_t whole{registers_.general[plan_.register_index]};
        set(plan_.register_index,
            plan_.high_byte ? merge_high_byte(whole, value) : merge(whole, value, plan_.register_size));
    }

    void set_accumulator(std::uint64_t value) { set(rax, merge(registers_.general[rax], value, plan_.size)); }

    void set_flags(std::uint64_t flags, std::uint64_t which = flag::arithmetic)
    {
        effect_.rflags = (effect_.rflags & ~which) | (flags & which);
    }

    [[nodiscard]] bool carry() const { return (registers_.rflags & flag::carry) != 0; }

    const MmioOperation& plan_;
    const Registers& registers_;
    std::uint64_t memory_;
    Effect effect_{};
};

void Executor::arithmetic()
{
    const unsigned size{plan_.size};
    const std::uint64_t other{operand() & size_mask(size)};
    const bool to_memory{plan_.direction == Direction::to_memory};
    const std::uint64_t a{to_memory ? memory_ : other};
    const std::uint64_t b{to_memory ? other : memory_};
    const Result result{[&]() -> Result {
        switch (plan_.operation) {
        case Operation::add: return add(a, b, false, size);
        case Operation::add_with_carry: return add(a, b, carry(), size);
        case Operation::subtract_with_borrow: return subtract(a, b, carry(), size);
        case Operation::bitwise_or: return logical(a | b, size);
        case Operation::exclusive_or: return logical(a ^ b, size);
        case Operation::bitwise_and:
        case Operation::test: return logical(a & b, size);
        default: return subtract(a, b, false, size);  // SUB and CMP
        }
    }()};
    set_flags(result.flags);
    if (plan_.operation == Operation::compare || plan_.operation == Operation::test)
        return;
    if (to_memory)
        effect_.write_value = result.value;
    else
        set_register(result.value);
}

void Executor::other()
{
    const unsigned size{plan_.size};
    switch (plan_.operation) {
    case Operation::zero_extend: return set_register(memory_);
    case Operation::sign_extend: return set_register(sign_extend(memory_, size));
    case Operation::swap_bytes: {
        const std::uint64_t value{plan_.direction == Direction::to_register ? memory_ : operand()};
        const std::uint64_t swapped{__builtin_bswap64(value) >> (64 - 8 * size)};
        if (plan_.direction == Direction::to_register)
            return set_register(swapped);
        effect_.write_value = swapped;
        return;
    }
    case Operation::exchange: effect_.write_value = operand() & size_mask(size); return set_register(memory_);
    case Operation::exchange_add: {
        const Result sum{add(memory_, operand() & size_mask(size), false, size)};
        effect_.write_value = sum.value;
        set_flags(sum.flags);
        return set_register(memory_);
    }
    case Operation::invert: effect_.write_value = ~memory_ & size_mask(size); return;
    case Operation::negate: {
        const Result result{subtract(0, memory_, false, size)};
        effect_.write_value = result.value;
        return set_flags(result.flags);
    }
    case Operation::increment:
    case Operation::decrement: {
        const Result result{plan_.operation == Operation::increment ? add(memory_, 1, false, size)
                                                                    : subtract(memory_, 1, false, size)};
        effect_.write_value = result.value;
        return set_flags(result.flags, flag::arithmetic & ~flag::carry);
    }
    case Operation::set_condition:
        effect_.write_value = condition_holds(plan_.opcode, registers_.rflags) ? 1 : 0;
        return;
    case Operation::move_condition:
        return set_register(condition_holds(plan_.opcode, registers_.rflags) ? memory_ : operand());
    case Operation::compare_exchange: return compare_exchange();
    case Operation::compare_exchange_8_bytes: return compare_exchange_8_bytes();
    case Operation::push:
    case Operation::pop: return push_or_pop();
    case Operation::move_string:
    case Operation::store_string:
    case Operation::load_string:
    case Operation::scan_string: return string();
    default: return bit();
    }
}

/// BT, BTS, BTR, BTC: only carry changes.
void Executor::bit()
{
    const std::uint64_t selected{1ull << plan_.bit};
    set_flags(flag_if((memory_ & selected) != 0, flag::carry), flag::carry);
    switch (plan_.operation) {
    case Operation::bit_set: effect_.write_value = memory_ | selected; return;
    case Operation::bit_reset: effect_.write_value = memory_ & ~selected; return;
    case Operation::bit_complement: effect_.write_value = memory_ ^ selected; return;
    default: return;
    }
}

void Executor::compare_exchange()
{
    const std::uint64_t expected{registers_.general[rax] & size_mask(plan_.size)};
    set_flags(subtract(expected, memory_, false, plan_.size).flags);
    if (expected == memory_) {
        effect_.write_value = operand() & size_mask(plan_.size);
    } else {
        effect_.write_value = memory_;
        set_accumulator(memory_);
    }
}

/// CMPXCHG8B: only zero changes.
void Executor::compare_exchange_8_bytes()
{
    const auto pair = [this](unsigned high, unsigned low) {
        return registers_.general[high] << 32 | (registers_.general[low] & 0xffff'ffff);
    };
    const bool equal{pair(rdx, rax) == memory_};
    set_flags(flag_if(equal, flag::zero), flag::zero);
    effect_.write_value = equal ? pair(rcx, rbx) : memory_;
    if (!equal) {
        set(rax, memory_ & 0xffff'ffff);
        set(rdx, memory_ >> 32);
    }
}

void Executor::push_or_pop()
{
    const std::uint64_t old{registers_.general[rsp]};
    const std::uint64_t moved{plan_.operation == Operation::push ? old - plan_.size : old + plan_.size};
    effect_.write_value = memory_;
    set(rsp, merge(old, moved, plan_.count_size));
}

/// One iteration.  With iterations left, the instruction starts again.
void Executor::string()
{
    const std::uint64_t count{registers_.general[rcx] & size_mask(plan_.count_size)};
    if (plan_.repeats && count == 0)
        return;
    bool ends{!plan_.repeats || count == 1};
    switch (plan_.operation) {
    case Operation::move_string: effect_.write_value = memory_; break;
    case Operation::store_string:
        effect_.write_value = registers_.general[rax] & size_mask(plan_.size);
        break;
    case Operation::load_string: set_accumulator(memory_); break;
    default: {
        const std::uint64_t wanted{registers_.general[rax] & size_mask(plan_.size)};
        set_flags(subtract(wanted, memory_, false, plan_.size).flags);
        ends = ends || (wanted == memory_) == plan_.until_not_equal;
    }
    }
    if (plan_.operation == Operation::move_string || plan_.operation == Operation::load_string)
        advance(rsi);
    if (plan_.operation != Operation::load_string)
        advance(rdi);
    if (plan_.repeats)
        set(rcx, merge(registers_.general[rcx], count - 1, plan_.count_size));
    if (!ends) {
        effect_.rip = registers_.rip;
        effect_.rflags |= registers_.rflags & flag::resume;
    }
}

void Executor::advance(unsigned index)
{
    const std::uint64_t old{registers_.general[index]};
    const bool down{(registers_.rflags & flag::direction) != 0};
    set(index, merge(old, down ? old - plan_.size : old + plan_.size, plan_.count_size));
}

}  // namespace

Effect execute(const MmioOperation& operation, const Registers& registers, std::uint64_t read_value)
{
    return Executor{operation, registers, read_value}.run();
}

}  // namespace hv::core::emulate
