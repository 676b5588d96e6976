// SPDX-License-Identifier: MIT
//
// Numbers of model-specific registers, and the fields of those that the hypervisor itself uses.  Definitions
// only. Names are the manuals': [APM2-3.41 appendix A] for what AMD defines, [SDM4-083 §2.1] for what both
// have.
#pragma once

#include <cstdint>

#include "hv/base/field.hpp"

namespace hv::x86 {

enum class Msr : std::uint32_t {
    TSC = 0x10,
    APIC_BASE = 0x1b,
    MTRRcap = 0xfe,
    SYSENTER_CS = 0x174,
    SYSENTER_ESP = 0x175,
    SYSENTER_EIP = 0x176,
    MCG_CAP = 0x179,
    MCG_STATUS = 0x17a,
    DebugCtl = 0x1d9,
    MTRRphysBase0 = 0x200,
    MTRRphysMask7 = 0x20f,
    MTRRfix64K_00000 = 0x250,
    MTRRfix4K_F8000 = 0x26f,
    PAT = 0x277,
    MTRRdefType = 0x2ff,
    X2APIC_FIRST = 0x800,
    X2APIC_LAST = 0x8ff,
    EFER = 0xc000'0080,
    STAR = 0xc000'0081,
    LSTAR = 0xc000'0082,
    CSTAR = 0xc000'0083,
    SFMASK = 0xc000'0084,
    FS_BASE = 0xc000'0100,
    GS_BASE = 0xc000'0101,
    KERNEL_GS_BASE = 0xc000'0102,
    TSC_AUX = 0xc000'0103,
    TSC_RATIO = 0xc000'0104,
    SYSCFG = 0xc001'0010,
    HWCR = 0xc001'0015,
    TOP_MEM = 0xc001'001a,
    TOP_MEM2 = 0xc001'001d,
    PATCH_LOADER = 0xc001'0020,
    VM_CR = 0xc001'0114,
    IGNNE = 0xc001'0115,
    SMM_CTL = 0xc001'0116,
    VM_HSAVE_PA = 0xc001'0117,
};

/// Extended feature enable register [APM2-3.41 §3.1.7].
struct Efer {
    using SCE = Bit<0>;
    using LME = Bit<8>;
    using LMA = Bit<10>;
    using NXE = Bit<11>;
    using SVME = Bit<12>;
    using LMSLE = Bit<13>;
    using FFXSR = Bit<14>;
};

/// APIC base address register [APM2-3.41 §16.3.1], with x2APIC's enable [SDM3-083 §11.12.1].
struct ApicBase {
    using BSC = Bit<8>;
    using EXTD = Bit<10>;
    using AE = Bit<11>;
    static constexpr std::uint64_t address_mask{0x000f'ffff'ffff'f000};
};

/// VM_CR [APM2-3.41 §15.30.1].
struct VmCr {
    using DPD = Bit<0>;
    using R_INIT = Bit<1>;
    using DIS_A20M = Bit<2>;
    using LOCK = Bit<3>;
    using SVMDIS = Bit<4>;
};

}  // namespace hv::x86
