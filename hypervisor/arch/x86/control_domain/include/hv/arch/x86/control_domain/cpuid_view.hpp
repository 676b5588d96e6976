// SPDX-License-Identifier: MIT
//
// CPUID as the control domain sees it: the processor's own, less virtualization and what the hypervisor's
// walk of its page tables does not follow, plus the hypervisor's signature.  Pure.  Specification: [APM3-3.35
// appendix E].
#pragma once

#include <cstdint>

#include "hv/x86/cpuid.hpp"

namespace hv::control_domain {

struct CpuidView {
    std::uint64_t cr4;  ///< the control domain's: some bits of CPUID mirror it
    bool x2apic_mode;   ///< its local APIC is in x2APIC mode already; else it does not get there
};

/// `host` is what the processor answers for this leaf and subleaf.
[[nodiscard]] x86::CpuidResult view_cpuid(std::uint32_t leaf, const x86::CpuidResult& host,
                                          const CpuidView& view);

}  // namespace hv::control_domain
