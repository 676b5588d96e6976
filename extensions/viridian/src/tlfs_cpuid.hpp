// SPDX-License-Identifier: MIT
//
// The CPUID leaves of the "Hv#1" interface: numbers relative to the block, and the bits of the feature and
// recommendation leaves that this module ever sets.  Definitions alone; what a domain is told is decided in
// cpuid.hpp. Specification: [TLFS-6.0b §2.4].
#pragma once

#include "hv/base/field.hpp"

namespace hv::viridian::tlfs {

inline constexpr std::uint32_t leaf_vendor{0};
inline constexpr std::uint32_t leaf_interface{1};
inline constexpr std::uint32_t leaf_identity{2};
inline constexpr std::uint32_t leaf_features{3};
inline constexpr std::uint32_t leaf_recommendations{4};
inline constexpr std::uint32_t leaf_limits{5};
inline constexpr std::uint32_t leaf_hardware{6};

/// EAX and EBX of leaf 0x40000003: the partition's privileges.  Most of EBX are privileges over other partitions; a guest that
/// finds some of those takes itself for the root partition.
struct Privileges {
    using AccessVpRunTimeReg = Bit<0>;
    using AccessPartitionReferenceCounter = Bit<1>;
    using AccessSynicRegs = Bit<2>;
    using AccessSyntheticTimerRegs = Bit<3>;
    using AccessIntrCtrlRegs = Bit<4>;
    using AccessHypercallMsrs = Bit<5>;
    using AccessVpIndex = Bit<6>;
    using AccessResetReg = Bit<7>;
    using AccessPartitionReferenceTsc = Bit<9>;
    using AccessGuestIdleReg = Bit<10>;
    using AccessFrequencyRegs = Bit<11>;
    using AccessTscInvariantControls = Bit<15>;
    using PostMessages = Bit<32 + 4>;
    using SignalEvents = Bit<32 + 5>;
    using EnableExtendedHypercalls = Bit<32 + 20>;
};

/// EDX of leaf 0x80000007 of the processor itself [APM3-3.35 Appendix E].
inline constexpr std::uint32_t leaf_processor_power{0x8000'0007};
struct ProcessorPower {
    using InvariantTsc = Bit<8>;
};

/// EDX of leaf 0x40000003.
struct MiscellaneousFeatures {
    using XmmHypercallInputAvailable = Bit<4>;
    using GuestIdleAvailable = Bit<5>;
    using FrequencyRegsAvailable = Bit<8>;
    using GuestCrashRegsAvailable = Bit<10>;
    using SintPollingModeAvailable = Bit<17>;
    using HypercallMsrLockAvailable = Bit<18>;
    using DirectSyntheticTimers = Bit<19>;
};

/// EAX of leaf 0x40000004.
struct Recommendations {
    using UseHypercallForRemoteFlush = Bit<2>;
    using UseApicMsrs = Bit<3>;
    using UseMsrForReset = Bit<4>;
    using UseRelaxedTiming = Bit<5>;
    using DeprecateAutoEoi = Bit<9>;
    using UseSyntheticClusterIpi = Bit<10>;
    using UseExProcessorMasks = Bit<11>;
};

/// EAX of leaf 0x40000006.
struct HardwareFeatures {
    using MsrBitmaps = Bit<1>;
    using SecondLevelAddressTranslation = Bit<3>;
};

}  // namespace hv::viridian::tlfs
