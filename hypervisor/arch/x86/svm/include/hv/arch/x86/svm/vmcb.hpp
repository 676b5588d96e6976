// SPDX-License-Identifier: MIT
//
// The virtual machine control block as the processor reads it.  Layout only: who may change a field, and
// which clean bit that dirties, is in vcpu.hpp and state.hpp.  Specification: [APM2-3.41 appendix B, tables
// B-1 and B-2].
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "hv/base/address.hpp"
#include "hv/base/field.hpp"

namespace hv::svm {

/// VMCB offset 058h: bits 39:32.  What VMRUN does to the TLB first.
enum class TlbControl : std::uint8_t {
    keep = 0,
    flush_all = 1,
    flush_address_space = 3
};

/// VMCB offset 060h, the fields of virtual interrupts [APM2-3.41 §15.21].
struct VirtualInterrupt {
    using TPR = Field<7, 0, std::uint8_t>;
    using IRQ = Bit<8>;
    using GIF = Bit<9>;
    using Priority = Field<19, 16>;
    using IgnoreTpr = Bit<20>;
    using Masking =
        Bit<24>;  ///< the guest's RFLAGS.IF masks virtual interrupts only; the host's masks physical ones
    using Vector = Field<39, 32>;
};

/// VMCB offset 068h.
struct InterruptState {
    using Shadow = Bit<0>;
};

/// EVENTINJ (0a8h) and EXITINTINFO (088h) have the same format [APM2-3.41 §15.20, §15.7.2].
struct EventFormat {
    using Vector = Field<7, 0, std::uint8_t>;
    using Type = Field<10, 8, std::uint8_t>;
    using ErrorCodeValid = Bit<11>;
    using Valid = Bit<31>;
    using ErrorCode = Field<63, 32, std::uint32_t>;
    static constexpr std::uint8_t external_interrupt{0};
    static constexpr std::uint8_t nmi{2};
    static constexpr std::uint8_t exception{3};
    static constexpr std::uint8_t software_interrupt{4};
};

/// VMCB offset 0c0h: a set bit lets the processor use its copy of that group of fields [APM2-3.41 §15.15.3].
enum CleanBit : std::uint32_t {
    clean_intercepts = 1u << 0,   ///< intercept vectors, TSC offset, pause filter
    clean_permissions = 1u << 1,  ///< IOPM_BASE_PA, MSRPM_BASE_PA
    clean_address_space = 1u << 2,
    clean_virtual_interrupt = 1u << 3,
    clean_nested_paging = 1u << 4,      ///< N_CR3, G_PAT
    clean_control_registers = 1u << 5,  ///< CR0, CR3, CR4, EFER
    clean_debug_registers = 1u << 6,    ///< DR6, DR7
    clean_descriptor_tables = 1u << 7,  ///< GDTR, IDTR
    clean_segments = 1u << 8,           ///< CS, DS, SS, ES, CPL
    clean_cr2 = 1u << 9,
    clean_last_branch = 1u << 10,
    clean_all = (1u << 11) - 1,
};

/// First part, offsets 000h–3ffh [APM2-3.41 §B.1].
struct VmcbControlArea {
    std::uint32_t intercept_cr;  ///< bit n: read of CRn; bit 16 + n: write
    std::uint32_t intercept_dr;
    std::uint32_t intercept_exceptions;
    std::uint32_t intercept_instructions;  ///< offset 00ch: exit codes 60h–7fh
    std::uint32_t intercept_svm;           ///< offset 010h: exit codes 80h–9fh
    std::uint32_t intercept_more;          ///< offset 014h: exit codes a0h–bfh
    std::byte reserved_018[0x03c - 0x018];
    std::uint16_t pause_filter_threshold;
    std::uint16_t pause_filter_count;
    HostPhysical iopm_base;
    HostPhysical msrpm_base;
    std::uint64_t tsc_offset;
    std::uint32_t guest_asid;
    TlbControl tlb_control;
    std::byte reserved_05d[3];
    std::uint64_t virtual_interrupt;
    std::uint64_t interrupt_state;
    std::uint64_t exit_code;
    std::uint64_t exit_info_1;
    std::uint64_t exit_info_2;
    std::uint64_t exit_interrupt_info;
    std::uint64_t nested_control;  ///< bit 0: NP_ENABLE
    std::byte reserved_098[0x0a8 - 0x098];
    std::uint64_t event_injection;
    HostPhysical nested_cr3;
    std::uint64_t virtualization_enable;
    std::uint32_t clean_bits;
    std::uint32_t reserved_0c4;
    std::uint64_t next_rip;
    std::uint8_t instruction_byte_count;
    std::uint8_t instruction_bytes[15];
    std::byte reserved_0e0[0x400 - 0x0e0];
};
static_assert(std::is_standard_layout_v<VmcbControlArea> && std::is_trivially_copyable_v<VmcbControlArea>);
static_assert(offsetof(VmcbControlArea, intercept_dr) == 0x004);
static_assert(offsetof(VmcbControlArea, intercept_exceptions) == 0x008);
static_assert(offsetof(VmcbControlArea, intercept_instructions) == 0x00c);
static_assert(offsetof(VmcbControlArea, intercept_svm) == 0x010);
static_assert(offsetof(VmcbControlArea, intercept_more) == 0x014);
static_assert(offsetof(VmcbControlArea, pause_filter_threshold) == 0x03c);
static_assert(offsetof(VmcbControlArea, pause_filter_count) == 0x03e);
static_assert(offsetof(VmcbControlArea, iopm_base) == 0x040);
static_assert(offsetof(VmcbControlArea, msrpm_base) == 0x048);
static_assert(offsetof(VmcbControlArea, tsc_offset) == 0x050);
static_assert(offsetof(VmcbControlArea, guest_asid) == 0x058);
static_assert(offsetof(VmcbControlArea, tlb_control) == 0x05c);
static_assert(offsetof(VmcbControlArea, virtual_interrupt) == 0x060);
static_assert(offsetof(VmcbControlArea, interrupt_state) == 0x068);
static_assert(offsetof(VmcbControlArea, exit_code) == 0x070);
static_assert(offsetof(VmcbControlArea, exit_info_1) == 0x078);
static_assert(offsetof(VmcbControlArea, exit_info_2) == 0x080);
static_assert(offsetof(VmcbControlArea, exit_interrupt_info) == 0x088);
static_assert(offsetof(VmcbControlArea, nested_control) == 0x090);
static_assert(offsetof(VmcbControlArea, event_injection) == 0x0a8);
static_assert(offsetof(VmcbControlArea, nested_cr3) == 0x0b0);
static_assert(offsetof(VmcbControlArea, virtualization_enable) == 0x0b8);
static_assert(offsetof(VmcbControlArea, clean_bits) == 0x0c0);
static_assert(offsetof(VmcbControlArea, next_rip) == 0x0c8);
static_assert(offsetof(VmcbControlArea, instruction_byte_count) == 0x0d0);
static_assert(offsetof(VmcbControlArea, instruction_bytes) == 0x0d1);
static_assert(sizeof(VmcbControlArea) == 0x400);

/// A segment register in the VMCB; the attributes are the descriptor's bits 55:52 and 47:40, packed into
/// twelve bits.
struct VmcbSegment {
    std::uint16_t selector;
    std::uint16_t attributes;
    std::uint32_t limit;
    std::uint64_t base;
};
static_assert(sizeof(VmcbSegment) == 16);

/// Second part, offsets 400h–; the numbers below are relative to 400h [APM2-3.41 §B.2].
struct VmcbSaveArea {
    VmcbSegment es, cs, ss, ds, fs, gs;
    VmcbSegment gdtr, ldtr, idtr, tr;
    std::byte reserved_0a0[0x0cb - 0x0a0];
    std::uint8_t cpl;
    std::uint32_t reserved_0cc;
    std::uint64_t efer;
    std::byte reserved_0d8[0x148 - 0x0d8];
    std::uint64_t cr4;
    std::uint64_t cr3;
    std::uint64_t cr0;
    std::uint64_t dr7;
    std::uint64_t dr6;
    std::uint64_t rflags;
    std::uint64_t rip;
    std::byte reserved_180[0x1d8 - 0x180];
    std::uint64_t rsp;
    std::byte reserved_1e0[0x1f8 - 0x1e0];
    std::uint64_t rax;
    std::uint64_t star;
    std::uint64_t lstar;
    std::uint64_t cstar;
    std::uint64_t sfmask;
    std::uint64_t kernel_gs_base;
    std::uint64_t sysenter_cs;
    std::uint64_t sysenter_esp;
    std::uint64_t sysenter_eip;
    std::uint64_t cr2;
    std::byte reserved_248[0x268 - 0x248];
    std::uint64_t g_pat;
    std::uint64_t debug_control;
    std::byte reserved_278[0xc00 - 0x278];
};
static_assert(std::is_standard_layout_v<VmcbSaveArea> && std::is_trivially_copyable_v<VmcbSaveArea>);
static_assert(offsetof(VmcbSaveArea, cs) == 0x010);
static_assert(offsetof(VmcbSaveArea, ss) == 0x020);
static_assert(offsetof(VmcbSaveArea, ds) == 0x030);
static_assert(offsetof(VmcbSaveArea, fs) == 0x040);
static_assert(offsetof(VmcbSaveArea, gs) == 0x050);
static_assert(offsetof(VmcbSaveArea, gdtr) == 0x060);
static_assert(offsetof(VmcbSaveArea, ldtr) == 0x070);
static_assert(offsetof(VmcbSaveArea, idtr) == 0x080);
static_assert(offsetof(VmcbSaveArea, tr) == 0x090);
static_assert(offsetof(VmcbSaveArea, cpl) == 0x0cb);
static_assert(offsetof(VmcbSaveArea, efer) == 0x0d0);
static_assert(offsetof(VmcbSaveArea, cr4) == 0x148);
static_assert(offsetof(VmcbSaveArea, cr3) == 0x150);
static_assert(offsetof(VmcbSaveArea, cr0) == 0x158);
static_assert(offsetof(VmcbSaveArea, dr7) == 0x160);
static_assert(offsetof(VmcbSaveArea, dr6) == 0x168);
static_assert(offsetof(VmcbSaveArea, rflags) == 0x170);
static_assert(offsetof(VmcbSaveArea, rip) == 0x178);
static_assert(offsetof(VmcbSaveArea, rsp) == 0x1d8);
static_assert(offsetof(VmcbSaveArea, rax) == 0x1f8);
static_assert(offsetof(VmcbSaveArea, star) == 0x200);
static_assert(offsetof(VmcbSaveArea, kernel_gs_base) == 0x220);
static_assert(offsetof(VmcbSaveArea, sysenter_eip) == 0x238);
static_assert(offsetof(VmcbSaveArea, cr2) == 0x240);
static_assert(offsetof(VmcbSaveArea, g_pat) == 0x268);
static_assert(offsetof(VmcbSaveArea, debug_control) == 0x270);

/// One page, page-aligned.
struct alignas(4096) Vmcb {
    VmcbControlArea control;
    VmcbSaveArea save;
};
static_assert(sizeof(Vmcb) == 4096 && offsetof(Vmcb, save) == 0x400);

}  // namespace hv::svm
