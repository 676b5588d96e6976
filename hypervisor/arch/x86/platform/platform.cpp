// SPDX-License-Identifier: MIT
//
// What the portable core demands of the machine, here on x86-64: the definitions of
// hv/core/platform/platform.hpp.
#include "hv/core/platform/platform.hpp"

#include <atomic>

#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/arch/x86/cpu/interrupts.hpp"
#include "hv/arch/x86/cpu/per_cpu.hpp"
#include "hv/arch/x86/mm/layout.hpp"
#include "hv/arch/x86/platform/clock.hpp"
#include "hv/arch/x86/platform/local_apic.hpp"
#include "hv/arch/x86/platform/processors.hpp"
#include "hv/arch/x86/platform/serial.hpp"
#include "hv/base/assert.hpp"

namespace hv::x86 {

namespace {

constinit std::atomic<bool> handed_over{false};

}  // namespace

void hand_over_boot_processor()
{
    HV_ASSERT(this_cpu().number == 0);
    stop_apic_timer();
    this_cpu().deadline = ~0ull;
    handed_over.store(true);
}

bool boot_processor_handed_over()
{
    return handed_over.load(std::memory_order_relaxed);
}

}  // namespace hv::x86

namespace hv::core::platform {

using namespace hv::x86;

void* to_pointer(HostPhysical address)
{
    return reinterpret_cast<void*>(direct_map_base +
                                   address.raw());  // NOLINT: the one place where this is meant
}

HostPhysical to_physical(const void* pointer)
{
    const auto linear = reinterpret_cast<std::uintptr_t>(pointer);
    if (linear >= image_base && linear < stack_area_base)
        return HostPhysical{linear - image_base};
    HV_ASSERT(linear >= direct_map_base && linear - direct_map_base < direct_map_bytes);
    return HostPhysical{linear - direct_map_base};
}

unsigned processor_count()
{
    return online_processor_count();
}

unsigned current_processor()
{
    std::uint32_t number{};
    asm("movl %%gs:8, %0" : "=r"(number));
    return number;
}

void wake(unsigned processor)
{
    PerCpu& cpu = cpu_data(processor);
    if (processor == 0 && boot_processor_handed_over()) {  // its vectors are the control domain's
        cpu.own_nmi.store(true);
        send_interrupt(cpu.apic_id, DeliveryMode::nmi, 0);
    } else
        send_interrupt(cpu.apic_id, DeliveryMode::fixed, static_cast<std::uint8_t>(HostVector::wake));
}

// The boot processor's interrupts are the firmware's, and then the control domain's: they are never taken
// here.
void wait_for_interrupt()
{
    HV_ASSERT(current_processor() != 0);
    enable_and_halt();
}

void take_pending_interrupts()
{
    HV_ASSERT(current_processor() != 0);
    asm volatile("sti\n\tnop\n\tcli" : : : "memory");
}

std::uint64_t ticks()
{
    return read_tsc();
}

std::uint64_t ticks_per_second()
{
    return tsc_frequency();
}

void set_deadline(std::uint64_t deadline)
{
    HV_ASSERT(current_processor() != 0 || !boot_processor_handed_over());
    arm_deadline(deadline);
}

void console_write(std::string_view text)
{
    write_serial_console(text);
}

}  // namespace hv::core::platform
