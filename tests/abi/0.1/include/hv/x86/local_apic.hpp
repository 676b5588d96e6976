// SPDX-License-Identifier: MIT
//
// Registers of the local APIC by their MMIO offsets; in x2APIC mode the MSR is 0x800 + offset / 16.
// Definitions only. [APM2-3.41 §16.3.2, table 16-2] and [SDM3-083 §11.4.1, §11.12.1].
#pragma once

#include <cstdint>

#include "hv/base/field.hpp"

namespace hv::x86 {

enum class ApicRegister : std::uint32_t {
    ID = 0x020,
    VERSION = 0x030,
    TPR = 0x080,
    APR = 0x090,
    PPR = 0x0a0,
    EOI = 0x0b0,
    RRR = 0x0c0,
    LDR = 0x0d0,
    DFR = 0x0e0,
    SVR = 0x0f0,
    ISR = 0x100,  // eight of them, as of TMR and IRR
    TMR = 0x180,
    IRR = 0x200,
    ESR = 0x280,
    LVT_CMCI = 0x2f0,
    ICR_LOW = 0x300,
    ICR_HIGH = 0x310,
    LVT_TIMER = 0x320,
    LVT_THERMAL = 0x330,
    LVT_PERFORMANCE = 0x340,
    LVT_LINT0 = 0x350,
    LVT_LINT1 = 0x360,
    LVT_ERROR = 0x370,
    INITIAL_COUNT = 0x380,
    CURRENT_COUNT = 0x390,
    DIVIDE_CONFIGURATION = 0x3e0,
    SELF_IPI = 0x3f0,  // x2APIC mode only
};

constexpr std::uint32_t x2apic_msr(ApicRegister which)
{
    return 0x800 + (static_cast<std::uint32_t>(which) >> 4);
}

inline constexpr std::uint64_t default_local_apic_base{0xfee0'0000};

/// Message type of an interrupt command, a local vector, an I/O APIC's entry or MSI data, in bits 10:8 of each [APM2-3.41
/// §16.5].
enum class DeliveryMode : std::uint8_t {
    fixed = 0,
    lowest_priority = 1,
    smi = 2,
    reserved = 3,
    nmi = 4,
    init = 5,
    startup = 6,
    external = 7,
};

/// Interrupt command register; the destination is in bits 63:56 (xAPIC) or 63:32 (x2APIC).
struct InterruptCommand {
    using Vector = Field<7, 0>;
    using Mode = Field<10, 8, DeliveryMode>;
    using Logical = Bit<11>;
    using DeliveryStatus = Bit<12>;
    using Assert = Bit<14>;
    using LevelTriggered = Bit<15>;
    using Shorthand = Field<19, 18>;
    static constexpr std::uint64_t no_shorthand{0};
    static constexpr std::uint64_t self{1};
    static constexpr std::uint64_t all_including_self{2};
    static constexpr std::uint64_t all_but_self{3};
};

/// Spurious-vector register and the parts that all entries of the local vector table share.
struct SpuriousVector {
    using Vector = Field<7, 0>;
    using Enable = Bit<8>;
};
struct LocalVector {
    using Vector = Field<7, 0>;
    using Mode = Field<10, 8, DeliveryMode>;
    using Pending = Bit<12>;
    using Masked = Bit<16>;
    using TimerMode = Field<18, 17>;  // 0 one-shot, 1 periodic, 2 TSC deadline
};

}  // namespace hv::x86
