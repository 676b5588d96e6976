// SPDX-License-Identifier: MIT
#include "hv/arch/x86/svm/features.hpp"

#include "hv/x86/control_registers.hpp"
#include "hv/x86/msr.hpp"

namespace hv::svm {

namespace {

constexpr std::uint32_t fxsave_bytes{512};

std::uint64_t control_4_mask(CpuidFunction cpuid)
{
    using namespace x86;
    const CpuidResult features = cpuid(static_cast<std::uint32_t>(CpuidLeaf::features), 0);
    const CpuidResult structured = cpuid(static_cast<std::uint32_t>(CpuidLeaf::structured_features), 0);
    std::uint64_t mask{Cr4::VME::mask | Cr4::PVI::mask | Cr4::TSD::mask | Cr4::DE::mask | Cr4::PSE::mask |
                       Cr4::PAE::mask | Cr4::MCE::mask | Cr4::PGE::mask | Cr4::PCE::mask | Cr4::OSFXSR::mask |
                       Cr4::OSXMMEXCPT::mask};
    const auto allow = [&](bool present, std::uint64_t bits) { mask |= present ? bits : 0; };
    allow(CpuidFeaturesEcx::PCID::get(features.ecx), Cr4::PCIDE::mask);
    allow(CpuidFeaturesEcx::XSAVE::get(features.ecx), Cr4::OSXSAVE::mask);
    allow(CpuidStructuredEbx::FSGSBASE::get(structured.ebx), Cr4::FSGSBASE::mask);
    allow(CpuidStructuredEbx::SMEP::get(structured.ebx), Cr4::SMEP::mask);
    allow(CpuidStructuredEbx::SMAP::get(structured.ebx), Cr4::SMAP::mask);
    allow(CpuidStructuredEcx::UMIP::get(structured.ecx), Cr4::UMIP::mask);
    allow(CpuidStructuredEcx::PKU::get(structured.ecx), Cr4::PKE::mask);
    allow(CpuidStructuredEcx::LA57::get(structured.ecx), Cr4::LA57::mask);
    allow(CpuidStructuredEcx::CET_SS::get(structured.ecx) || CpuidStructuredEdx::CET_IBT::get(structured.edx),
          Cr4::CET::mask);
    allow(CpuidStructuredEcx::PKS::get(structured.ecx), Cr4::PKS::mask);
    return mask;
}

std::uint64_t efer_mask(const x86::CpuidResult& extended)
{
    using namespace x86;
    std::uint64_t mask{Efer::LME::mask | Efer::LMA::mask};
    const auto allow = [&](bool present, std::uint64_t bits) { mask |= present ? bits : 0; };
    allow(CpuidExtendedEdx::SYSCALL::get(extended.edx), Efer::SCE::mask);
    allow(CpuidExtendedEdx::NX::get(extended.edx), Efer::NXE::mask);
    allow(CpuidExtendedEdx::FFXSR::get(extended.edx), Efer::FFXSR::mask);
    return mask;
}

}  // namespace

Features find_features(CpuidFunction cpuid)
{
    using namespace x86;
    const auto ask = [&](CpuidLeaf leaf, std::uint32_t subleaf = 0) {
        return cpuid(static_cast<std::uint32_t>(leaf), subleaf);
    };
    Features found{};
    if (ask(CpuidLeaf::extended_maximum).eax < static_cast<std::uint32_t>(CpuidLeaf::svm_features))
        return found;
    const CpuidResult extended = ask(CpuidLeaf::extended_features);
    const CpuidResult svm = ask(CpuidLeaf::svm_features);
    found.usable = CpuidExtendedEcx::SVM::get(extended.ecx) && CpuidSvmEdx::NP::get(svm.edx) && svm.ebx >= 2;
    found.next_rip = CpuidSvmEdx::NRIPS::get(svm.edx);
    found.decode_assists = CpuidSvmEdx::DECODE_ASSISTS::get(svm.edx);
    found.flush_by_address_space = CpuidSvmEdx::FLUSH_BY_ASID::get(svm.edx);
    found.clean_bits = CpuidSvmEdx::VMCB_CLEAN::get(svm.edx);
    found.pause_filter = CpuidSvmEdx::PAUSE_FILTER::get(svm.edx);
    found.gigabyte_pages = CpuidExtendedEdx::PAGE1GB::get(extended.edx);
    found.tsc_aux = CpuidExtendedEdx::RDTSCP::get(extended.edx);
    found.address_spaces = svm.ebx;
    found.extended_state = CpuidFeaturesEcx::XSAVE::get(ask(CpuidLeaf::features).ecx);
    found.extended_state_bytes = fxsave_bytes;
    if (found.extended_state) {
        const CpuidResult state = ask(CpuidLeaf::extended_state);
        found.extended_state_mask = std::uint64_t{state.edx} << 32 | state.eax;
        found.extended_state_bytes = state.ecx;
    }
    found.control_4_mask = control_4_mask(cpuid);
    found.efer_mask = efer_mask(extended);
    const std::uint32_t bits = ask(CpuidLeaf::address_sizes).eax & 0xff;
    found.physical_address_mask = bits == 0 || bits > 52 ? (1ull << 40) - 1 : (1ull << bits) - 1;
    return found;
}

bool legal_extended_control(std::uint64_t value, std::uint64_t mask)
{
    constexpr std::uint64_t x87{1u << 0}, sse{1u << 1}, avx{1u << 2}, mpx{3u << 3}, avx512{7u << 5},
        amx{3u << 17};
    const auto whole_or_none = [&](std::uint64_t bits) {
        return (value & bits) == 0 || (value & bits) == bits;
    };
    if ((value & ~mask) != 0 || (value & x87) == 0)
        return false;
    if ((value & avx) != 0 && (value & sse) == 0)
        return false;
    if ((value & avx512) != 0 && (value & avx) == 0)
        return false;
    return whole_or_none(mpx) && whole_or_none(avx512) && whole_or_none(amx);
}

}  // namespace hv::svm
