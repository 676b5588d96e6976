// SPDX-License-Identifier: MIT
//
// Declared answers: what does not change from call to call is said once, as data, and the core answers it
// without entering the module.  Constant ones stand in tables that the hook table names; those that depend on
// a parameter, a frequency or a granted window are handed to the `declare` services in domain_create, or
// later to replace one.
//
// The order for an access: a declared answer whose condition holds; else the module's hook; else zeros for a
// CPUID leaf inside the block and #GP(0) for an MSR inside the window.
#pragma once

#include "hv/abi/window.hpp"

namespace hv::abi {

/// A property of the VCPU that asks.
enum class VcpuField : std::uint32_t {
    none = 0,
    index = 1,  ///< 0 for the first VCPU
    initial_apic_id = 2,
    apic_id = 3,  ///< as it is now
};

/// `condition` of a declared answer: 0 holds always; 1 to 64 hold while set_condition has switched that
/// number on.
inline constexpr std::uint32_t condition_always{0};
inline constexpr std::uint32_t maximum_condition{64};

inline constexpr std::uint32_t leaf_any_subleaf{1};  ///< ECX does not matter; else only `subleaf` is declared
/// EAX is relative to the block: the core adds the block's base.
inline constexpr std::uint32_t leaf_eax_plus_base{2};
inline constexpr std::uint32_t leaf_known_flags{3};

/// A CPUID leaf with fixed values.  `leaf` is relative to the window's base.
struct DeclaredLeaf {
    std::uint32_t window{};
    std::uint32_t leaf{};
    std::uint32_t subleaf{};
    std::uint32_t flags{};  ///< leaf_*
    CpuidResult values{};
    VcpuField field{};               ///< ORed into the register named next
    std::uint32_t field_register{};  ///< 0 EAX, 1 EBX, 2 ECX, 3 EDX
    std::uint32_t field_shift{};     ///< 0 to 31
    std::uint32_t condition{};
};
HV_FROZEN(DeclaredLeaf, window, 0);
HV_FROZEN(DeclaredLeaf, leaf, 4);
HV_FROZEN(DeclaredLeaf, subleaf, 8);
HV_FROZEN(DeclaredLeaf, flags, 12);
HV_FROZEN(DeclaredLeaf, values, 16);
HV_FROZEN(DeclaredLeaf, field, 32);
HV_FROZEN(DeclaredLeaf, field_register, 36);
HV_FROZEN(DeclaredLeaf, field_shift, 40);
HV_FROZEN(DeclaredLeaf, condition, 44);
HV_FROZEN_SIZE(DeclaredLeaf, 48);

enum class MsrReadKind : std::uint32_t {
    withdrawn = 0,      ///< declare_msr_reads: takes the declaration of this MSR back
    constant = 1,       ///< value
    vcpu_field = 2,     ///< the VcpuField whose number is in `argument`
    scaled_time = 3,    ///< ((guest nanoseconds * value) >> argument) + addend, computed in 128 bits
    apic_register = 4,  ///< the local APIC register at byte offset `argument` of its page (0x80 is TPR)
    apic_icr = 5,       ///< both halves, high << 32 | low
    /// The 64 bits at byte offset `argument` (aligned) of the domain's state block as kept.
    domain_state = 6,
    vcpu_state = 7,  ///< the same of the VCPU's state block
    general_protection = 8,  ///< #GP(0): reading is not allowed, and the hook is not asked
};

/// What an MSR reads as.  `offset` is relative to the window's base.
struct DeclaredMsrRead {
    std::uint32_t window{};
    std::uint32_t offset{};
    MsrReadKind kind{};
    std::uint32_t condition{};
    std::uint64_t value{};  ///< constant, or the multiplier
    std::uint64_t addend{};
    std::uint32_t argument{};  ///< field, shift (0 to 63), register, or offset in the block
    std::uint32_t reserved{};  ///< zero
};
HV_FROZEN(DeclaredMsrRead, window, 0);
HV_FROZEN(DeclaredMsrRead, offset, 4);
HV_FROZEN(DeclaredMsrRead, kind, 8);
HV_FROZEN(DeclaredMsrRead, condition, 12);
HV_FROZEN(DeclaredMsrRead, value, 16);
HV_FROZEN(DeclaredMsrRead, addend, 24);
HV_FROZEN(DeclaredMsrRead, argument, 32);
HV_FROZEN_SIZE(DeclaredMsrRead, 40);

enum class MsrWriteKind : std::uint32_t {
    withdrawn = 0,           ///< declare_msr_writes: takes the declaration back
    ignore = 1,              ///< accepted, no effect
    general_protection = 2,  ///< #GP(0), and the hook is not asked
    apic_eoi = 3,            ///< end of interrupt; the value written does not matter
    apic_icr = 4,            ///< both halves, high << 32 | low, in the format of the APIC's current mode
    apic_tpr = 5,            ///< bits 7..0; other bits set raise #GP(0)
    deadline = 6,            ///< moves a timer, and the hook is asked where it cannot (DeadlinePlaces)
};

/// Of a write of kind `deadline`: the value is the moment at which a timer of the VCPU expires.  The places are byte offsets in the
/// VCPU's state block, multiples of 8.  At `timer_at` the module keeps the handle of a one-shot timer while a write means just this, else
/// zero: then the timer is set as timer_set last set it, but for the deadline, value * unit_ns (or the end of time), and the value is put
/// into the block at `value_at`; no hook is called.  Where the value or the handle is zero, and where the handle is not that of a
/// one-shot timer of this VCPU that timer_set has set, the hook msr_write is asked as if nothing were declared.
struct DeadlinePlaces {
    std::uint16_t value_at{};
    std::uint16_t timer_at{};
    std::uint32_t unit_ns{};  ///< nanoseconds of guest time (time_now) to one of the value; not 0
};
HV_FROZEN(DeadlinePlaces, value_at, 0);
HV_FROZEN(DeadlinePlaces, timer_at, 2);
HV_FROZEN(DeadlinePlaces, unit_ns, 4);
HV_FROZEN_SIZE(DeadlinePlaces, 8);

/// What writing an MSR does.  A value with a bit outside `writable` raises #GP(0) first.
struct DeclaredMsrWrite {
    std::uint32_t window{};
    std::uint32_t offset{};
    MsrWriteKind kind{};
    std::uint32_t condition{};
    std::uint64_t writable{};
    std::uint64_t reserved{};  ///< zero; of kind `deadline`: as_word() of its DeadlinePlaces
};
/// The word `reserved` of a DeclaredMsrWrite, both ways.
constexpr std::uint64_t as_word(DeadlinePlaces places)
{
    return __builtin_bit_cast(std::uint64_t, places);
}
constexpr DeadlinePlaces deadline_places(const DeclaredMsrWrite& write)
{
    return __builtin_bit_cast(DeadlinePlaces, write.reserved);
}
HV_FROZEN(DeclaredMsrWrite, window, 0);
HV_FROZEN(DeclaredMsrWrite, offset, 4);
HV_FROZEN(DeclaredMsrWrite, kind, 8);
HV_FROZEN(DeclaredMsrWrite, condition, 12);
HV_FROZEN(DeclaredMsrWrite, writable, 16);
HV_FROZEN_SIZE(DeclaredMsrWrite, 32);

/// Lazy end of interrupt of one VCPU: before an entry with nothing else pending the core sets the bit; a
/// guest that finds it set clears it instead of writing EOI, and the core sees that at the next exit.
struct DeclaredEoiAssist {
    std::uint64_t page{};    ///< an overlay or pinned page; 0 withdraws
    std::uint32_t offset{};  ///< byte offset in the page, a multiple of 4
    std::uint32_t bit{};     ///< 0 to 31
};
HV_FROZEN(DeclaredEoiAssist, page, 0);
HV_FROZEN(DeclaredEoiAssist, offset, 8);
HV_FROZEN(DeclaredEoiAssist, bit, 12);
HV_FROZEN_SIZE(DeclaredEoiAssist, 16);

enum class TimerAction : std::uint32_t {
    call_hook = 0,      ///< the timer hook, on the VCPU's processor
    inject_vector = 1,  ///< `vector` into the VCPU's local APIC, edge-triggered, without entering the module
};

/// A timer's setting.  Times are guest time (time_now): they stop while the guest is frozen.
struct TimerSetting {
    std::uint64_t deadline_ns{};  ///< absolute; one in the past expires at once
    std::uint64_t period_ns{};    ///< 0 is one-shot; else at least 100 000, expiries that were missed are
                                  ///< counted, not replayed
    TimerAction action{};
    std::uint32_t vector{};  ///< 16 to 255 for inject_vector
};
HV_FROZEN(TimerSetting, deadline_ns, 0);
HV_FROZEN(TimerSetting, period_ns, 8);
HV_FROZEN(TimerSetting, action, 16);
HV_FROZEN(TimerSetting, vector, 20);
HV_FROZEN_SIZE(TimerSetting, 24);

}  // namespace hv::abi
