// SPDX-License-Identifier: MIT
//
// The local APIC by MMIO or by MSR; which, is remembered here.
#include "apic.hpp"

#include "hv/x86/msr.hpp"
#include "machine.hpp"

namespace guest {
namespace {

constexpr std::uint32_t spurious_enabled{0x1ff};
bool by_msr;

}  // namespace

bool has_x2apic()
{
    constexpr std::uint32_t x2apic{1u << 21};  // CPUID Fn0000_0001 ECX
    return (cpuid(1).ecx & x2apic) != 0;
}

std::uint32_t apic_read(hv::x86::ApicRegister which)
{
    if (by_msr)
        return static_cast<std::uint32_t>(read_msr_that_exists(hv::x86::x2apic_msr(which)));
    return read_device(hv::x86::default_local_apic_base + static_cast<std::uint32_t>(which));
}

void apic_write(hv::x86::ApicRegister which, std::uint32_t value)
{
    if (by_msr)
        write_msr_that_exists(hv::x86::x2apic_msr(which), value);
    else
        write_device(hv::x86::default_local_apic_base + static_cast<std::uint32_t>(which), value);
}

void enable_xapic()
{
    apic_write(hv::x86::ApicRegister::SVR, spurious_enabled);
}

void enter_x2apic()
{
    constexpr auto msr = static_cast<std::uint32_t>(hv::x86::Msr::APIC_BASE);
    write_msr_that_exists(msr, read_msr_that_exists(msr) | hv::x86::ApicBase::EXTD::mask);
    by_msr = true;
    enable_xapic();
}

}  // namespace guest
