// SPDX-License-Identifier: MIT
//
// Accesses to guest-physical addresses that are not mapped: RAM that was not touched before, and devices, whose
// instruction is emulated.  What nobody owns reads all-ones and drops what is written.
#include "hv/core/vcpu/exit_handlers.hpp"

#include "hv/core/domain/domain.hpp"
#include "hv/core/domain/virtual_pc.hpp"
#include "hv/core/emulate/code_mode.hpp"
#include "hv/core/emulate/mmio_access.hpp"
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/memory/guest_walk.hpp"
#include "hv/core/vcpu/operand_access.hpp"

namespace hv::core {

emulate::Segments segments_of(Vcpu& vcpu, const ExecutionContext& context, const emulate::Instruction& instruction)
{
    emulate::Segments result{};
    const bool flat = context.code_64() && instruction.segment != emulate::SegmentRegister::fs &&
                      instruction.segment != emulate::SegmentRegister::gs;
    if (flat)
        return result;
    SystemRegisters system{};
    machine().hvm.read_system(vcpu, system);
    for (unsigned index = 0; index < 6; ++index)
        result.segments[index] = {system.segments[index].base, system.segments[index].limit,
                                  system.segments[index].attributes};
    return result;
}

namespace {

constexpr std::uint64_t all_ones(unsigned size) { return size == 8 ? ~0ull : (1ull << (8 * size)) - 1; }

bool in_local_apic(const Vcpu& vcpu, GuestPhysical address)
{
    return LocalApic::mmio_page(vcpu.apic.apic_base()) == address.page_base();
}

AccessOutcome access_local_apic(Vcpu& vcpu, std::uint64_t offset, unsigned size, bool write, std::uint64_t& value)
{
    const std::uint64_t now = vcpu.guest_tsc(platform::ticks());
    if (!write) {
        fetch_task_priority(vcpu);
        value = vcpu.apic.read_mmio(offset, size, now);
        return AccessOutcome::done;
    }
    static_cast<void>(apply_apic_effect(vcpu, vcpu.apic.write_mmio(offset, size, value, now)));
    store_task_priority(vcpu);
    return AccessOutcome::done;
}

AccessOutcome access_device(Vcpu& vcpu, GuestPhysical address, unsigned size, bool write, std::uint64_t& value)
{
    if (in_local_apic(vcpu, address))
        return access_local_apic(vcpu, address.page_offset(), size, write, value);
    Domain& domain = vcpu.domain;
    if (domain.pc->owns(address)) {
        if (write)
            domain.pc->write_mmio(address, size, value);
        else
            value = domain.pc->read_mmio(address, size);
        return AccessOutcome::done;
    }
    if (domain.extensions != nullptr) {
        switch (domain.extensions->mmio(vcpu, address, size, write, value)) {
        case Answered::no: break;
        case Answered::done: return AccessOutcome::done;
        case Answered::fault: return AccessOutcome::fault;
        case Answered::taken: return AccessOutcome::settled;
        }
    }
    domain.said_unowned_mmio.log(LogLevel::debug, "domain ", domain.id, ": access to ", Hex{address.raw()},
                                 ", where there is nothing");
    value = write ? value : all_ones(size);
    return AccessOutcome::done;
}

/// RAM or device, by guest-physical address, within a page.
AccessOutcome access_physical(Vcpu& vcpu, GuestPhysical address, unsigned size, bool write, std::uint64_t& value)
{
    const GuestMemory& memory = vcpu.domain.memory.guest();
    const auto bytes = std::as_writable_bytes(std::span{&value, 1}).first(size);
    if (!in_local_apic(vcpu, address) && memory.page(address, write) != nullptr) {
        if (write)
            static_cast<void>(memory.write(address, bytes));
        else
            static_cast<void>(memory.read(address, bytes));
        return AccessOutcome::done;
    }
    return access_device(vcpu, address, size, write, value);
}

/// Where a memory operand lies: in one page, or its rest in another.
struct Operand {
    GuestPhysical address[2];
    unsigned first_bytes;
};

/// Finds it by the guest's tables, or at once where it is the only one and what faulted.  False: the guest gets a page fault;
/// it would not come to one by itself, since the processor may find the other page missing first, again and again.
bool find_operand(Vcpu& vcpu, const ExecutionContext& context, GuestLinear linear, unsigned size, bool write, bool only,
                  GuestPhysical faulted, Operand& to)
{
    const std::uint64_t left = page_size - linear.page_offset();
    to.first_bytes = left < size ? static_cast<unsigned>(left) : size;
    if (only && linear.page_offset() == faulted.page_offset() && left >= size) {
        to.address[0] = faulted;
        return true;
    }
    LinearTranslation walks[2]{};
    if (!translate_operand(vcpu, context, linear.raw(), write, walks[0]))
        return false;
    const std::uint64_t next = linear.raw() + left;
    if (left < size &&
        !translate_operand(vcpu, context, context.code_64() ? next : next & 0xffff'ffff, write, walks[1]))
        return false;
    for (unsigned piece = 0; piece < 2; ++piece) {
        mark_accessed(walks[piece], write);
        to.address[piece] = walks[piece].address;
    }
    return true;
}

/// One that crosses a page, in the largest aligned pieces that lie in one.
AccessOutcome access_in_pieces(Vcpu& vcpu, const Operand& operand, unsigned size, bool write, std::uint64_t& value)
{
    const std::uint64_t whole{value};
    if (!write)
        value = 0;
    for (unsigned done = 0; done < size;) {
        const bool second = done >= operand.first_bytes;
        const GuestPhysical at = second ? operand.address[1].plus(done - operand.first_bytes) : operand.address[0].plus(done);
        const unsigned left = (second ? size : operand.first_bytes) - done;
        unsigned bytes{4};
        while (bytes > left || at.raw() % bytes != 0)
            bytes /= 2;
        std::uint64_t piece = whole >> (8 * done) & all_ones(bytes);
        const AccessOutcome outcome = access_physical(vcpu, at, bytes, write, piece);
        if (outcome != AccessOutcome::done)
            return outcome;
        if (!write)
            value |= (piece & all_ones(bytes)) << (8 * done);
        done += bytes;
    }
    return AccessOutcome::done;
}

AccessOutcome access_operand(Vcpu& vcpu, const Operand& operand, unsigned size, bool write, std::uint64_t& value)
{
    if (operand.first_bytes == size) [[likely]]
        return access_physical(vcpu, operand.address[0], size, write, value);
    return access_in_pieces(vcpu, operand, size, write, value);
}

void give_up(Vcpu& vcpu, GuestPhysical address)
{
    vcpu.domain.said_emulation.log(LogLevel::warning, "domain ", vcpu.domain.id, ": the instruction at ",
                                   Hex{vcpu.registers.rip}, " cannot be used on the device at ", Hex{address.raw()});
    raise_undefined_opcode(vcpu);
}

/// Carries out one planned instruction.
AccessOutcome carry_out(Vcpu& vcpu, const ExecutionContext& context, const emulate::MmioOperation& plan,
                        GuestPhysical faulted)
{
    const bool only = !(plan.reads && plan.writes) || plan.read_address == plan.write_address;
    Operand source{}, target{};
    if (plan.reads && !find_operand(vcpu, context, plan.read_address, plan.size, false, only, faulted, source))
        return AccessOutcome::settled;
    if (plan.writes && !find_operand(vcpu, context, plan.write_address, plan.size, true, only, faulted, target))
        return AccessOutcome::settled;
    std::uint64_t value{};
    if (plan.reads)
        if (const auto outcome = access_operand(vcpu, source, plan.size, false, value); outcome != AccessOutcome::done)
            return outcome;
    emulate::Effect effect = emulate::execute(plan, vcpu.registers, value);
    if (plan.writes)
        if (const auto outcome = access_operand(vcpu, target, plan.size, true, effect.write_value);
            outcome != AccessOutcome::done)
            return outcome;
    emulate::commit(effect, vcpu.registers);
    return AccessOutcome::done;
}

/// The same for the plain moves that drivers use for nearly every access.
AccessOutcome carry_out_move(Vcpu& vcpu, const ExecutionContext& context, const emulate::PlainMove& move,
                             GuestPhysical faulted)
{
    Operand operand{};
    if (!find_operand(vcpu, context, GuestLinear{move.address}, move.size, move.writes, true, faulted, operand))
        return AccessOutcome::settled;
    std::uint64_t value{move.value};
    const AccessOutcome outcome = access_operand(vcpu, operand, move.size, move.writes, value);
    if (outcome == AccessOutcome::done)
        emulate::commit(move, vcpu.registers, value);
    return outcome;
}

void finish_access(Vcpu& vcpu, AccessOutcome outcome)
{
    if (outcome == AccessOutcome::fault)
        return raise_general_protection(vcpu);
    if (outcome == AccessOutcome::done)
        vcpu.advance(0);  // RIP has moved already; the interrupt shadow has not ended
}

void emulate_access(Vcpu& vcpu, const NestedFault& fault)
{
    ExecutionContext context;  // filled in whole
    machine().hvm.read_context(vcpu, context);
    const auto code = read_code(vcpu, context);
    if (!code)
        return;
    if (emulate::PlainMove move; context.code_64() && emulate::find_plain_move(code.value(), vcpu.registers, move))
        return finish_access(vcpu, carry_out_move(vcpu, context, move, fault.address));
    const auto instruction = emulate::decode(code.value(), emulate::mode_of(context));
    if (!instruction)
        return give_up(vcpu, fault.address);
    const auto plan = emulate::plan(instruction.value(), vcpu.registers,
                                    segments_of(vcpu, context, instruction.value()));
    if (!plan)
        return give_up(vcpu, fault.address);
    finish_access(vcpu, carry_out(vcpu, context, plan.value(), fault.address));
}

}  // namespace

AccessOutcome access_linear(Vcpu& vcpu, const ExecutionContext& context, GuestLinear linear, unsigned size, bool write,
                            std::uint64_t& value)
{
    Operand operand{};
    if (!find_operand(vcpu, context, linear, size, write, false, {}, operand))
        return AccessOutcome::settled;
    return access_operand(vcpu, operand, size, write, value);
}

void handle_nested_fault(Vcpu& vcpu, const Exit& exit)
{
    const NestedFault& fault = exit.fault;
    DomainMemory& memory = vcpu.domain.memory;
    if (!fault.present && memory.is_ram(fault.address) && !in_local_apic(vcpu, fault.address)) {
        if (!memory.populate(fault.address))
            vcpu.domain.end(EndReason::crash, "the hypervisor has no memory for its nested tables");
        return;
    }
    if (fault.table_walk) {
        BoundedText<maximum_end_text> text;
        say(text, "VCPU ", vcpu.id, " uses a page table at ", Hex{fault.address.raw()},
            in_local_apic(vcpu, fault.address) ? ", where its local APIC is" : ", where there is no memory");
        return vcpu.domain.end(EndReason::crash, text.view());
    }
    if (fault.execute)  // what is not there reads all-ones: FF FF is no instruction
        return raise_undefined_opcode(vcpu);
    if (fault.present && memory.map().lookup(fault.address)) {
        const auto now = memory.map().lookup(fault.address);
        if (now->access.write)
            return;  // it was changed meanwhile
        return raise_general_protection(vcpu);  // a read-only page that the hypervisor laid there
    }
    emulate_access(vcpu, fault);
}

}  // namespace hv::core
