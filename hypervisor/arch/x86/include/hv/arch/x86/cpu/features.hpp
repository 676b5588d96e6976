// SPDX-License-Identifier: MIT
//
// What this machine's processors can do, asked once on the boot processor.  All processors are taken to be
// alike, and an application processor that lacks one of these does not go online.
#pragma once

#include <cstdint>

#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"

namespace hv::x86 {

struct Features {
    bool amd;  ///< AuthenticAMD or HygonGenuine
    bool svm, nested_paging;
    bool no_execute, huge_pages;
    bool local_apic;
    bool smep, smap, umip;
    std::uint32_t svm_revision, asids;
    std::uint32_t svm_features;  ///< CPUID 0x8000000a EDX
    unsigned physical_address_bits;
};

/// Reads CPUID.
[[nodiscard]] Features detect_features();
/// Those of the boot processor, after initialize_features().
[[nodiscard]] const Features& features();
void initialize_features();

/// True when a processor has everything that the other one has.
[[nodiscard]] bool has_all_of(const Features& found, const Features& wanted);

/// Fails with not_supported, and one sentence, where the hypervisor cannot run on this processor.
Status require_features(const Features& features, TextWriter& why);

}  // namespace hv::x86
