// SPDX-License-Identifier: MIT
//
// IN, OUT, INS and OUTS.  A port that nobody owns reads all-ones and drops what is written.
#include "hv/core/vcpu/exit_handlers.hpp"

#include "hv/core/domain/domain.hpp"
#include "hv/core/domain/virtual_pc.hpp"
#include "hv/core/emulate/code_mode.hpp"
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/memory/guest_walk.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/exceptions.hpp"

namespace hv::core {
namespace {

constexpr std::uint32_t all_ones(unsigned size) { return size == 4 ? ~0u : (1u << (8 * size)) - 1; }

/// Returns true when the access settled RIP by itself (an extension's verdict).
[[gnu::always_inline]] inline bool access_port(Vcpu& vcpu, std::uint16_t port, unsigned size, bool in, std::uint32_t& value)
{
    vcpu.exits.ports.count(port, !in);
    if (ExtensionStack* const extensions = vcpu.domain.extensions) {
        switch (extensions->port(vcpu, port, size, in, value)) {
        case Answered::no: break;
        case Answered::done: return false;
        case Answered::fault: raise_general_protection(vcpu); return true;
        case Answered::taken: return true;
        }
    }
    if (in)
        value = vcpu.domain.pc->read_port(port, size);
    else
        vcpu.domain.pc->write_port(port, size, value);
    return false;
}

void finish(Vcpu& vcpu, const PortAccess& access)
{
    const auto length = static_cast<std::uint8_t>(access.next_rip - vcpu.registers.rip);
    vcpu.advance(length);
}

std::uint64_t address_mask(unsigned bytes) { return bytes == 8 ? ~0ull : (1ull << (8 * bytes)) - 1; }

/// One instruction's worth of INS or OUTS: its operands, read from the instruction and the registers.
struct StringPort {
    unsigned address_bytes;
    unsigned index_register;  ///< rDI for INS, rSI for OUTS
    std::uint64_t segment_base;
    std::uint64_t mask;
};

Expected<StringPort> string_operands(Vcpu& vcpu, const ExecutionContext& context, const PortAccess& access)
{
    const auto code = read_code(vcpu, context);
    if (!code)
        return code.error();
    const auto which = access.in ? emulate::Intercepted::ins : emulate::Intercepted::outs;
    const auto instruction = emulate::decode_intercepted(which, code.value(), emulate::mode_of(context));
    if (!instruction)
        return instruction.error();
    StringPort result{};
    result.address_bytes = instruction.value().address_size;
    result.index_register = access.in ? static_cast<unsigned>(rdi) : static_cast<unsigned>(rsi);
    result.mask = address_mask(result.address_bytes);
    SystemRegisters system{};
    machine().hvm.read_system(vcpu, system);
    unsigned segment{access.in ? segment_es : segment_ds};
    if (!access.in && instruction.value().segment != emulate::SegmentRegister::none)
        segment = static_cast<unsigned>(instruction.value().segment);
    const bool flat = context.code_64() && segment != segment_fs && segment != segment_gs;
    result.segment_base = flat ? 0 : system.segments[segment].base;
    return result;
}

/// One element in memory, translated: in two pieces where it crosses a page.
struct Element {
    LinearTranslation walks[2];
    unsigned first_bytes;

    template <typename Byte>
    Status copy(std::span<Byte> bytes, Status (GuestMemory::*how)(GuestPhysical, std::span<Byte>) const,
                const GuestMemory& memory) const
    {
        HV_TRY((memory.*how)(walks[0].address, bytes.first(first_bytes)));
        return (memory.*how)(walks[1].address, bytes.subspan(first_bytes));
    }
};

bool translate_element(Vcpu& vcpu, const ExecutionContext& context, std::uint64_t linear, const PortAccess& access,
                       Element& element)
{
    const std::uint64_t left = page_size - (linear & page_mask);
    element.first_bytes = left < access.size ? static_cast<unsigned>(left) : access.size;
    if (!translate_operand(vcpu, context, linear, access.in, element.walks[0]))
        return false;
    if (element.first_bytes == access.size)
        return true;
    const std::uint64_t next = linear + element.first_bytes;
    return translate_operand(vcpu, context, context.code_64() ? next : next & 0xffff'ffff, access.in,
                             element.walks[1]);
}

/// Moves one element between the port and memory.  False: a fault was raised, or the port settled RIP itself.
bool transfer_element(Vcpu& vcpu, const ExecutionContext& context, const PortAccess& access, const StringPort& operands)
{
    const std::uint64_t offset = vcpu.registers.general[operands.index_register] & operands.mask;
    const std::uint64_t linear = context.code_64() ? operands.segment_base + offset
                                                   : (operands.segment_base + offset) & 0xffff'ffff;
    const GuestMemory& memory = vcpu.domain.memory.guest();
    Element element{};
    if (!translate_element(vcpu, context, linear, access, element))
        return false;
    std::uint32_t value{};
    const std::span<std::byte> bytes = std::as_writable_bytes(std::span{&value, 1}).first(access.size);
    if (!access.in && !element.copy(bytes, &GuestMemory::read, memory))
        value = all_ones(access.size);
    if (access_port(vcpu, access.port, access.size, access.in, value))
        return false;
    if (access.in) {
        // A write to what is not RAM is dropped.
        static_cast<void>(element.copy(std::span<const std::byte>{bytes}, &GuestMemory::write, memory));
        mark_accessed(element.walks[0], true);
        mark_accessed(element.walks[1], true);
    }
    const bool down = x86::Rflags::DF::get(vcpu.registers.rflags);
    std::uint64_t& index = vcpu.registers.general[operands.index_register];
    const std::uint64_t moved = (index + (down ? 0 - std::uint64_t{access.size} : access.size)) & operands.mask;
    index = operands.address_bytes == 2 ? (index & ~0xffffull) | moved : moved;
    return true;
}

/// The instruction goes on after so many elements.  A single one is a turn by itself, and the last turn the instruction's end.
template <unsigned elements_at_a_time>
[[gnu::noinline]] void handle_string(Vcpu& vcpu, const PortAccess& access)
{
    ExecutionContext context{};
    machine().hvm.read_context(vcpu, context);
    const auto operands = string_operands(vcpu, context, access);
    if (!operands)
        return;
    std::uint64_t& counter = vcpu.registers.general[rcx];
    const std::uint64_t mask = operands.value().mask;
    for (unsigned done = 0; done < elements_at_a_time; ++done) {
        if (access.repeated && (counter & mask) == 0)
            return finish(vcpu, access);
        if (!transfer_element(vcpu, context, access, operands.value()))
            return;
        if (!access.repeated)
            return finish(vcpu, access);
        const std::uint64_t left = (counter - 1) & mask;
        counter = operands.value().address_bytes == 2 ? (counter & ~0xffffull) | left : left;
        if (elements_at_a_time == 1 && left == 0)
            return finish(vcpu, access);
    }
}

constexpr unsigned elements_before_a_look{64};  // of the loop

}  // namespace

void handle_port_turn(Vcpu& vcpu, const Exit& exit)
{
    if (exit.port.string)
        return handle_string<1>(vcpu, exit.port);
    handle_port(vcpu, exit);
}

void handle_port(Vcpu& vcpu, const Exit& exit)
{
    const PortAccess& access = exit.port;
    if (access.string)
        return handle_string<elements_before_a_look>(vcpu, access);
    std::uint64_t& accumulator = vcpu.registers.general[rax];
    auto value = static_cast<std::uint32_t>(accumulator) & all_ones(access.size);
    if (access.in)
        value = 0;
    if (access_port(vcpu, access.port, access.size, access.in, value))
        return;
    if (access.in)
        accumulator = access.size == 4 ? value : (accumulator & ~std::uint64_t{all_ones(access.size)}) | value;
    finish(vcpu, access);
}

}  // namespace hv::core
