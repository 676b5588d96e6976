// SPDX-License-Identifier: MIT
//
// The synthetic MSRs that this module answers for: numbers, and which bits of each are defined.  Definitions
// alone. A bit that is not defined is refused with #GP(0), also where the specification asks guests to
// preserve it: it reads as zero, so a guest that preserves it never meets this. Specification: [TLFS-6.0b
// §3.12, §3.13, §7.8, §9.4, §10.2, §11.10, §12.3, §12.7 and Appendix C].
#pragma once

#include "hv/base/address.hpp"
#include "hv/base/field.hpp"

namespace hv::viridian::tlfs {

/// The first synthetic MSR; offsets in the module's window count from here.
inline constexpr std::uint32_t msr_base{0x4000'0000};

inline constexpr std::uint32_t HV_X64_MSR_GUEST_OS_ID{0x4000'0000};
inline constexpr std::uint32_t HV_X64_MSR_HYPERCALL{0x4000'0001};
inline constexpr std::uint32_t HV_X64_MSR_VP_INDEX{0x4000'0002};
inline constexpr std::uint32_t HV_X64_MSR_RESET{0x4000'0003};
inline constexpr std::uint32_t HV_X64_MSR_VP_RUNTIME{0x4000'0010};
inline constexpr std::uint32_t HV_X64_MSR_TIME_REF_COUNT{0x4000'0020};
inline constexpr std::uint32_t HV_X64_MSR_REFERENCE_TSC{0x4000'0021};
inline constexpr std::uint32_t HV_X64_MSR_TSC_FREQUENCY{0x4000'0022};
inline constexpr std::uint32_t HV_X64_MSR_APIC_FREQUENCY{0x4000'0023};
inline constexpr std::uint32_t HV_X64_MSR_EOI{0x4000'0070};
inline constexpr std::uint32_t HV_X64_MSR_ICR{0x4000'0071};
inline constexpr std::uint32_t HV_X64_MSR_TPR{0x4000'0072};
inline constexpr std::uint32_t HV_X64_MSR_VP_ASSIST_PAGE{0x4000'0073};
inline constexpr std::uint32_t HV_X64_MSR_SCONTROL{0x4000'0080};
inline constexpr std::uint32_t HV_X64_MSR_SVERSION{0x4000'0081};
inline constexpr std::uint32_t HV_X64_MSR_SIEFP{0x4000'0082};
inline constexpr std::uint32_t HV_X64_MSR_SIMP{0x4000'0083};
inline constexpr std::uint32_t HV_X64_MSR_EOM{0x4000'0084};
inline constexpr std::uint32_t HV_X64_MSR_SINT0{0x4000'0090};
inline constexpr std::uint32_t HV_X64_MSR_SINT15{0x4000'009f};
inline constexpr std::uint32_t HV_X64_MSR_STIMER0_CONFIG{0x4000'00b0};  ///< COUNT follows, then the next timer's pair
inline constexpr std::uint32_t HV_X64_MSR_STIMER0_COUNT{0x4000'00b1};
inline constexpr std::uint32_t HV_X64_MSR_STIMER3_COUNT{0x4000'00b7};
inline constexpr std::uint32_t HV_X64_MSR_GUEST_IDLE{0x4000'00f0};
inline constexpr std::uint32_t HV_X64_MSR_CRASH_P0{0x4000'0100};
inline constexpr std::uint32_t HV_X64_MSR_CRASH_P4{0x4000'0104};
inline constexpr std::uint32_t HV_X64_MSR_CRASH_CTL{0x4000'0105};
inline constexpr std::uint32_t HV_X64_MSR_TSC_INVARIANT_CONTROL{0x4000'0118};

constexpr std::uint32_t offset_of(std::uint32_t msr)
{
    return msr - msr_base;
}

/// An MSR that places an overlay page: REFERENCE_TSC, VP_ASSIST_PAGE, SIEFP and SIMP.
struct PageRegister {
    using Enable = Bit<0>;
    using PageNumber = Field<63, 12>;
    static constexpr std::uint64_t defined{Enable::mask | PageNumber::mask};

    [[nodiscard]] static constexpr GuestPhysical page(std::uint64_t raw)
    {
        return GuestPhysical{raw & PageNumber::mask};
    }
};
static_assert(PageRegister::defined == 0xffff'ffff'ffff'f001);

/// HV_X64_MSR_HYPERCALL [TLFS-6.0b §3.13].
struct HypercallRegister : PageRegister {
    using Locked = Bit<1>;
    static constexpr std::uint64_t defined{PageRegister::defined | Locked::mask};
};
static_assert(HypercallRegister::defined == 0xffff'ffff'ffff'f003);

/// HV_X64_MSR_RESET: writing the bit resets the partition.
struct ResetRegister {
    using Reset = Bit<0>;
    static constexpr std::uint64_t defined{Reset::mask};
};

/// HV_X64_MSR_CRASH_CTL: reading gives what the hypervisor can do, writing asks for it.
struct CrashControl {
    using CrashMessage = Bit<62>;  ///< P3 is the guest-physical address of a text, P4 its bytes
    using CrashNotify = Bit<63>;   ///< P0 to P4 are complete
    static constexpr std::uint64_t defined{CrashMessage::mask | CrashNotify::mask};
};
inline constexpr std::uint64_t longest_crash_message{4096};
inline constexpr std::uint32_t crash_parameter_count{5};
static_assert(HV_X64_MSR_CRASH_P4 - HV_X64_MSR_CRASH_P0 + 1 == crash_parameter_count);

/// HV_X64_MSR_TSC_INVARIANT_CONTROL: with the bit set, the processor's own leaf says that the counter is invariant.
struct TscInvariantControl {
    using EnableInvariantTsc = Bit<0>;
    static constexpr std::uint64_t defined{EnableInvariantTsc::mask};
};

inline constexpr std::uint64_t eoi_defined{0xffff'ffff};
inline constexpr std::uint64_t tpr_defined{0xff};

/// "No EOI required" in the VP assist page [TLFS-6.0b §10.3.5]: byte offset, and bit in the 32-bit word
/// there.
inline constexpr std::uint32_t eoi_assist_offset{0};
inline constexpr std::uint32_t eoi_assist_bit{0};

}  // namespace hv::viridian::tlfs
