// SPDX-License-Identifier: MIT
//
// The CPUID leaves, each a function of what the domain was given.  They never change while the domain lives,
// so all are declared answers and no CPUID enters the module. Specification: [TLFS-6.0b §2.4].
#pragma once

#include <array>

#include "features.hpp"
#include "hv/ext/windows.hpp"
#include "tlfs_cpuid.hpp"

namespace hv::viridian {

/// The interface level that the leaves conform to, as its first hypervisor reported itself: 10.0, build
/// 17763.
inline constexpr std::uint32_t identity_build{17763};
inline constexpr std::uint32_t identity_version{10u << 16};
/// Failed attempts at a spin lock before the guest should tell the hypervisor.
inline constexpr std::uint32_t spin_attempts{4095};
inline constexpr std::uint32_t maximum_virtual_processors{64};

constexpr abi::CpuidResult vendor_leaf()
{
    return ext::signature("Microsoft Hv", tlfs::leaf_hardware);  // EAX: the last leaf, relative to the block
}

constexpr abi::CpuidResult interface_leaf()
{
    return {.eax = abi::table_magic('H', 'v', '#', '1')};
}

constexpr abi::CpuidResult identity_leaf()
{
    return {.eax = identity_build, .ebx = identity_version};
}

/// `tsc_control`: the invariant-TSC control is there.
constexpr abi::CpuidResult features_leaf(Features features, bool tsc_control = false)
{
    using P = tlfs::Privileges;
    using M = tlfs::MiscellaneousFeatures;
    const bool time{features.has(Feature::time)};
    std::uint64_t privileges{P::AccessHypercallMsrs::mask | P::AccessVpIndex::mask |
                             P::EnableExtendedHypercalls::mask};
    privileges = P::AccessPartitionReferenceCounter::set(privileges, time);
    privileges = P::AccessPartitionReferenceTsc::set(privileges, time);
    privileges = P::AccessFrequencyRegs::set(privileges, time);
    privileges = P::AccessTscInvariantControls::set(privileges, tsc_control);
    privileges = P::AccessVpRunTimeReg::set(privileges, features.has(Feature::runtime));
    privileges = P::AccessGuestIdleReg::set(privileges, features.has(Feature::idle));
    privileges = P::AccessSynicRegs::set(privileges, features.has(Feature::synic));
    privileges = P::AccessSyntheticTimerRegs::set(privileges, features.has(Feature::stimer));
    privileges = P::AccessIntrCtrlRegs::set(privileges, features.has(Feature::apic));
    privileges = P::PostMessages::set(privileges, features.has(Feature::messages));
    privileges = P::SignalEvents::set(privileges, features.has(Feature::messages));
    privileges = P::AccessResetReg::set(privileges, features.has(Feature::reset));
    std::uint64_t miscellaneous{M::HypercallMsrLockAvailable::mask};
    miscellaneous = M::XmmHypercallInputAvailable::set(miscellaneous, features.has(Feature::input));
    miscellaneous = M::FrequencyRegsAvailable::set(miscellaneous, time);
    miscellaneous = M::GuestIdleAvailable::set(miscellaneous, features.has(Feature::idle));
    miscellaneous = M::SintPollingModeAvailable::set(miscellaneous, features.has(Feature::synic));
    miscellaneous = M::DirectSyntheticTimers::set(miscellaneous, features.has(Feature::stimer));
    miscellaneous = M::GuestCrashRegsAvailable::set(miscellaneous, features.has(Feature::crash));
    return {.eax = static_cast<std::uint32_t>(privileges),
            .ebx = static_cast<std::uint32_t>(privileges >> 32),
            .ecx = 0,
            .edx = static_cast<std::uint32_t>(miscellaneous)};
}

constexpr abi::CpuidResult recommendations_leaf(Features features)
{
    using R = tlfs::Recommendations;
    std::uint64_t hints{R::UseRelaxedTiming::mask | R::DeprecateAutoEoi::mask};
    hints = R::UseHypercallForRemoteFlush::set(hints, features.has(Feature::tlbflush));
    hints = R::UseApicMsrs::set(hints, features.has(Feature::apic));
    hints = R::UseMsrForReset::set(hints, features.has(Feature::reset));
    hints = R::UseSyntheticClusterIpi::set(hints, features.has(Feature::ipi));
    hints = R::UseExProcessorMasks::set(hints, features.has(Feature::tlbflush) || features.has(Feature::ipi));
    return {.eax = static_cast<std::uint32_t>(hints), .ebx = spin_attempts};
}

constexpr abi::CpuidResult limits_leaf()
{
    return {.eax = maximum_virtual_processors, .ebx = maximum_virtual_processors};
}

constexpr abi::CpuidResult hardware_leaf()
{
    using H = tlfs::HardwareFeatures;
    return {.eax = static_cast<std::uint32_t>(H::MsrBitmaps::mask | H::SecondLevelAddressTranslation::mask)};
}

/// All leaves, ready to be declared in the window `window`.
constexpr std::array<abi::DeclaredLeaf, 7> all_leaves(std::uint32_t window, Features features, bool tsc_control)
{
    const auto leaf = [window](std::uint32_t number, abi::CpuidResult values) {
        const std::uint32_t relative{number == tlfs::leaf_vendor ? abi::leaf_eax_plus_base : 0};
        return abi::DeclaredLeaf{
            .window = window, .leaf = number, .flags = abi::leaf_any_subleaf | relative, .values = values};
    };
    return {leaf(tlfs::leaf_vendor, vendor_leaf()),
            leaf(tlfs::leaf_interface, interface_leaf()),
            leaf(tlfs::leaf_identity, identity_leaf()),
            leaf(tlfs::leaf_features, features_leaf(features, tsc_control)),
            leaf(tlfs::leaf_recommendations, recommendations_leaf(features)),
            leaf(tlfs::leaf_limits, limits_leaf()),
            leaf(tlfs::leaf_hardware, hardware_leaf())};
}

}  // namespace hv::viridian
