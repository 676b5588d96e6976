// SPDX-License-Identifier: MIT
//
// CPUID leaves and the feature bits that the hypervisor asks for.  Definitions only: no instruction is
// executed here. [APM3-3.35 appendix E] for AMD's leaves, [SDM2-083 "CPUID"] for the common ones.
#pragma once

#include <cstdint>

#include "hv/base/field.hpp"

namespace hv::x86 {

/// The four registers that one leaf returns.
struct CpuidResult {
    std::uint32_t eax{}, ebx{}, ecx{}, edx{};
    friend constexpr bool operator==(const CpuidResult&, const CpuidResult&) = default;
};

enum class CpuidLeaf : std::uint32_t {
    vendor = 0,
    features = 1,
    structured_features = 7,
    extended_topology = 0xb,
    extended_state = 0xd,
    tsc_frequency = 0x15,
    processor_frequency = 0x16,
    hypervisor_first = 0x4000'0000,
    extended_maximum = 0x8000'0000,
    extended_features = 0x8000'0001,
    power_management = 0x8000'0007,
    address_sizes = 0x8000'0008,
    svm_features = 0x8000'000a,
};

/// Leaf 1.
struct CpuidFeaturesEcx {
    using MONITOR = Bit<3>;
    using PCID = Bit<17>;
    using X2APIC = Bit<21>;
    using TSC_DEADLINE = Bit<24>;
    using XSAVE = Bit<26>;
    using OSXSAVE = Bit<27>;
    using HYPERVISOR = Bit<31>;
};
struct CpuidFeaturesEdx {
    using VME = Bit<1>;
    using DE = Bit<2>;
    using PSE = Bit<3>;
    using TSC = Bit<4>;
    using PAE = Bit<6>;
    using APIC = Bit<9>;
    using PGE = Bit<13>;
    using FXSR = Bit<24>;
    using SSE = Bit<25>;
};

/// Leaf 7, subleaf 0.
struct CpuidStructuredEbx {
    using FSGSBASE = Bit<0>;
    using SMEP = Bit<7>;
    using ERMS = Bit<9>;
    using INVPCID = Bit<10>;
    using SMAP = Bit<20>;
};
struct CpuidStructuredEcx {
    using UMIP = Bit<2>;
    using PKU = Bit<3>;
    using CET_SS = Bit<7>;
    using LA57 = Bit<16>;
    using PKS = Bit<31>;
};
struct CpuidStructuredEdx {
    using CET_IBT = Bit<20>;
};

/// Leaf 0x80000001.
struct CpuidExtendedEcx {
    using SVM = Bit<2>;
};
struct CpuidExtendedEdx {
    using SYSCALL = Bit<11>;
    using NX = Bit<20>;
    using FFXSR = Bit<25>;
    using PAGE1GB = Bit<26>;
    using RDTSCP = Bit<27>;
    using LM = Bit<29>;
};

/// Leaf 0x8000000a, EDX [APM2-3.41 §15.33 and others].
struct CpuidSvmEdx {
    using NP = Bit<0>;
    using LBR_VIRT = Bit<1>;
    using NRIPS = Bit<3>;
    using TSC_RATE_MSR = Bit<4>;
    using VMCB_CLEAN = Bit<5>;
    using FLUSH_BY_ASID = Bit<6>;
    using DECODE_ASSISTS = Bit<7>;
    using PAUSE_FILTER = Bit<10>;
    using PAUSE_FILTER_THRESHOLD = Bit<12>;
    using AVIC = Bit<13>;
    using VIRTUAL_VMLOAD_VMSAVE = Bit<15>;
    using VGIF = Bit<16>;
    using SVME_ADDRESS_CHECK = Bit<28>;
};

}  // namespace hv::x86
