// SPDX-License-Identifier: MIT
//
// The registers of a local APIC as numbers and fields: offsets of the xAPIC page, which x2APIC MSRs follow
// (0x800 + offset / 16), and the bits that are defined in each.  [SDM3-083 §10.4, §10.5, §10.6, §10.12],
// [APM2-3.41 §16.3, §16.4].  Definitions only; local_apic.hpp gives them their behaviour.
#pragma once

#include <cstdint>

#include "hv/base/field.hpp"

namespace hv::core {

/// Offsets in the xAPIC register page.
enum class ApicRegister : std::uint16_t {
    ID = 0x020,
    VERSION = 0x030,
    TPR = 0x080,
    APR = 0x090,
    PPR = 0x0a0,
    EOI = 0x0b0,
    RRD = 0x0c0,
    LDR = 0x0d0,
    DFR = 0x0e0,
    SVR = 0x0f0,
    ISR0 = 0x100,
    ISR7 = 0x170,
    TMR0 = 0x180,
    TMR7 = 0x1f0,
    IRR0 = 0x200,
    IRR7 = 0x270,
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
    DIVIDE = 0x3e0,
    SELF_IPI = 0x3f0,
};

inline constexpr std::uint32_t x2apic_msr_first{0x800};
inline constexpr std::uint32_t x2apic_msr_last{0x8ff};
inline constexpr std::uint32_t apic_base_msr{0x1b};
inline constexpr std::uint32_t tsc_deadline_msr{0x6e0};

/// IA32_APIC_BASE.
struct ApicBaseRegister {
    using BootstrapProcessor = Bit<8>;
    using ExtendedMode = Bit<10>;
    using Enable = Bit<11>;
    using Base = Field<51, 12>;
};

/// Index of a local vector table entry, in the order of their registers.
enum class LvtEntry : std::uint8_t {
    timer = 0,
    thermal = 1,
    performance = 2,
    lint0 = 3,
    lint1 = 4,
    error = 5,
};
inline constexpr unsigned lvt_entries{6};

struct LvtRegister {
    using Vector = Field<7, 0, std::uint8_t>;
    using Delivery = Field<10, 8, std::uint8_t>;
    using DeliveryStatus = Bit<12>;
    using Polarity = Bit<13>;
    using RemoteIrr = Bit<14>;
    using Trigger = Bit<15>;
    using Masked = Bit<16>;
    using TimerMode = Field<18, 17, std::uint8_t>;
    static constexpr std::uint64_t read_only{DeliveryStatus::mask | RemoteIrr::mask};
};

enum class ApicTimerMode : std::uint8_t {
    one_shot = 0,
    periodic = 1,
    tsc_deadline = 2,
    reserved = 3,  ///< counts nothing
};

/// Bits that a guest may set in an entry; read-only ones are dropped, all others are reserved.
constexpr std::uint32_t lvt_writable(LvtEntry entry)
{
    constexpr auto common = LvtRegister::Vector::mask | LvtRegister::Masked::mask;
    constexpr auto with_delivery = common | LvtRegister::Delivery::mask;
    switch (entry) {
    case LvtEntry::timer: return static_cast<std::uint32_t>(common | LvtRegister::TimerMode::mask);
    case LvtEntry::thermal:
    case LvtEntry::performance: return static_cast<std::uint32_t>(with_delivery);
    case LvtEntry::lint0:
    case LvtEntry::lint1:
        return static_cast<std::uint32_t>(with_delivery | LvtRegister::Polarity::mask |
                                          LvtRegister::Trigger::mask);
    case LvtEntry::error: return static_cast<std::uint32_t>(common);
    }
    return 0;
}

struct SpuriousRegister {
    using Vector = Field<7, 0, std::uint8_t>;
    using Enable = Bit<8>;
    using FocusCheck = Bit<9>;
    static constexpr std::uint32_t defined{Vector::mask | Enable::mask | FocusCheck::mask};
};

/// Low half of the ICR; the destination is above it (bits 63:56 or, in x2APIC mode, 63:32).
struct IcrRegister {
    using Vector = Field<7, 0, std::uint8_t>;
    using Delivery = Field<10, 8, std::uint8_t>;
    using LogicalDestination = Bit<11>;
    using DeliveryStatus = Bit<12>;
    using Assert = Bit<14>;
    using Trigger = Bit<15>;
    using Shorthand = Field<19, 18, std::uint8_t>;
    static constexpr std::uint32_t defined{Vector::mask | Delivery::mask | LogicalDestination::mask |
                                           Assert::mask | Trigger::mask | Shorthand::mask};
};

/// Bits of the error status register [SDM3-083 §10.5.3].
struct ErrorStatus {
    static constexpr std::uint32_t SEND_ILLEGAL_VECTOR{1u << 5};
    static constexpr std::uint32_t RECEIVED_ILLEGAL_VECTOR{1u << 6};
    static constexpr std::uint32_t ILLEGAL_REGISTER_ADDRESS{1u << 7};
    static constexpr std::uint32_t defined{SEND_ILLEGAL_VECTOR | RECEIVED_ILLEGAL_VECTOR |
                                           ILLEGAL_REGISTER_ADDRESS};
};

/// Version 0x14 with six local vectors; no suppression of EOI broadcasts, no extended space [SDM3-083
/// §10.4.8].
inline constexpr std::uint32_t local_apic_version{0x14 | (lvt_entries - 1) << 16};

/// Vectors below 16 are exceptions' and never delivered by an APIC [SDM3-083 §10.5.2].
inline constexpr std::uint8_t first_legal_vector{16};

}  // namespace hv::core
