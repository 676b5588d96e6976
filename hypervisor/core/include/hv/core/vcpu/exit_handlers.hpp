// SPDX-License-Identifier: MIT
//
// What the core does about each kind of exit.  One function per kind, each in a file with its like; exit_dispatch.cpp
// is the table (exit_answer.hpp).  All are called by the processor that runs the VCPU, between exit and next entry, and leave the VCPU so
// that it can be entered again, or blocked, or its domain ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/base/expected.hpp"
#include "hv/core/emulate/intercepted.hpp"
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/hvm/exit.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/memory/guest_walk.hpp"
#include "hv/core/vcpu/vcpu.hpp"

namespace hv::core {

void handle_cpuid(Vcpu& vcpu, const Exit& exit);
void handle_msr_read(Vcpu& vcpu, const Exit& exit);
void handle_msr_write(Vcpu& vcpu, const Exit& exit);
void handle_hypercall(Vcpu& vcpu, const Exit& exit);
void handle_port(Vcpu& vcpu, const Exit& exit);
/// Of a repeated INS or OUTS just one turn.
void handle_port_turn(Vcpu& vcpu, const Exit& exit);
void handle_nested_fault(Vcpu& vcpu, const Exit& exit);
void handle_system_instruction(Vcpu& vcpu, const Exit& exit);
/// RDTSC and RDTSCP, INVLPG: they exit only where somebody wants to see them.
void handle_read_tsc(Vcpu& vcpu, const Exit& exit);
void handle_invalidate_page(Vcpu& vcpu, const Exit& exit);

/// The local APIC of this VCPU, as a register write left it: messages sent, EOIs passed on, the timer armed.  False: the
/// write was refused, the guest gets #GP.
bool apply_apic_effect(Vcpu& vcpu, const ApicEffect& effect);
/// Writes APIC_BASE.  Whatever memory lies where the registers come to lie is hidden from this VCPU until
/// they move on, and from no other; what the hypervisor copies for the guest, and its walks of the guest's
/// tables, see memory there as a device would.  False: the write was refused, or there is no memory for the
/// tables; the guest gets #GP.
bool write_apic_base(Vcpu& vcpu, std::uint64_t value);
/// Arms the host timer for what next_deadline() says.
void arm_apic_timer(Vcpu& vcpu);
/// The task priority that the guest set through CR8, taken over into the local APIC; and the other way round.
inline void fetch_task_priority(Vcpu& vcpu)
{
    const std::uint8_t priority_class = *vcpu.live.task_priority;
    if (vcpu.apic.task_priority() >> 4 != priority_class) [[unlikely]]
        vcpu.apic.set_task_priority(static_cast<std::uint8_t>(priority_class << 4));
}
void store_task_priority(Vcpu& vcpu);

/// The local APIC's vector in service ends: the I/O APIC and who watches the vector are told.
void conclude_interrupt(Vcpu& vcpu, const EndOfInterrupt& ended);
inline void end_interrupt(Vcpu& vcpu)
{
    const EndOfInterrupt ended = vcpu.apic.end_of_interrupt();
    if (ended.broadcast || vcpu.watched.any_ended) [[unlikely]]
        conclude_interrupt(vcpu, ended);
}

/// Before an entry: where one edge-triggered vector, which nobody watches, is in service and nothing else is pending, the guest may end it by
/// clearing its assist bit.  After the exit: the bit is the hypervisor's again, and what the guest has ended is ended.
void offer_eoi_assist(Vcpu& vcpu);
void take_back_eoi_assist(Vcpu& vcpu);

/// The instruction's bytes; not_found: they cannot be read now, the guest goes on and faults by itself.
Expected<std::span<const std::byte>> read_code(Vcpu& vcpu, const ExecutionContext& context);
/// The long way of length_of(): a walk of the guest's page tables, a decoder.
std::uint8_t decoded_length(Vcpu& vcpu, emulate::Intercepted which);
/// Where the processor did not say it: the length of the intercepted instruction, or 0 when the guest must execute it
/// again because its bytes have changed.
[[gnu::always_inline]] inline std::uint8_t length_of(Vcpu& vcpu, const Exit& exit, emulate::Intercepted which)
{
    if (exit.instruction_length != 0)
        return exit.instruction_length;
    if (const std::uint8_t usual = emulate::usual_length(which, vcpu.code.known(vcpu)); usual != 0) [[likely]]
        return usual;
    return decoded_length(vcpu, which);
}

/// The same where the processor said it or the instruction made an exit before, and nothing but RIP has to move at its end: true,
/// and the length is in the exit.
[[gnu::always_inline]] inline bool find_length_at_once(Vcpu& vcpu, emulate::Intercepted which)
{
    if (vcpu.ends_with_flags()) [[unlikely]]
        return false;
    if (vcpu.exit.instruction_length == 0)
        vcpu.exit.instruction_length = emulate::usual_length(which, vcpu.code.known(vcpu));
    return vcpu.exit.instruction_length != 0;
}

/// MSRs of the local APIC, which are nobody else's [SDM3-083 §10.12.1.2].
constexpr bool is_x2apic(std::uint32_t msr)
{
    constexpr std::uint32_t first{0x800}, count{0x100};
    return msr - first < count;
}

// The ends of accesses that an extension was asked about, for both ways of an exit.

/// EDX:EAX, as WRMSR takes it, and as RDMSR and RDTSC leave it; EAX to EDX, as CPUID does.
[[nodiscard]] inline std::uint64_t read_pair(const Vcpu& vcpu)
{
    return static_cast<std::uint32_t>(vcpu.registers.general[rax]) | vcpu.registers.general[rdx] << 32;
}
inline void write_pair(Vcpu& vcpu, std::uint64_t value)
{
    vcpu.registers.general[rax] = static_cast<std::uint32_t>(value);
    vcpu.registers.general[rdx] = value >> 32;
}
inline void write_leaf(Vcpu& vcpu, const x86::CpuidResult& result)
{
    vcpu.registers.general[rax] = result.eax;
    vcpu.registers.general[rbx] = result.ebx;
    vcpu.registers.general[rcx] = result.ecx;
    vcpu.registers.general[rdx] = result.edx;
}
/// Of an answer that is not `done`: the core's own answer where the extension has none, or the fault.  True: `value` or `result` is
/// what the guest reads, and RIP has to move on.
bool finish_msr_read(Vcpu& vcpu, Answered answer, std::uint64_t& value);
bool finish_msr_write(Vcpu& vcpu, Answered answer, std::uint64_t value);
bool finish_cpuid(Vcpu& vcpu, Answered answer, x86::CpuidResult& result);
/// The whole end of a hypercall, whatever the answer.
void finish_hypercall(Vcpu& vcpu, Answered answer, std::uint8_t length);

/// Writes one.  `fault` or `done`; the caller counts, raises and advances.
Answered write_x2apic(Vcpu& vcpu, std::uint32_t msr, std::uint64_t value);

/// Where a byte of an operand lies, by the guest's own tables.  False: the guest gets the page fault.
bool translate_operand(Vcpu& vcpu, const ExecutionContext& context, std::uint64_t linear, bool write,
                       LinearTranslation& to);

/// The domain ends, for `what` happened on this VCPU.
void end_by_shutdown(Vcpu& vcpu, std::string_view what);

/// #GP(0), #UD.
void raise_general_protection(Vcpu& vcpu);
void raise_undefined_opcode(Vcpu& vcpu);

/// What other processors asked for, done before an entry: INIT, SIPI, NMI, timer, flush.
void carry_out_requests(Vcpu& vcpu);
/// False: prepare_entry() has nothing to do.
[[nodiscard]] inline bool has_waiting_event(const Vcpu& vcpu)
{
    return vcpu.nmi_waiting || vcpu.external_waiting || vcpu.window_wanted ||
           vcpu.bare_vector.load(std::memory_order_relaxed) != 0 || vcpu.apic.has_requested();
}
/// Injects the most urgent event that the guest can take now, or asks for a window.
void prepare_entry(Vcpu& vcpu);

}  // namespace hv::core
