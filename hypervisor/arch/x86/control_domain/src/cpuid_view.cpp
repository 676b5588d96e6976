// SPDX-License-Identifier: MIT
#include "hv/arch/x86/control_domain/cpuid_view.hpp"

#include "hv/x86/control_registers.hpp"

namespace hv::control_domain {

namespace {

using x86::CpuidLeaf;
using x86::CpuidResult;

constexpr std::uint32_t hypervisor_leaves_end{0x5000'0000};

template <typename Flag>
void assign(std::uint32_t& word, bool value)
{
    word = static_cast<std::uint32_t>(Flag::set(word, value));
}

/// "GraftGraftHV": the name that is found where no extension claims the block.
CpuidResult hypervisor_leaf(std::uint32_t leaf)
{
    if (leaf != static_cast<std::uint32_t>(CpuidLeaf::hypervisor_first))
        return {};
    return {.eax = leaf, .ebx = 0x66617247, .ecx = 0x61724774, .edx = 0x56487466};
}

}  // namespace

CpuidResult view_cpuid(std::uint32_t leaf, const CpuidResult& host, const CpuidView& view)
{
    using OSPKE = Bit<4>;    // leaf 7 ECX
    using SKINIT = Bit<12>;  // leaf 0x80000001 ECX
    CpuidResult result = host;
    if (leaf >= static_cast<std::uint32_t>(CpuidLeaf::hypervisor_first) && leaf < hypervisor_leaves_end)
        return hypervisor_leaf(leaf);
    switch (static_cast<CpuidLeaf>(leaf)) {
    case CpuidLeaf::features:
        assign<x86::CpuidFeaturesEcx::HYPERVISOR>(result.ecx, true);
        assign<x86::CpuidFeaturesEcx::OSXSAVE>(result.ecx, x86::Cr4::OSXSAVE::get(view.cr4));
        if (!view.x2apic_mode)
            assign<x86::CpuidFeaturesEcx::X2APIC>(result.ecx, false);
        break;
    case CpuidLeaf::structured_features:
        assign<x86::CpuidStructuredEcx::LA57>(result.ecx, false);
        assign<OSPKE>(result.ecx, x86::Cr4::PKE::get(view.cr4));
        break;
    case CpuidLeaf::extended_features:
        assign<x86::CpuidExtendedEcx::SVM>(result.ecx, false);
        assign<SKINIT>(result.ecx, false);
        break;
    case CpuidLeaf::svm_features: return {};
    default: break;
    }
    return result;
}

}  // namespace hv::control_domain
