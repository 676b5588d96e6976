// SPDX-License-Identifier: MIT
//
// The processor itself (processor.hpp), but for the round trip, which is in run.S.
#include "hv/arch/x86/svm/processor.hpp"

#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/x86/control_registers.hpp"

namespace hv::svm::processor {

namespace {

/// Lets this scope touch the extended state: CR0.TS is set while the hypervisor runs.
class ExtendedStateAccess {
public:
    ExtendedStateAccess() : cr0_{x86::read_cr0()} { asm volatile("clts" : : : "memory"); }
    ~ExtendedStateAccess() { x86::write_cr0(cr0_); }
    ExtendedStateAccess(const ExtendedStateAccess&) = delete;
    ExtendedStateAccess& operator=(const ExtendedStateAccess&) = delete;

private:
    std::uint64_t cr0_;
};

void set_extended_control(std::uint64_t value)
{
    asm volatile("xsetbv"
                 :
                 : "c"(0), "a"(static_cast<std::uint32_t>(value)),
                   "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
}

}  // namespace

void hold_events()
{
    asm volatile("clgi" : : : "memory");
}
void release_events()
{
    asm volatile("stgi" : : : "memory");
}

x86::CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf)
{
    return x86::cpuid(leaf, subleaf);
}
std::uint64_t read_msr(std::uint32_t msr)
{
    return x86::read_msr(static_cast<x86::Msr>(msr));
}
void write_msr(std::uint32_t msr, std::uint64_t value)
{
    x86::write_msr(static_cast<x86::Msr>(msr), value);
}

void save_host_state(HostPhysical host_vmcb)
{
    asm volatile("vmsave %0" : : "a"(host_vmcb.raw()) : "memory");
}

void enable_extended_state(std::uint64_t mask)
{
    x86::write_cr4(x86::read_cr4() | x86::Cr4::OSFXSR::mask | x86::Cr4::OSXSAVE::mask);
    set_extended_control(mask);
}

void save_extended_state(void* area, std::uint64_t mask)
{
    const ExtendedStateAccess access;
    if (mask == 0) {
        asm volatile("fxsave64 (%0)" : : "r"(area) : "memory");
        return;
    }
    set_extended_control(mask);
    asm volatile("xsave64 (%0)" : : "r"(area), "a"(~0u), "d"(~0u) : "memory");
}

void load_extended_state(const void* area, std::uint64_t mask, std::uint64_t guest_control)
{
    const ExtendedStateAccess access;
    if (mask == 0) {
        asm volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
        return;
    }
    set_extended_control(mask);
    asm volatile("xrstor64 (%0)" : : "r"(area), "a"(~0u), "d"(~0u) : "memory");
    set_extended_control(guest_control);
}

void write_extended_control(std::uint64_t value)
{
    set_extended_control(value);
}

std::uint64_t read_extended_control()
{
    std::uint32_t low{}, high{};
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return std::uint64_t{high} << 32 | low;
}

void save_debug_addresses(std::uint64_t (&addresses)[4])
{
    asm volatile("mov %%dr0, %0" : "=r"(addresses[0]));
    asm volatile("mov %%dr1, %0" : "=r"(addresses[1]));
    asm volatile("mov %%dr2, %0" : "=r"(addresses[2]));
    asm volatile("mov %%dr3, %0" : "=r"(addresses[3]));
}

void load_debug_addresses(const std::uint64_t (&addresses)[4])
{
    asm volatile("mov %0, %%dr0" : : "r"(addresses[0]));
    asm volatile("mov %0, %%dr1" : : "r"(addresses[1]));
    asm volatile("mov %0, %%dr2" : : "r"(addresses[2]));
    asm volatile("mov %0, %%dr3" : : "r"(addresses[3]));
}

}  // namespace hv::svm::processor
