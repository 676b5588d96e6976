// SPDX-License-Identifier: MIT
//
// Per-processor data, GDT and TSS, and the control registers that the hypervisor runs with.
#include "hv/arch/x86/cpu/per_cpu.hpp"

#include "hv/arch/x86/cpu/features.hpp"
#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/arch/x86/cpu/interrupts.hpp"
#include "hv/base/assert.hpp"
#include "hv/x86/control_registers.hpp"

/// Read by the interrupt entry: whether CLAC exists.
extern "C" std::uint8_t has_smap;
constinit std::uint8_t has_smap{0};

namespace hv::x86 {

namespace {

constinit std::array<PerCpu, core::platform::maximum_processors> processors{};

void build_descriptor_tables(PerCpu& cpu)
{
    const auto tss = reinterpret_cast<std::uintptr_t>(&cpu.tss);
    cpu.gdt = {0,
               SegmentDescriptor::make(true, true, 0),
               SegmentDescriptor::make(false, true, 0),
               SegmentDescriptor::make(false, true, 3),
               SegmentDescriptor::make(true, true, 3),
               tss_descriptor_low(tss),
               tss_descriptor_high(tss)};
    cpu.tss.io_map_base = sizeof(TaskStateSegment);  // no port for ring 3
}

void load_descriptor_tables(PerCpu& cpu)
{
    const DescriptorTablePointer pointer{.limit = sizeof(cpu.gdt) - 1,
                                         .base = reinterpret_cast<std::uintptr_t>(cpu.gdt.data())};
    asm volatile("lgdt %0\n\t"
                 "pushq %1\n\t"
                 "leaq 1f(%%rip), %%rax\n\t"
                 "pushq %%rax\n\t"
                 "lretq\n\t"
                 "1: movl %2, %%ds\n\t"
                 "movl %2, %%es\n\t"
                 "movl %2, %%ss\n\t"
                 "movl %3, %%fs\n\t"
                 "movl %3, %%gs\n\t"
                 "lldt %w3\n\t"
                 "ltr %w4"
                 :
                 : "m"(pointer), "i"(static_cast<std::uint64_t>(Selector::kernel_code)),
                   "r"(static_cast<std::uint32_t>(Selector::kernel_data)), "r"(0u),
                   "r"(static_cast<std::uint32_t>(Selector::task_state))
                 : "rax", "memory");
}

}  // namespace

PerCpu& cpu_data(unsigned number)
{
    HV_ASSERT(number < processors.size());
    return processors[number];
}

void initialize_processor_state(unsigned number)
{
    PerCpu& cpu = cpu_data(number);
    cpu.self = &cpu;
    cpu.number = number;
    cpu.deadline = cpu.guard = ~0ull;
    build_descriptor_tables(cpu);
    load_descriptor_tables(cpu);
    write_msr(Msr::GS_BASE, reinterpret_cast<std::uintptr_t>(&cpu));
    write_msr(Msr::KERNEL_GS_BASE, 0);
    write_msr(Msr::FS_BASE, 0);
    load_interrupt_table();
}

void set_control_registers()
{
    const Features& has = features();
    write_msr(Msr::EFER, (read_msr(Msr::EFER) | Efer::NXE::mask) & ~Efer::SCE::mask);
    // TS: neither we nor a module of ring 3 touch the extended state, which is a guest's.
    write_cr0(Cr0::PE::mask | Cr0::MP::mask | Cr0::TS::mask | Cr0::ET::mask | Cr0::NE::mask | Cr0::WP::mask |
              Cr0::PG::mask);
    write_msr(Msr::SYSENTER_CS, 0);  // SYSENTER is #GP [SDM2-083 "SYSENTER"], where it is not #UD
    write_cr4(Cr4::PAE::mask | Cr4::MCE::mask | Cr4::OSFXSR::mask | Cr4::OSXMMEXCPT::mask |
              (has.smep ? Cr4::SMEP::mask : 0) | (has.smap ? Cr4::SMAP::mask : 0) |
              (has.umip ? Cr4::UMIP::mask : 0));
    has_smap = has.smap ? 1 : 0;
}

}  // namespace hv::x86
