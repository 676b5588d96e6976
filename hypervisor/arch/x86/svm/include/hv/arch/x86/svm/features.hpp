// SPDX-License-Identifier: MIT
//
// What this processor's virtualization can do, out of CPUID once, at boot.  Pure: the test's processor
// answers as well. Specification: [APM2-3.41 §15.4, §15.33], [APM3-3.35 appendix E].
#pragma once

#include <cstdint>

#include "hv/x86/cpuid.hpp"

namespace hv::svm {

/// Optional parts are used where present and never needed.  What is needed (SVM, nested paging) is in
/// `usable`.
struct Features {
    bool usable;
    bool next_rip;
    bool decode_assists;
    bool flush_by_address_space;
    bool clean_bits;
    bool pause_filter;
    bool gigabyte_pages;
    bool extended_state;                  ///< XSAVE, XRSTOR and XCR0
    bool tsc_aux;                         ///< RDTSCP
    std::uint32_t address_spaces;         ///< ASIDs, the host's 0 included
    std::uint64_t extended_state_mask;    ///< bits that XCR0 may have
    std::uint32_t extended_state_bytes;   ///< of a save area with all of them; 512 without XSAVE
    std::uint64_t control_4_mask;         ///< bits that the processor lets CR4 have
    std::uint64_t efer_mask;              ///< bits that it lets a guest's EFER have, of those that are known here
    std::uint64_t physical_address_mask;  ///< bits that a physical address may have
};

using CpuidFunction = x86::CpuidResult (*)(std::uint32_t leaf, std::uint32_t subleaf);
[[nodiscard]] Features find_features(CpuidFunction cpuid);

/// What XSETBV takes as XCR0 [APM2-3.41 §11.5.2], [SDM1-083 §13.3].
[[nodiscard]] bool legal_extended_control(std::uint64_t value, std::uint64_t mask);

}  // namespace hv::svm
