// SPDX-License-Identifier: MIT
#include "hv/arch/x86/svm/permission_map.hpp"

#include "hv/base/assert.hpp"

namespace hv::svm {

namespace {

struct MsrRange {
    x86::Msr first, last;
    bool read_exits, write_exits;
};

/// What the control domain must not change under the hypervisor: virtualization and the host save area,
/// memory types and the memory map, its local APIC's place and mode, microcode.  EFER is read with SVME
/// hidden.
constexpr std::array control_msrs{
    MsrRange{x86::Msr::APIC_BASE, x86::Msr::APIC_BASE, false, true},
    MsrRange{x86::Msr::MTRRphysBase0, x86::Msr::MTRRphysMask7, false, true},
    MsrRange{x86::Msr::MTRRfix64K_00000, x86::Msr::MTRRfix4K_F8000, false, true},
    MsrRange{x86::Msr::MTRRdefType, x86::Msr::MTRRdefType, false, true},
    MsrRange{x86::Msr::EFER, x86::Msr::EFER, true, true},
    MsrRange{x86::Msr::SYSCFG, x86::Msr::SYSCFG, false, true},
    // TOP_MEM, TOP_MEM2 and the IORRs between SYSCFG and them [APM2-3.41 §7.9]
    MsrRange{static_cast<x86::Msr>(0xc001'0016), x86::Msr::TOP_MEM2, false, true},
    MsrRange{x86::Msr::PATCH_LOADER, x86::Msr::PATCH_LOADER, false, true},
    MsrRange{x86::Msr::VM_CR, x86::Msr::VM_CR, false, true},
    MsrRange{x86::Msr::VM_HSAVE_PA, x86::Msr::VM_HSAVE_PA, true, true},
};

}  // namespace

void MsrPermissionMap::set(std::uint32_t msr, bool read_exits_now, bool write_exits_now)
{
    const auto position = bit_of(msr);
    HV_ASSERT(position.has_value());
    std::uint8_t& byte = bytes[*position / 8];
    const unsigned shift = *position % 8;
    const unsigned exits = (read_exits_now ? 1u : 0u) | (write_exits_now ? 2u : 0u);
    byte = static_cast<std::uint8_t>((byte & ~(3u << shift)) | exits << shift);
}

void PortPermissionMap::intercept(std::uint32_t first, std::uint32_t count)
{
    for (std::uint32_t port = first; port < first + count; ++port)
        bytes[port / 8] = static_cast<std::uint8_t>(bytes[port / 8] | 1u << (port % 8));
}

void fill_guest_maps(MsrPermissionMap& msrs, PortPermissionMap& ports)
{
    msrs.fill(true);
    ports.fill(true);
    for (const x86::Msr msr : passed_guest_msrs)
        msrs.set(static_cast<std::uint32_t>(msr), false, msr == x86::Msr::TSC);
}

void fill_control_maps(MsrPermissionMap& msrs, PortPermissionMap& ports)
{
    msrs.fill(false);
    ports.fill(false);
    for (const MsrRange& range : control_msrs)
        for (std::uint32_t msr = static_cast<std::uint32_t>(range.first);
             msr <= static_cast<std::uint32_t>(range.last); ++msr)
            msrs.set(msr, range.read_exits, range.write_exits);
}

}  // namespace hv::svm
