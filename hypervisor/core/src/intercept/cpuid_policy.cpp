// SPDX-License-Identifier: MIT
//
// An allow-list per register: a feature that is not named here is not shown.  Bit positions are those of [APM3-3.35
// Appendix E] and [SDM2-083 "CPUID"].
#include "hv/core/intercept/cpuid_policy.hpp"

#include <initializer_list>

#include "hv/base/assert.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/msr.hpp"

namespace hv::core {
namespace {

using x86::CpuidResult;

constexpr std::uint32_t bits(std::initializer_list<unsigned> positions)
{
    std::uint32_t mask{};
    for (const unsigned position : positions)
        mask |= 1u << position;
    return mask;
}

// Leaf 1.  Not shown: DTES64, MONITOR, VMX, SMX, EST, TM2, PDCM, PCID, DCA (ECX); MCE, MCA, MTRR, DS, ACPI, TM, PBE (EDX).
constexpr std::uint32_t leaf_1_ecx{bits({0, 1, 9, 12, 13, 19, 20, 22, 23, 25, 26, 28, 29, 30})};
constexpr std::uint32_t leaf_1_edx{bits({0, 1, 2, 3, 4, 5, 6, 8, 9, 11, 13, 15, 16, 17, 19, 23, 24, 25, 26})};
constexpr std::uint32_t leaf_1_ecx_provided{bits({21, 24, 31})};  // x2APIC, TSC deadline, hypervisor
constexpr std::uint32_t leaf_1_ecx_osxsave{1u << 27};
constexpr std::uint32_t leaf_1_ecx_xsave{1u << 26};
constexpr std::uint32_t leaf_1_edx_multithreaded{1u << 28};
// Leaf 6: ARAT, the local APIC timer never stops.
constexpr std::uint32_t leaf_6_eax_provided{1u << 2};
// Leaf 7: FSGSBASE, BMI1, AVX2, SMEP, BMI2, ERMS, RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB, SHA; UMIP, GFNI, VAES, VPCLMULQDQ.
constexpr std::uint32_t leaf_7_ebx{bits({0, 3, 5, 7, 8, 9, 18, 19, 20, 23, 24, 29})};
constexpr std::uint32_t leaf_7_ebx_provided{bits({1})};  // TSC_ADJUST
constexpr std::uint32_t leaf_7_ecx{bits({2, 8, 9, 10})};
constexpr std::uint32_t leaf_7_edx{bits({4})};  // fast short REP MOV
// Leaf 0xD subleaf 1: XSAVEOPT, XSAVEC, XGETBV with ECX 1.  Not XSAVES: no supervisor state is offered.
constexpr std::uint32_t leaf_d_1_eax{bits({0, 1, 2})};
constexpr std::uint64_t xcr0_offered{7};  // x87, SSE, AVX
// Leaf 0x80000001.  Not shown: SVM, OSVW, IBS, SKINIT, WDT, TOPOEXT, performance counters, RDTSCP.
constexpr std::uint32_t leaf_81_ecx{bits({0, 4, 5, 6, 7, 8, 11, 16, 21})};
constexpr std::uint32_t leaf_81_ecx_legacy_cores{1u << 1};
constexpr std::uint32_t leaf_81_edx{bits({0, 1, 2, 3, 4, 5, 6, 8, 9, 11, 13, 15, 16, 17, 20, 22, 23, 24, 25, 26, 29, 30, 31})};
constexpr std::uint32_t leaf_87_edx{1u << 8};  // invariant TSC
constexpr std::uint32_t extended_maximum{0x8000'0008};
constexpr std::uint32_t basic_maximum{0x0d};
constexpr std::uint64_t cr4_osxsave{1u << 18};
constexpr std::uint32_t legacy_area{576};  // x87, SSE and the header of an XSAVE area [SDM1-083 §13.4]

constexpr unsigned bits_to_count(unsigned count)
{
    unsigned width{0};
    while ((1u << width) < count)
        ++width;
    return width;
}

constexpr CpuidResult masked(const CpuidResult& values, const CpuidResult& mask)
{
    return {values.eax & mask.eax, values.ebx & mask.ebx, values.ecx & mask.ecx, values.edx & mask.edx};
}

constexpr CpuidResult merged(const CpuidResult& a, const CpuidResult& b)
{
    return {a.eax | b.eax, a.ebx | b.ebx, a.ecx | b.ecx, a.edx | b.edx};
}

}  // namespace

CpuidPolicy::CpuidPolicy(CpuidReader host, unsigned vcpus)
{
    add_basic(host, vcpus);
    add_topology(vcpus);
    add_extended_state(host);
    add(hypervisor_leaf, 0, {hypervisor_leaf, 0x6661'7247, 0x6172'4774, 0x5648'7466});
    add_extended(host, vcpus);
    index();
}

void CpuidPolicy::add(std::uint32_t leaf, std::uint32_t subleaf, const CpuidResult& values)
{
    const bool added = leaves_.push_back({leaf, subleaf, values});
    HV_ASSERT(added);
}

void CpuidPolicy::add_basic(CpuidReader host, unsigned vcpus)
{
    const CpuidResult vendor = host(0, 0);
    add(0, 0, {basic_maximum, vendor.ebx, vendor.ecx, vendor.edx});
    const CpuidResult features = host(1, 0);
    // EBX: CLFLUSH size stays; the number of logical processors is the guest's, the initial APIC ID the VCPU's.
    add(1, 0, {features.eax, (features.ebx & 0xff00) | (vcpus > 255 ? 255 : vcpus) << 16,
               (features.ecx & leaf_1_ecx) | leaf_1_ecx_provided,
               (features.edx & leaf_1_edx) | (vcpus > 1 ? leaf_1_edx_multithreaded : 0)});
    add(6, 0, {leaf_6_eax_provided, 0, 0, 0});
    const CpuidResult structured = host(0, 0).eax >= 7 ? host(7, 0) : CpuidResult{};
    add(7, 0, {0, (structured.ebx & leaf_7_ebx) | leaf_7_ebx_provided, structured.ecx & leaf_7_ecx, structured.edx & leaf_7_edx});
}

/// Leaf 0xB: one thread to a core, all cores in one package; the APIC ID is the VCPU's number [SDM2-083 "CPUID", leaf 0BH].
void CpuidPolicy::add_topology(unsigned vcpus)
{
    constexpr std::uint32_t level_thread{1};
    constexpr std::uint32_t level_core{2};
    add(0xb, 0, {0, 1, level_thread << 8 | 0, 0});
    add(0xb, 1, {bits_to_count(vcpus), vcpus, level_core << 8 | 1, 0});
    add(0xb, 2, {0, 0, 2, 0});
}

void CpuidPolicy::add_extended_state(CpuidReader host)
{
    if ((host(1, 0).ecx & leaf_1_ecx_xsave) == 0)
        return;
    const CpuidResult main = host(0xd, 0);
    const std::uint64_t xcr0 = (std::uint64_t{main.edx} << 32 | main.eax) & xcr0_offered;
    std::uint32_t size{legacy_area};
    for (unsigned component = 2; component < 8; ++component)
        if ((xcr0 >> component & 1) != 0) {
            const CpuidResult area = host(0xd, component);
            size = area.eax + area.ebx > size ? area.eax + area.ebx : size;
        }
    add(0xd, 0, {static_cast<std::uint32_t>(xcr0), legacy_area, size, 0});
    add(0xd, 1, {host(0xd, 1).eax & leaf_d_1_eax, 0, 0, 0});
    for (unsigned component = 2; component < 8; ++component)
        if ((xcr0 >> component & 1) != 0) {
            const CpuidResult area = host(0xd, component);
            add(0xd, component, {area.eax, area.ebx, area.ecx & 2, 0});
        }
}

void CpuidPolicy::add_extended(CpuidReader host, unsigned vcpus)
{
    const std::uint32_t maximum = host(0x8000'0000, 0).eax;
    const CpuidResult vendor = host(0, 0);
    add(0x8000'0000, 0, {extended_maximum, vendor.ebx, vendor.ecx, vendor.edx});
    const CpuidResult features = host(0x8000'0001, 0);
    add(0x8000'0001, 0, {features.eax, 0, (features.ecx & leaf_81_ecx) | (vcpus > 1 ? leaf_81_ecx_legacy_cores : 0),
                         features.edx & leaf_81_edx});
    for (std::uint32_t leaf = 0x8000'0002; leaf <= 0x8000'0006; ++leaf)
        add(leaf, 0, maximum >= leaf ? host(leaf, 0) : CpuidResult{});
    add(0x8000'0007, 0, {0, 0, 0, maximum >= 0x8000'0007 ? host(0x8000'0007, 0).edx & leaf_87_edx : 0});
    const CpuidResult sizes = maximum >= 0x8000'0008 ? host(0x8000'0008, 0) : CpuidResult{0x3024, 0, 0, 0};
    physical_address_bits_ = sizes.eax & 0xff;
    // EAX: address widths, without a fifth paging level.  ECX: number of cores and width of their part of the APIC ID.
    const std::uint32_t linear_bits = (sizes.eax >> 8 & 0xff) > 48 ? 48 : sizes.eax >> 8 & 0xff;
    add(0x8000'0008, 0, {physical_address_bits_ | linear_bits << 8, 0, (vcpus - 1) | bits_to_count(vcpus) << 12, 0});
}

void CpuidPolicy::index()
{
    for (std::size_t at = leaves_.size(); at-- > 0;) {
        const std::uint32_t leaf = leaves_[at].leaf;
        if (leaf < direct)
            basic_[leaf] = static_cast<std::uint8_t>(at + 1);
        else if (leaf - 0x8000'0000 < direct)
            extended_[leaf - 0x8000'0000] = static_cast<std::uint8_t>(at + 1);
    }
}

const CpuidPolicy::Leaf* CpuidPolicy::find(std::uint32_t leaf, std::uint32_t subleaf) const
{
    std::size_t at{};
    if (leaf < direct)
        at = basic_[leaf];
    else if (leaf - 0x8000'0000 < direct)
        at = extended_[leaf - 0x8000'0000];
    if (at == 0) {
        for (const Leaf& candidate : leaves_)  // the hypervisor's leaf of a domain without extensions
            if (candidate.leaf == leaf)
                return &candidate;
        return nullptr;
    }
    const bool has_subleaves{leaf == 0xb || leaf == 0xd || leaf == 7};
    if (!has_subleaves)
        return &leaves_[at - 1];
    for (--at; at < leaves_.size() && leaves_[at].leaf == leaf; ++at)
        if (leaves_[at].subleaf == subleaf)
            return &leaves_[at];
    return nullptr;
}

Status CpuidPolicy::adjust(const CpuidAdjustment& adjustment)
{
    const Leaf* const found = find(adjustment.leaf, adjustment.subleaf);
    if (found == nullptr && adjustment.or_mask == CpuidResult{})
        return Done{};  // it reads as zeroes already
    if (found == nullptr)
        return Error::not_found;
    if (merged(found->values, adjustment.or_mask) != found->values)
        return Error::not_supported;
    Leaf& leaf = leaves_[static_cast<std::size_t>(found - leaves_.begin())];
    leaf.values = merged(masked(leaf.values, adjustment.and_mask), adjustment.or_mask);
    return Done{};
}

CpuidResult CpuidPolicy::answer(std::uint32_t leaf, std::uint32_t subleaf, const CpuidVcpu& vcpu) const
{
    const Leaf* const found = find(leaf, subleaf);
    if (found == nullptr)
        return leaf == 0xb ? CpuidResult{0, 0, subleaf & 0xff, vcpu.apic_id} : CpuidResult{};
    if (leaf == 0xd && xcr0_supported() == 0)
        return {};
    CpuidResult result{found->values};
    if (leaf == 1) {
        result.ebx |= vcpu.apic_id << 24;
        if ((vcpu.cr4 & cr4_osxsave) != 0)
            result.ecx |= leaf_1_ecx_osxsave;
    } else if (leaf == 0xb) {
        result.edx = vcpu.apic_id;
    } else if (leaf == 0xd && subleaf == 0) {
        result.ebx = standard_area(vcpu.xcr0);
    } else if (leaf == 0xd && subleaf == 1 && result.eax != 0) {
        result.ebx = compacted_area(vcpu.xcr0);
    }
    return result;
}

CpuidResult CpuidPolicy::values(std::uint32_t leaf) const
{
    const Leaf* const found = find(leaf, 0);
    return found == nullptr ? CpuidResult{} : found->values;
}

std::uint64_t CpuidPolicy::xcr0_supported() const
{
    const CpuidResult state = values(0xd);
    return x86::CpuidFeaturesEcx::XSAVE::get(values(1).ecx) ? std::uint64_t{state.edx} << 32 | state.eax : 0;
}

bool CpuidPolicy::has_x2apic() const { return x86::CpuidFeaturesEcx::X2APIC::get(values(1).ecx); }

bool CpuidPolicy::has_tsc_deadline() const { return x86::CpuidFeaturesEcx::TSC_DEADLINE::get(values(1).ecx); }
bool CpuidPolicy::has_tsc_adjust() const { return (values(7).ebx & leaf_7_ebx_provided) != 0; }

/// [APM2-3.41 §3.1.3].  MCE and PCE go with no feature that a guest is shown, and do nothing in it: machine checks and RDPMC
/// are intercepted.  PCIDE, LA57, PKE, CET and PKS go with features that no guest is shown, and what goes with those bits
/// (their order against EFER.LMA and CR3 when set) is nowhere carried out.
std::uint64_t CpuidPolicy::cr4_supported() const
{
    using namespace x86;
    const CpuidResult features = values(1);
    const CpuidResult structured = values(7);
    std::uint64_t bits{Cr4::MCE::mask | Cr4::PCE::mask};
    const auto allow = [&](bool shown, std::uint64_t mask) { bits |= shown ? mask : 0; };
    allow(CpuidFeaturesEdx::VME::get(features.edx), Cr4::VME::mask | Cr4::PVI::mask);
    allow(CpuidFeaturesEdx::TSC::get(features.edx), Cr4::TSD::mask);
    allow(CpuidFeaturesEdx::DE::get(features.edx), Cr4::DE::mask);
    allow(CpuidFeaturesEdx::PSE::get(features.edx), Cr4::PSE::mask);
    allow(CpuidFeaturesEdx::PAE::get(features.edx), Cr4::PAE::mask);
    allow(CpuidFeaturesEdx::PGE::get(features.edx), Cr4::PGE::mask);
    allow(CpuidFeaturesEdx::FXSR::get(features.edx), Cr4::OSFXSR::mask);
    allow(CpuidFeaturesEdx::SSE::get(features.edx), Cr4::OSXMMEXCPT::mask);
    allow(CpuidFeaturesEcx::XSAVE::get(features.ecx), Cr4::OSXSAVE::mask);
    allow(CpuidStructuredEbx::FSGSBASE::get(structured.ebx), Cr4::FSGSBASE::mask);
    allow(CpuidStructuredEbx::SMEP::get(structured.ebx), Cr4::SMEP::mask);
    allow(CpuidStructuredEbx::SMAP::get(structured.ebx), Cr4::SMAP::mask);
    allow(CpuidStructuredEcx::UMIP::get(structured.ecx), Cr4::UMIP::mask);
    return bits;
}

/// [APM2-3.41 §3.1.7].  SVME, LMSLE, TCE and what came later go with features that no guest is shown.
std::uint64_t CpuidPolicy::efer_supported() const
{
    using namespace x86;
    const std::uint32_t features = values(0x8000'0001).edx;
    std::uint64_t bits{};
    const auto allow = [&](bool shown, std::uint64_t mask) { bits |= shown ? mask : 0; };
    allow(CpuidExtendedEdx::SYSCALL::get(features), Efer::SCE::mask);
    allow(CpuidExtendedEdx::NX::get(features), Efer::NXE::mask);
    allow(CpuidExtendedEdx::LM::get(features), Efer::LME::mask | Efer::LMA::mask);
    allow(CpuidExtendedEdx::FFXSR::get(features), Efer::FFXSR::mask);
    return bits;
}

/// Bytes of the XSAVE area for the components of `xcr0`, each at its own offset [SDM1-083 §13.4.3].
std::uint32_t CpuidPolicy::standard_area(std::uint64_t xcr0) const
{
    std::uint32_t size{legacy_area};
    for (const Leaf& area : leaves_)
        if (area.leaf == 0xd && area.subleaf >= 2 && (xcr0 >> area.subleaf & 1) != 0 &&
            area.values.eax + area.values.ebx > size)
            size = area.values.eax + area.values.ebx;
    return size;
}

/// The same with the components one after the other [SDM1-083 §13.4.3].
std::uint32_t CpuidPolicy::compacted_area(std::uint64_t xcr0) const
{
    constexpr std::uint32_t aligned{1u << 1};  // ECX: the component begins at a multiple of 64
    std::uint32_t size{legacy_area};
    for (const Leaf& area : leaves_) {
        if (area.leaf != 0xd || area.subleaf < 2 || (xcr0 >> area.subleaf & 1) == 0)
            continue;
        if ((area.values.ecx & aligned) != 0)
            size = (size + 63) & ~63u;
        size += area.values.eax;
    }
    return size;
}

}  // namespace hv::core
