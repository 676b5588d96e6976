// SPDX-License-Identifier: MIT
//
// The leaves of the interface, as CPUID gives them. Specification: [TLFS-6.0b §2.4].
#include "kit/console.hpp"
#include "kit/machine.hpp"
#include "tlfs/probes.hpp"

namespace guest::tlfs {

Offer probe_leaves()
{
    constexpr std::uint32_t first{0x4000'0000}, last{0x4000'000c}, features{0x4000'0003}, hidden{0x4000'0082};
    print_line("tlfs: cpuid 0x00000001: ecx ", hv::Hex{cpuid(1).ecx, 8});
    for (std::uint32_t leaf = first; leaf <= hidden; leaf = leaf == last ? hidden - 1 : leaf + 1) {
        const CpuidResult seen{cpuid(leaf)};
        print_line("tlfs: cpuid ", hv::Hex{leaf, 8}, ": eax ", hv::Hex{seen.eax, 8}, " ebx ", hv::Hex{seen.ebx, 8}, " ecx ",
                   hv::Hex{seen.ecx, 8}, " edx ", hv::Hex{seen.edx, 8});
    }
    const CpuidResult offered{cpuid(features)};
    return {std::uint64_t{offered.ebx} << 32 | offered.eax, offered.edx};
}

}  // namespace guest::tlfs
