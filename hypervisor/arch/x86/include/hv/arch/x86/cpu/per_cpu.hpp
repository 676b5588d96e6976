// SPDX-License-Identifier: MIT
//
// What every processor has for itself, reached through GS.  The GS base is the hypervisor's whenever
// hypervisor code runs, but for the few instructions between a #VMEXIT and the VMLOAD of host state.  The
// assembly files use the offsets that are asserted here.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "hv/core/platform/platform.hpp"
#include "hv/x86/segments.hpp"

namespace hv::x86 {

/// Selectors of every processor's GDT.
enum class Selector : std::uint16_t {
    null = 0x00,
    kernel_code = 0x08,
    kernel_data = 0x10,
    user_data = 0x18 | 3,
    user_code = 0x20 | 3,
    task_state = 0x28,
};

/// Which stack an exception switches to; the value is the gate's IST field (0 is "stay, or RSP0 from ring
/// 3").
enum class InterruptStack : std::uint8_t {
    none = 0,
    nmi = 1,
    double_fault = 2,
    machine_check = 3,
    debug = 4
};
inline constexpr unsigned interrupt_stacks{4};

struct PerCpu {
    PerCpu* self;          ///< %gs:0
    std::uint32_t number;  ///< %gs:8
    std::uint32_t apic_id;
    std::uint64_t stack_top;  ///< %gs:16; of the processor's main stack
    std::uint64_t scratch;    ///< %gs:24; for entry paths written in assembly
    /// %gs:32; where a trusted hook's caller goes on when the hook is thrown out; 0: none runs.
    std::atomic<std::uint64_t> trusted_stack;
    std::atomic<std::uint64_t> trusted_hooks;  ///< %gs:40; how many have begun here
    std::atomic<std::uint64_t> accused_hook;   ///< another processor says that this one runs too long; 0: none

    std::array<std::uint64_t, 7> gdt;
    TaskStateSegment tss;

    std::atomic<bool> online;
    std::atomic<bool> stopped;  ///< by a panic elsewhere
    /// What interrupt handlers count; nobody else writes.
    std::atomic<std::uint64_t> wakes;
    std::atomic<std::uint64_t> timer_interrupts;
    std::atomic<std::uint64_t> stray_interrupts;
    std::atomic<std::uint64_t> nmis;
    std::atomic<bool> own_nmi;      ///< the hypervisor has sent it one that has not come yet
    std::atomic<bool> foreign_nmi;  ///< one came that it has not sent
    /// The deadline that this processor's timer is armed for; ~0 for none.
    std::uint64_t deadline;
    /// The same, of the watch over a module's hooks.
    std::uint64_t guard;
    /// For the virtualization back end (hypervisor/arch/x86/svm): its own per-processor data.
    void* backend;
};
static_assert(offsetof(PerCpu, self) == 0 && offsetof(PerCpu, number) == 8);
static_assert(offsetof(PerCpu, stack_top) == 16 && offsetof(PerCpu, scratch) == 24);

[[nodiscard]] inline PerCpu& this_cpu()
{
    PerCpu* self{};
    asm("mov %%gs:0, %0" : "=r"(self));
    return *self;
}

/// The data of any processor that there can be.
[[nodiscard]] PerCpu& cpu_data(unsigned number);

/// Gives this processor its per-processor data, GDT, TSS, the common IDT and its control registers:
/// everything but a stack of its own.  Called once on each processor, first thing.
void initialize_processor_state(unsigned number);
/// Sets CR0, CR4 and EFER to what the hypervisor runs with, from what this processor has.
void set_control_registers();

}  // namespace hv::x86
