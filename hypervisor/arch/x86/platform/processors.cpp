// SPDX-License-Identifier: MIT
//
// Starting and stopping processors: see processors.hpp.  The INIT and startup IPIs and the waits between them
// are those of [SDM3-083 §9.4.4]; [APM2-3.41 §16.5] names the same messages.
#include "hv/arch/x86/platform/processors.hpp"

#include <atomic>
#include <cstddef>
#include <cstring>

#include "hv/arch/x86/cpu/features.hpp"
#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/arch/x86/cpu/per_cpu.hpp"
#include "hv/arch/x86/mm/address_space.hpp"
#include "hv/arch/x86/platform/clock.hpp"
#include "hv/arch/x86/platform/local_apic.hpp"
#include "hv/base/assert.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/platform/platform.hpp"

extern "C" const std::byte trampoline_begin[];
extern "C" const std::byte trampoline_end[];
extern "C" const std::byte trampoline_parameters[];
extern "C" const std::byte trampoline_gdt[];
extern "C" const std::byte trampoline_code32[];
extern "C" const std::byte trampoline_code64[];

namespace hv::x86 {

namespace {

/// At trampoline_parameters; the assembly file has the same fields in the same order.
struct TrampolineParameters {
    std::uint16_t gdt_limit;
    std::uint16_t gdt_base_low, gdt_base_high;  // the 32-bit base is not aligned
    std::uint16_t reserved;
    std::uint32_t far32_offset;
    std::uint16_t far32_selector, reserved_far32;
    std::uint32_t far64_offset;
    std::uint16_t far64_selector, reserved_far64;
    std::uint64_t cr3;
    std::uint64_t stack;
    std::uint64_t entry;
    std::uint64_t number;
};
static_assert(sizeof(TrampolineParameters) == 56 && offsetof(TrampolineParameters, cr3) == 24);

constinit std::atomic<unsigned> online_processors{1};
constinit std::atomic<bool> stop_asked{false};

/// The first C++ code of an application processor, on its own stack.  One that lacks what the boot processor
/// has stays out: nobody could tell on which processor a guest may run.
[[noreturn]] void application_processor_entry(std::uint64_t number)
{
    initialize_processor_state(static_cast<unsigned>(number));
    if (!has_all_of(detect_features(), features()))
        halt_forever();
    set_control_registers();
    write_cr3(host_page_tables().root().raw());  // forgets what the start page's mapping left in the TLB
    enable_local_apic();
    this_cpu().online.store(true, std::memory_order_release);
    processor_main(static_cast<unsigned>(number));
}

std::uint64_t offset_in_trampoline(const std::byte* symbol)
{
    return static_cast<std::uint64_t>(symbol - trampoline_begin);
}

void write_trampoline(HostPhysical page, unsigned number, std::uint64_t stack)
{
    auto* const copy = static_cast<std::byte*>(core::platform::to_pointer(page));
    const std::uint64_t base = page.raw();
    std::memcpy(copy, trampoline_begin, static_cast<std::size_t>(trampoline_end - trampoline_begin));
    const std::uint64_t gdt = base + offset_in_trampoline(trampoline_gdt);
    TrampolineParameters parameters{};
    std::memcpy(&parameters, trampoline_parameters, sizeof parameters);
    parameters.gdt_base_low = static_cast<std::uint16_t>(gdt);
    parameters.gdt_base_high = static_cast<std::uint16_t>(gdt >> 16);
    parameters.far32_offset = static_cast<std::uint32_t>(base + offset_in_trampoline(trampoline_code32));
    parameters.far64_offset = static_cast<std::uint32_t>(base + offset_in_trampoline(trampoline_code64));
    parameters.cr3 = host_page_tables().root().raw();
    parameters.stack = stack;
    parameters.entry = reinterpret_cast<std::uintptr_t>(&application_processor_entry);
    parameters.number = number;
    std::memcpy(copy + offset_in_trampoline(trampoline_parameters), &parameters, sizeof parameters);
}

bool came_online(const PerCpu& cpu, std::uint64_t microseconds)
{
    constexpr std::uint64_t step{20};
    for (std::uint64_t waited = 0; waited < microseconds; waited += step) {
        if (cpu.online.load(std::memory_order_acquire))
            return true;
        delay_microseconds(step);
    }
    return cpu.online.load(std::memory_order_acquire);
}

bool start_one(PerCpu& cpu, HostPhysical page)
{
    const auto vector = static_cast<std::uint8_t>(page.page_number());
    send_interrupt(cpu.apic_id, DeliveryMode::init, 0);
    delay_microseconds(10'000);
    send_interrupt(cpu.apic_id, DeliveryMode::startup, vector);
    if (came_online(cpu, 1'000))
        return true;
    send_interrupt(cpu.apic_id, DeliveryMode::startup, vector);
    return came_online(cpu, 2'000'000);
}

Status map_exception_stacks(unsigned number)
{
    TaskStateSegment& tss = cpu_data(number).tss;
    constexpr StackKind kinds[]{StackKind::nmi, StackKind::double_fault, StackKind::machine_check,
                                StackKind::debug};
    for (unsigned index = 0; index < interrupt_stacks; ++index)
        tss.ist[index] = HV_TRY(map_stack(number, kinds[index]));
    const std::uint64_t top = HV_TRY(map_stack(number, StackKind::main));
    cpu_data(number).stack_top = top;
    tss.rsp[0] = top;
    return Done{};
}

}  // namespace

Status prepare_processor(unsigned number)
{
    return map_exception_stacks(number);
}

Status start_processors(const core::ProcessorList& list, HostPhysical start_page)
{
    HV_ASSERT(static_cast<std::size_t>(trampoline_end - trampoline_begin) <= page_size);
    HV_ASSERT(start_page.raw() < 1u << 20 && start_page.page_offset() == 0);
    HV_TRY(map_start_page(start_page));
    unsigned number{1};
    bool stacks_ready{false};
    for (const std::uint32_t apic_id : list.apic_ids) {
        if (apic_id == this_cpu().apic_id)
            continue;
        PerCpu& cpu = cpu_data(number);
        cpu.apic_id = apic_id;
        cpu.number = number;
        if (!stacks_ready)
            HV_TRY(prepare_processor(number));
        write_trampoline(start_page, number, cpu.stack_top);
        stacks_ready = !start_one(cpu, start_page);
        if (stacks_ready) {
            // It must not come to life later, in the data of the next one.
            send_interrupt(apic_id, DeliveryMode::init, 0);
            core::log_warning("the processor with local APIC id ", apic_id, " did not start and is left out");
            continue;
        }
        online_processors.store(++number, std::memory_order_release);
    }
    unmap_start_page(start_page);
    return Done{};
}

unsigned online_processor_count()
{
    return online_processors.load(std::memory_order_acquire);
}

void stop_other_processors()
{
    stop_asked.store(true);
    send_nmi_to_others();
    const std::uint64_t end = read_tsc() + (tsc_frequency() != 0 ? tsc_frequency() : 1'000'000'000);
    const std::uint64_t own = read_msr(Msr::GS_BASE);
    for (unsigned number = 0; number < online_processor_count(); ++number)
        while (reinterpret_cast<std::uintptr_t>(&cpu_data(number)) != own &&
               !cpu_data(number).stopped.load() && read_tsc() < end)
            pause();
}

bool stop_was_asked_for()
{
    return stop_asked.load();
}

}  // namespace hv::x86
