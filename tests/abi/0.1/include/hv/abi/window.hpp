// SPDX-License-Identifier: MIT
//
// Windows: the parts of a guest's machine that a module wants to answer for.  A module asks by data in its
// manifest; the framework allots when the module is bound to a domain and says what it gave; two fixed
// windows that clash are an error of the bind that names both modules.  Inside a hook an access is {the
// module's number of the window, offset}.
#pragma once

#include "hv/abi/registers.hpp"

namespace hv::abi {

enum class WindowKind : std::uint32_t {
    cpuid = 1,      ///< a block of leaves: base 0x40000000 + n * 0x100, at most 0x100 long
    msr = 2,        ///< a range of MSRs
    hypercall = 3,  ///< what `hypercall` matches
    mmio = 4,       ///< guest-physical bytes; page-aligned
    port = 5,       ///< I/O ports
    pci = 6,        ///< a PCI function; 0.1: refused as not supported
    acpi = 7,       ///< a device in the guest's ACPI namespace; 0.1: refused as not supported
};

/// Flags of a request.
inline constexpr std::uint32_t window_fixed{1};  ///< only at `base`; else anywhere the framework likes
/// Where it cannot be had the bind goes on and the grant says so.
inline constexpr std::uint32_t window_optional{2};
inline constexpr std::uint32_t window_known_flags{3};

inline constexpr std::uint64_t cpuid_first_block{0x4000'0000};
inline constexpr std::uint64_t cpuid_block_stride{0x100};

/// `operand` of a match that does not look at a register.
inline constexpr std::uint32_t match_always{0xffff'ffff};
/// Bits of `modes`, one for each GuestMode.
inline constexpr std::uint32_t match_long_64{1u << static_cast<unsigned>(GuestMode::long_64)};
inline constexpr std::uint32_t match_protected_32{1u << static_cast<unsigned>(GuestMode::protected_32)};
inline constexpr std::uint32_t match_protected_16{1u << static_cast<unsigned>(GuestMode::protected_16)};
inline constexpr std::uint32_t match_real{1u << static_cast<unsigned>(GuestMode::real)};

/// Which uses of this processor's hypercall instruction (VMMCALL or VMCALL) belong to a module.  Rules are
/// tried in stacking order, but a rule that another shadows before that one; the first that matches takes the call; a call
/// that nobody takes raises #UD.
struct HypercallMatch {
    std::uint32_t modes{};        ///< match_* bits; none is an error
    std::uint32_t maximum_cpl{};  ///< 0 to 3; from above it the rule does not match
    std::uint32_t operand{};      ///< a GeneralRegister, or match_always
    std::uint32_t reserved{};     ///< zero
    std::uint64_t mask{};         ///< matches where (register & mask) == value
    std::uint64_t value{};
};
HV_FROZEN(HypercallMatch, modes, 0);
HV_FROZEN(HypercallMatch, maximum_cpl, 4);
HV_FROZEN(HypercallMatch, operand, 8);
HV_FROZEN(HypercallMatch, mask, 16);
HV_FROZEN(HypercallMatch, value, 24);
HV_FROZEN_SIZE(HypercallMatch, 32);

/// True when `rule` takes a call from this mode and privilege with this register file.
constexpr bool matches(const HypercallMatch& rule, GuestMode mode, std::uint32_t cpl,
                       const std::uint64_t (&general)[16])
{
    if ((rule.modes >> static_cast<unsigned>(mode) & 1) == 0 || cpl > rule.maximum_cpl)
        return false;
    return rule.operand == match_always || (general[rule.operand & 15] & rule.mask) == rule.value;
}

/// True when every call that `second` would take is one that `first` takes.  Two rules that shadow each other clash.
constexpr bool shadows(const HypercallMatch& first, const HypercallMatch& second)
{
    if ((second.modes & ~first.modes) != 0 || second.maximum_cpl > first.maximum_cpl)
        return false;
    if (first.operand == match_always)
        return true;
    return second.operand == first.operand && (first.mask & ~second.mask) == 0 &&
           (second.value & first.mask) == first.value;
}

/// One window that a module asks for.  Requests stand in an array that the manifest names; the array's
/// element never grows, a new shape would be a new array.  Members that a kind does not use are zero.
struct WindowRequest {
    std::uint32_t id{};  ///< the module's own number, unique in the module; hooks and declared answers use it
    WindowKind kind{};
    std::uint32_t flags{};  ///< window_*
    /// Of the base, a power of two, or 0: MSR, MMIO and port windows that may move.
    std::uint32_t alignment{};
    /// Leaf, MSR, guest-physical address or port; where not fixed: the preferred one or 0.
    std::uint64_t base{};
    std::uint64_t length{};  ///< leaves, MSRs, bytes or ports
    HypercallMatch hypercall{};
    std::uint32_t pci_vendor_device{};  ///< device << 16 | vendor
    std::uint32_t pci_class{};          ///< class << 16 | subclass << 8 | interface
    std::uint64_t reserved[3]{};        ///< zero
    char acpi_hardware_id[16]{};        ///< _HID, NUL-terminated
    char label[16]{};                   ///< for the operator, NUL-terminated: "synthetic MSRs"
};
HV_FROZEN(WindowRequest, id, 0);
HV_FROZEN(WindowRequest, kind, 4);
HV_FROZEN(WindowRequest, flags, 8);
HV_FROZEN(WindowRequest, alignment, 12);
HV_FROZEN(WindowRequest, base, 16);
HV_FROZEN(WindowRequest, length, 24);
HV_FROZEN(WindowRequest, hypercall, 32);
HV_FROZEN(WindowRequest, pci_vendor_device, 64);
HV_FROZEN(WindowRequest, pci_class, 68);
HV_FROZEN(WindowRequest, reserved, 72);
HV_FROZEN(WindowRequest, acpi_hardware_id, 96);
HV_FROZEN(WindowRequest, label, 112);
HV_FROZEN_SIZE(WindowRequest, 128);

/// What the framework gave, in the order of the requests.
struct WindowGrant {
    std::uint32_t id;
    WindowKind kind;
    std::uint32_t granted;  ///< 1, or 0 for an optional window that could not be had
    std::uint32_t reserved;
    std::uint64_t base;
    std::uint64_t length;
};
HV_FROZEN(WindowGrant, id, 0);
HV_FROZEN(WindowGrant, kind, 4);
HV_FROZEN(WindowGrant, granted, 8);
HV_FROZEN(WindowGrant, base, 16);
HV_FROZEN(WindowGrant, length, 24);
HV_FROZEN_SIZE(WindowGrant, 32);

}  // namespace hv::abi
