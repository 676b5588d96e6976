// SPDX-License-Identifier: MIT
//
// The interrupt table and what happens behind the entry stubs: see interrupts.hpp.
#include "hv/arch/x86/cpu/interrupts.hpp"

#include <array>

#include "hv/arch/x86/cpu/fixup.hpp"
#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/arch/x86/cpu/module_gate.hpp"
#include "hv/arch/x86/cpu/panic_report.hpp"
#include "hv/arch/x86/cpu/per_cpu.hpp"
#include "hv/arch/x86/mm/address_space.hpp"
#include "hv/arch/x86/platform/clock.hpp"
#include "hv/arch/x86/platform/local_apic.hpp"
#include "hv/arch/x86/platform/processors.hpp"
#include "hv/x86/exceptions.hpp"

/// 256 stubs of 16 bytes (interrupt_entry.S).
extern "C" const std::byte interrupt_stubs[];
/// The gate of isolated modules (module_gate.S).
extern "C" const std::byte hv_module_gate[];

namespace hv::x86 {

namespace {

constexpr std::size_t stub_bytes{16};

constinit std::array<InterruptGate, 256> table{};
constinit std::atomic<NmiHook> nmi_hook{nullptr};

InterruptStack stack_for(std::uint8_t vector)
{
    switch (static_cast<Exception>(vector)) {
    case Exception::NMI: return InterruptStack::nmi;
    case Exception::DF: return InterruptStack::double_fault;
    case Exception::MC: return InterruptStack::machine_check;
    case Exception::DB: return InterruptStack::debug;
    default: return InterruptStack::none;
    }
}

void count(std::atomic<std::uint64_t>& counter)
{
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void handle_nmi(InterruptFrame& frame)
{
    PerCpu& cpu = this_cpu();
    count(cpu.nmis);
    if (stop_was_asked_for()) {
        cpu.stopped.store(true);
        halt_forever();
    }
    const bool accused = trusted_hook_is_accused(frame);
    if (!cpu.own_nmi.exchange(false) && !accused)
        cpu.foreign_nmi.store(true);
    if (const NmiHook hook = nmi_hook.load(std::memory_order_acquire))
        hook(frame);
}

/// Not a module's doing, whatever ran.
bool is_machine_failure(const InterruptFrame& frame)
{
    return frame.vector == static_cast<std::uint64_t>(Exception::DF) ||
           frame.vector == static_cast<std::uint64_t>(Exception::MC);
}

/// True when it was the handler of an NMI that was interrupted.  The processor holds further NMIs back until an IRET, any
/// IRET [APM2-3.41 §8.2.3]: to go on there would let the next one overwrite the frame of the one that is being handled.  The
/// handler does nothing that can fault.
bool interrupted_nmi_handler(const InterruptFrame& frame)
{
    const std::uint64_t top = this_cpu().tss.ist[static_cast<unsigned>(InterruptStack::nmi) - 1];
    return frame.rsp < top && top - frame.rsp <= exception_stack_bytes;
}

void handle_exception(InterruptFrame& frame)
{
    constexpr std::uint64_t init_redirected{1};  // [APM2-3.41 §8.2 "#SX"]
    if (frame.vector == static_cast<std::uint64_t>(Exception::SX) && frame.error_code == init_redirected)
        return count(this_cpu().stray_interrupts);
    if (interrupted_nmi_handler(frame))
        panic_on_exception(frame);
    if (!frame.from_user()) {
        if (const std::uint64_t recovery = find_fixup(frame.rip)) {
            frame.rip = recovery;
            return;
        }
        if (frame.vector != static_cast<std::uint64_t>(Exception::MC) && throw_trusted_out(frame, core::platform::HookEnd::fault))
            return;
    } else if (!is_machine_failure(frame)) {
        return throw_module_out(frame);
    }
    panic_on_exception(frame);
}

/// Counts and ends it.
void end_interrupt(std::uint8_t vector)
{
    PerCpu& cpu = this_cpu();
    switch (static_cast<HostVector>(vector)) {
    case HostVector::spurious: return;  // no end of interrupt for this one [APM2-3.41 §16.4.7]
    case HostVector::wake: count(cpu.wakes); break;
    case HostVector::timer:
        count(cpu.timer_interrupts);
        end_of_interrupt();
        rearm_timer_if_early();
        return;
    default: count(cpu.stray_interrupts); break;
    }
    end_of_interrupt();
}

void handle_interrupt(InterruptFrame& frame)
{
    end_interrupt(static_cast<std::uint8_t>(frame.vector));
    if (frame.from_user())
        module_was_interrupted(frame);
}

/// Ring 3 may come in by INT 4, and by no other vector.
void open_module_gate()
{
    constexpr std::size_t vector{4};
    constexpr std::uint8_t ring_3{3};
    table[vector] = InterruptGate::make(reinterpret_cast<std::uintptr_t>(hv_module_gate),
                                        static_cast<std::uint16_t>(Selector::kernel_code), 0, ring_3);
}

}  // namespace

void set_nmi_hook(NmiHook hook)
{
    nmi_hook.store(hook, std::memory_order_release);
}

void build_interrupt_table()
{
    const auto stubs = reinterpret_cast<std::uintptr_t>(interrupt_stubs);
    for (std::size_t vector = 0; vector < table.size(); ++vector)
        table[vector] = InterruptGate::make(
            stubs + vector * stub_bytes, static_cast<std::uint16_t>(Selector::kernel_code),
            static_cast<std::uint8_t>(stack_for(static_cast<std::uint8_t>(vector))), 0);
    open_module_gate();
}

void load_interrupt_table()
{
    const DescriptorTablePointer pointer{.limit = sizeof(table) - 1,
                                         .base = reinterpret_cast<std::uintptr_t>(table.data())};
    asm volatile("lidt %0" : : "m"(pointer));
}

}  // namespace hv::x86

/// Called by the entry stubs for every vector.
extern "C" void interrupt_dispatch(hv::x86::InterruptFrame& frame);
extern "C" void interrupt_dispatch(hv::x86::InterruptFrame& frame)
{
    if (frame.vector == static_cast<std::uint64_t>(hv::x86::Exception::NMI))
        hv::x86::handle_nmi(frame);
    else if (frame.vector < hv::x86::exception_vectors)
        hv::x86::handle_exception(frame);
    else
        hv::x86::handle_interrupt(frame);
}
