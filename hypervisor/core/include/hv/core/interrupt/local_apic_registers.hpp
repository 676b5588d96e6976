// SPDX-License-Identifier: MIT
//
// The registers of a local APIC as a guest has them: the bits that are defined in each.  Their offsets are in
// hv/x86/local_apic.hpp.  [SDM3-083 §11.4, §11.5, §11.6, §11.12],
// [APM2-3.41 §16.3, §16.4].  Definitions only; local_apic.hpp gives them their behaviour.
#pragma once

#include <cstdint>

#include "hv/base/field.hpp"
#include "hv/x86/local_apic.hpp"

namespace hv::core {

using x86::ApicRegister;

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

/// Bits of the error status register [SDM3-083 §11.5.3].
struct ErrorStatus {
    static constexpr std::uint32_t SEND_ILLEGAL_VECTOR{1u << 5};
    static constexpr std::uint32_t RECEIVED_ILLEGAL_VECTOR{1u << 6};
    static constexpr std::uint32_t ILLEGAL_REGISTER_ADDRESS{1u << 7};
    static constexpr std::uint32_t defined{SEND_ILLEGAL_VECTOR | RECEIVED_ILLEGAL_VECTOR |
                                           ILLEGAL_REGISTER_ADDRESS};
};

/// Version 0x14 with six local vectors; no suppression of EOI broadcasts, no extended space [SDM3-083
/// §11.4.8].
inline constexpr std::uint32_t local_apic_version{0x14 | (lvt_entries - 1) << 16};

/// Vectors below 16 are exceptions' and never delivered by an APIC [SDM3-083 §11.5.2].
inline constexpr std::uint8_t first_legal_vector{16};

}  // namespace hv::core
