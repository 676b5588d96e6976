// SPDX-License-Identifier: MIT
#include "hv/arch/x86/svm/state.hpp"

#include "hv/arch/x86/svm/event.hpp"
#include "hv/arch/x86/svm/exit_code.hpp"
#include "hv/arch/x86/svm/guest_intercepts.hpp"
#include "hv/arch/x86/svm/system_instruction.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/msr.hpp"

namespace hv::svm {

namespace {

using x86::Cr0;
using x86::Cr4;
using x86::Efer;
using x86::Rflags;

constexpr std::uint64_t reset_pat{0x0007'0406'0007'0406};
constexpr std::uint64_t reset_dr6{0xffff'0ff0};
constexpr std::uint64_t reset_dr7{0x400};
constexpr std::uint64_t low_half{0xffff'ffff};
constexpr std::uint16_t attribute_mask{0xfff};

constexpr VmcbSegment to_vmcb(const core::Segment& from)
{
    return {from.selector, from.attributes, from.limit, from.base};
}
constexpr core::Segment from_vmcb(const VmcbSegment& from)
{
    return {from.selector, from.attributes, from.limit, from.base};
}

/// The save area's place for each segment register, in the instruction encoding's order.
constexpr VmcbSegment VmcbSaveArea::*segment_places[]{&VmcbSaveArea::es, &VmcbSaveArea::cs,
                                                      &VmcbSaveArea::ss, &VmcbSaveArea::ds,
                                                      &VmcbSaveArea::fs, &VmcbSaveArea::gs};

constexpr bool canonical(std::uint64_t address)
{
    const std::uint64_t upper = address >> 47;
    return upper == 0 || upper == (1u << 17) - 1;
}

constexpr bool legal_pat(std::uint64_t value)
{
    constexpr unsigned legal_types{1u << 0 | 1u << 1 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7};
    for (unsigned entry = 0; entry < 8; ++entry) {
        const auto type = static_cast<std::uint8_t>(value >> (8 * entry));
        if (type > 7 || ((legal_types >> type) & 1) == 0)
            return false;
    }
    return true;
}

/// What CR0, CR3, CR4 and EFER must agree on for VMRUN [APM2-3.41 §15.5.1].
bool legal_control(std::uint64_t cr0, std::uint64_t cr3, std::uint64_t cr4, std::uint64_t efer,
                   const core::OfferedBits& offered, const Features& features)
{
    if ((cr0 & ~low_half) != 0 || (Cr0::NW::get(cr0) && !Cr0::CD::get(cr0)))
        return false;
    if (Cr0::PG::get(cr0) && !Cr0::PE::get(cr0))
        return false;
    if ((cr4 & ~offered.cr4) != 0 || (efer & ~offered.efer) != 0)
        return false;
    const bool long_mode = Efer::LME::get(efer) && Cr0::PG::get(cr0);
    if (long_mode != Efer::LMA::get(efer) || (long_mode && !Cr4::PAE::get(cr4)))
        return false;
    return !long_mode || (cr3 & ~features.physical_address_mask) == 0;
}

std::uint8_t privilege_level(const core::SystemRegisters& from, std::uint64_t rflags)
{
    if (!Cr0::PE::get(from.cr0))
        return 0;
    return Rflags::VM::get(rflags)
               ? 3
               : static_cast<std::uint8_t>((from.segments[core::segment_ss].attributes >> 5) & 3);
}

bool legal_segments(const core::SystemRegisters& from)
{
    for (const core::Segment& segment : from.segments)
        if ((segment.attributes & ~attribute_mask) != 0 || !canonical(segment.base))
            return false;
    if (((from.ldtr.attributes | from.tr.attributes) & ~attribute_mask) != 0)
        return false;
    if (!canonical(from.ldtr.base) || !canonical(from.tr.base) || !canonical(from.gdtr.base) ||
        !canonical(from.idtr.base))
        return false;
    const core::Segment& code = from.segments[core::segment_cs];
    return !(Efer::LMA::get(from.efer) && code.long_mode() && code.default_32());
}

bool legal_system(const core::SystemRegisters& from, const core::OfferedBits& offered, const Features& features)
{
    if (!legal_control(from.cr0, from.cr3, from.cr4, from.efer, offered, features) || !legal_segments(from))
        return false;
    if (((from.dr6 | from.dr7) & ~low_half) != 0 || !legal_pat(from.pat))
        return false;
    return canonical(from.lstar) && canonical(from.cstar) && canonical(from.kernel_gs_base);
}

/// A 64-bit MSR of the save area that needs no more than a plausible value.
struct PlainMsr {
    x86::Msr msr;
    std::uint64_t VmcbSaveArea::*place;
    bool address;
};
constexpr PlainMsr plain_msrs[]{
    {x86::Msr::STAR, &VmcbSaveArea::star, false},
    {x86::Msr::LSTAR, &VmcbSaveArea::lstar, true},
    {x86::Msr::CSTAR, &VmcbSaveArea::cstar, true},
    {x86::Msr::SFMASK, &VmcbSaveArea::sfmask, false},
    {x86::Msr::KERNEL_GS_BASE, &VmcbSaveArea::kernel_gs_base, true},
    {x86::Msr::SYSENTER_CS, &VmcbSaveArea::sysenter_cs, false},
    {x86::Msr::SYSENTER_ESP, &VmcbSaveArea::sysenter_esp, false},
    {x86::Msr::SYSENTER_EIP, &VmcbSaveArea::sysenter_eip, false},
};

Status write_efer(VcpuState& vcpu, std::uint64_t value)
{
    VmcbSaveArea& save = vcpu.vmcb->save;
    const std::uint64_t kept = save.efer & (Efer::LMA::mask | Efer::SVME::mask);
    const bool paging = Cr0::PG::get(save.cr0);
    if ((value & ~vcpu.offered.efer) != 0 || (paging && Efer::LME::get(value) != Efer::LME::get(save.efer)))
        return Error::invalid_argument;
    save.efer = (value & ~Efer::LMA::mask) | kept;
    vcpu.flush_wanted = vcpu.attention = true;  // NXE changes what translations mean
    dirty(vcpu, clean_control_registers);
    return Done{};
}

}  // namespace

void offer(VcpuState& vcpu, const core::OfferedBits& bits, const Features& features)
{
    vcpu.offered = {bits.cr4 & features.control_4_mask, bits.efer & features.efer_mask,
                    bits.xcr0 & features.extended_state_mask};
    constexpr std::uint32_t write_exits{1u << (number(ExitCode::CR0_WRITE) + 4)};
    std::uint32_t& intercepts = vcpu.vmcb->control.intercept_cr;
    intercepts &= ~write_exits;
    if (hides_control_4(vcpu, features) || wants_control_write(vcpu, 4))
        intercepts |= write_exits;
    dirty(vcpu, clean_intercepts);
}

void reset_registers(VcpuState& vcpu, core::Registers& registers)
{
    constexpr VmcbSegment data{0, 0x93, 0xffff, 0};
    VmcbSaveArea& save = vcpu.vmcb->save;
    save = {};
    save.es = save.ss = save.ds = save.fs = save.gs = data;
    save.cs = {0xf000, 0x9b, 0xffff, 0xffff'0000};
    save.ldtr = {0, 0x82, 0xffff, 0};
    save.tr = {0, 0x8b, 0xffff, 0};
    save.gdtr = save.idtr = {0, 0, 0xffff, 0};
    save.cr0 = Cr0::CD::mask | Cr0::NW::mask | Cr0::ET::mask;
    save.efer = Efer::SVME::mask;
    save.dr6 = reset_dr6;
    save.dr7 = reset_dr7;
    save.g_pat = reset_pat;
    registers = {};
    registers.rip = 0xfff0;
    registers.rflags = Rflags::always_one;
}

void read_context(const VcpuState& vcpu, core::ExecutionContext& out)
{
    const VmcbSaveArea& save = vcpu.vmcb->save;
    out = {.cr0 = save.cr0,
           .cr3 = save.cr3,
           .cr4 = save.cr4,
           .efer = save.efer & ~Efer::SVME::mask,
           .code_base = save.cs.base,
           .code_attributes = save.cs.attributes,
           .privilege_level = save.cpl};
}

void read_system(const VcpuState& vcpu, core::SystemRegisters& out)
{
    const VmcbSaveArea& save = vcpu.vmcb->save;
    for (unsigned index = 0; index < 6; ++index)
        out.segments[index] = from_vmcb(save.*segment_places[index]);
    out.ldtr = from_vmcb(save.ldtr);
    out.tr = from_vmcb(save.tr);
    out.gdtr = {save.gdtr.base, save.gdtr.limit};
    out.idtr = {save.idtr.base, save.idtr.limit};
    out.cr0 = save.cr0;
    out.cr2 = save.cr2;
    out.cr3 = save.cr3;
    out.cr4 = save.cr4;
    out.efer = save.efer & ~Efer::SVME::mask;
    out.dr6 = save.dr6;
    out.dr7 = save.dr7;
    read_debug_addresses(vcpu, out.dr);
    out.star = save.star;
    out.lstar = save.lstar;
    out.cstar = save.cstar;
    out.sfmask = save.sfmask;
    out.kernel_gs_base = save.kernel_gs_base;
    out.sysenter_cs = save.sysenter_cs;
    out.sysenter_esp = save.sysenter_esp;
    out.sysenter_eip = save.sysenter_eip;
    out.pat = save.g_pat;
}

Status write_system(VcpuState& vcpu, const core::SystemRegisters& from, std::uint64_t rflags,
                    const Features& features)
{
    if (!legal_system(from, vcpu.offered, features))
        return Error::invalid_argument;
    VmcbSaveArea& save = vcpu.vmcb->save;
    for (unsigned index = 0; index < 6; ++index)
        save.*segment_places[index] = to_vmcb(from.segments[index]);
    save.ldtr = to_vmcb(from.ldtr);
    save.tr = to_vmcb(from.tr);
    save.gdtr = {0, 0, from.gdtr.limit, from.gdtr.base};
    save.idtr = {0, 0, from.idtr.limit, from.idtr.base};
    save.cpl = privilege_level(from, rflags);
    save.cr0 = from.cr0;
    save.cr2 = from.cr2;
    save.cr3 = from.cr3;
    save.cr4 = from.cr4;
    save.efer = from.efer | Efer::SVME::mask;
    save.dr6 = from.dr6;
    save.dr7 = from.dr7;
    write_debug_addresses(vcpu, from.dr);
    save.star = from.star;
    save.lstar = from.lstar;
    save.cstar = from.cstar;
    save.sfmask = from.sfmask;
    save.kernel_gs_base = from.kernel_gs_base;
    save.sysenter_cs = from.sysenter_cs;
    save.sysenter_esp = from.sysenter_esp;
    save.sysenter_eip = from.sysenter_eip;
    save.g_pat = from.pat;
    dirty(vcpu, clean_segments | clean_descriptor_tables | clean_control_registers | clean_cr2 |
                    clean_debug_registers | clean_nested_paging);
    vcpu.flush_wanted = vcpu.attention = true;
    return Done{};
}

Expected<std::uint64_t> read_msr(const VcpuState& vcpu, std::uint32_t msr)
{
    const VmcbSaveArea& save = vcpu.vmcb->save;
    for (const PlainMsr& plain : plain_msrs)
        if (static_cast<std::uint32_t>(plain.msr) == msr)
            return save.*plain.place;
    switch (static_cast<x86::Msr>(msr)) {
    case x86::Msr::EFER: return save.efer & ~Efer::SVME::mask;
    case x86::Msr::PAT: return save.g_pat;
    case x86::Msr::FS_BASE: return save.fs.base;
    case x86::Msr::GS_BASE: return save.gs.base;
    case x86::Msr::DebugCtl: return std::uint64_t{0};
    default: return Error::not_found;
    }
}

Status write_msr(VcpuState& vcpu, std::uint32_t msr, std::uint64_t value)
{
    VmcbSaveArea& save = vcpu.vmcb->save;
    for (const PlainMsr& plain : plain_msrs) {
        if (static_cast<std::uint32_t>(plain.msr) != msr)
            continue;
        if (plain.address && !canonical(value))
            return Error::invalid_argument;
        save.*plain.place = value;
        return Done{};
    }
    switch (static_cast<x86::Msr>(msr)) {
    case x86::Msr::EFER: return write_efer(vcpu, value);
    case x86::Msr::PAT:
        if (!legal_pat(value))
            return Error::invalid_argument;
        save.g_pat = value;
        dirty(vcpu, clean_nested_paging);
        vcpu.flush_wanted = vcpu.attention = true;
        return Done{};
    case x86::Msr::FS_BASE:
    case x86::Msr::GS_BASE:
        if (!canonical(value))
            return Error::invalid_argument;
        (msr == static_cast<std::uint32_t>(x86::Msr::FS_BASE) ? save.fs : save.gs).base = value;
        return Done{};
    // Last-branch records are not virtualized: there is nothing to turn on.
    case x86::Msr::DebugCtl: return value == 0 ? Status{Done{}} : Status{Error::invalid_argument};
    default: return Error::not_found;
    }
}

Status write_control_register(VcpuState& vcpu, unsigned number, std::uint64_t value, const Features& features)
{
    VmcbSaveArea& save = vcpu.vmcb->save;
    std::uint64_t cr0 = save.cr0, cr3 = save.cr3, cr4 = save.cr4;
    std::uint64_t efer = save.efer & ~Efer::SVME::mask;
    switch (number) {
    case 0: cr0 = value | Cr0::ET::mask; break;
    case 2:
        save.cr2 = value;
        dirty(vcpu, clean_cr2);
        return Done{};
    case 3: cr3 = value; break;
    case 4: cr4 = value; break;
    case 8:
        if ((value & ~0xfull) != 0)
            return Error::invalid_argument;
        set_task_priority(vcpu, static_cast<std::uint8_t>(value));
        return Done{};
    default: return Error::not_supported;
    }
    efer = Efer::LMA::set(efer, Efer::LME::get(efer) && Cr0::PG::get(cr0));
    const bool leaves_from_64 =
        Efer::LMA::get(save.efer) && !Cr0::PG::get(cr0) && (save.cs.attributes & 0x200) != 0;
    if (leaves_from_64 || !legal_control(cr0, cr3, cr4, efer, vcpu.offered, features))
        return Error::invalid_argument;
    save.cr0 = cr0;
    save.cr3 = cr3;
    save.cr4 = cr4;
    save.efer = efer | Efer::SVME::mask;
    dirty(vcpu, clean_control_registers);
    vcpu.flush_wanted = vcpu.attention = true;
    return Done{};
}

Expected<std::uint64_t> read_control_register(const VcpuState& vcpu, unsigned number)
{
    const VmcbSaveArea& save = vcpu.vmcb->save;
    switch (number) {
    case 0: return save.cr0;
    case 2: return save.cr2;
    case 3: return save.cr3;
    case 4: return save.cr4;
    case 8: return std::uint64_t{VirtualInterrupt::TPR::get(vcpu.vmcb->control.virtual_interrupt)};
    default: return Error::not_supported;
    }
}

}  // namespace hv::svm
