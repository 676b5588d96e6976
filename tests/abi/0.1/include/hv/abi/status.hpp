// SPDX-License-Identifier: MIT
//
// The two kinds of answer that cross the extension ABI: what a service says to a module (an int32, zero or a
// negative reason), and what a hook says to the hypervisor (a Verdict).  A verdict that is not one of these
// ends the instance.
#pragma once

#include <cstdint>

#include "hv/abi/header.hpp"

namespace hv::abi {

/// What a service returns.  Each reason is the negated hv::Error of the same name: append, never renumber.
inline constexpr std::int32_t status_ok{0};
inline constexpr std::int32_t status_invalid_argument{-1};
inline constexpr std::int32_t status_out_of_range{-2};
inline constexpr std::int32_t status_no_memory{-3};
inline constexpr std::int32_t status_not_supported{-4};
inline constexpr std::int32_t status_already_exists{-5};
inline constexpr std::int32_t status_not_found{-6};
inline constexpr std::int32_t status_busy{-7};
/// Also: a service whose capability was not asked for.
inline constexpr std::int32_t status_permission_denied{-8};
inline constexpr std::int32_t status_malformed{-9};
inline constexpr std::int32_t status_abi_mismatch{-10};
inline constexpr std::int32_t status_timed_out{-11};
inline constexpr std::int32_t status_limit_reached{-12};
inline constexpr std::int32_t status_conflict{-13};
inline constexpr std::int32_t status_gone{-14};  ///< the handle's object no longer exists

/// What a hook wants done.  Zero is not a verdict, so that a forgotten answer is noticed.
enum class VerdictKind : std::uint16_t {
    done = 1,      ///< handled; results are where the hook's arguments say
    not_mine = 2,  ///< the next instance of the stack is asked, and after the last one the core's own answer
                   ///< is given
    inject = 3,  ///< raise the exception of `detail` in the guest; results of the hook are dropped, RIP stays
    /// Hypercall hooks: give way, then call hypercall_continue with the continuation of the frame.
    again = 4,
    block = 5,  ///< hypercall and MSR read hooks: done, and the VCPU blocks as vcpu_block has arranged
    /// Done, and the domain is paused; `detail` is the module's own number, shown to the operator.
    pause = 6,
    /// The domain ends as crashed; `detail` is the module's own number, the text is that of explain.
    crash = 7,
    refuse = 8,  ///< domain_create, parameter_set, vcpu_initialise, import: it cannot be; `detail` is -status
};

/// The VCPU's state block is as it was: nothing to keep.
inline constexpr std::uint16_t verdict_unchanged{1};
/// Hypercall, exit: RIP is the frame's, do not advance it.
inline constexpr std::uint16_t verdict_keep_rip{2};
inline constexpr std::uint16_t verdict_known_flags{3};

/// A hook's answer, one register wide.
struct Verdict {
    VerdictKind kind;
    std::uint16_t flags;
    std::uint32_t detail;  ///< meaning depends on kind; zero where none is stated
};
HV_FROZEN(Verdict, kind, 0);
HV_FROZEN(Verdict, flags, 2);
HV_FROZEN(Verdict, detail, 4);
HV_FROZEN_SIZE(Verdict, 8);

/// `detail` of an `inject` verdict: vector in bits 7..0, bit 8 set when an error code is pushed, code in
/// bits 31..16. Legal vectors are those of faults: #DE, #UD, #GP, #SS, #NP, #TS and #AC [SDM3-083 §6.3.1].
constexpr std::uint32_t exception_detail(std::uint8_t vector)
{
    return vector;
}
constexpr std::uint32_t exception_detail(std::uint8_t vector, std::uint16_t error_code)
{
    return vector | std::uint32_t{1} << 8 | static_cast<std::uint32_t>(error_code) << 16;
}

inline constexpr Verdict done{VerdictKind::done, 0, 0};
inline constexpr Verdict done_unchanged{VerdictKind::done, verdict_unchanged, 0};
inline constexpr Verdict not_mine{VerdictKind::not_mine, verdict_unchanged, 0};
inline constexpr Verdict again{VerdictKind::again, 0, 0};
inline constexpr Verdict block{VerdictKind::block, 0, 0};
inline constexpr Verdict inject_undefined_opcode{VerdictKind::inject, verdict_unchanged, exception_detail(6)};
inline constexpr Verdict inject_general_protection{VerdictKind::inject, verdict_unchanged,
                                                   exception_detail(13, 0)};

constexpr Verdict refuse(std::int32_t status)
{
    return {VerdictKind::refuse, verdict_unchanged, static_cast<std::uint32_t>(-status)};
}

}  // namespace hv::abi
