// SPDX-License-Identifier: MIT
//
// Asking the processor: see features.hpp.
#include "hv/arch/x86/cpu/features.hpp"

#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/arch/x86/cpu/msr_access.hpp"

namespace hv::x86 {

namespace {

constinit Features boot_features{};

bool is_amd(const CpuidResult& vendor)
{
    const bool authentic =
        vendor.ebx == 0x6874'7541 && vendor.edx == 0x6974'6e65 && vendor.ecx == 0x444d'4163;
    const bool hygon = vendor.ebx == 0x6f67'7948 && vendor.edx == 0x6e65'476e && vendor.ecx == 0x656e'6975;
    return authentic || hygon;
}

}  // namespace

Features detect_features()
{
    Features found{};
    const CpuidResult vendor = cpuid(CpuidLeaf::vendor);
    const CpuidResult basic = cpuid(CpuidLeaf::features);
    const std::uint32_t extended_maximum = cpuid(CpuidLeaf::extended_maximum).eax;
    const CpuidResult extended = cpuid(CpuidLeaf::extended_features);
    found.amd = is_amd(vendor);
    found.local_apic = CpuidFeaturesEdx::APIC::get(basic.edx);
    found.svm = CpuidExtendedEcx::SVM::get(extended.ecx);
    found.no_execute = CpuidExtendedEdx::NX::get(extended.edx);
    found.huge_pages = CpuidExtendedEdx::PAGE1GB::get(extended.edx);
    found.physical_address_bits = 36;
    if (vendor.eax >= static_cast<std::uint32_t>(CpuidLeaf::structured_features)) {
        const CpuidResult structured = cpuid(CpuidLeaf::structured_features);
        found.smep = CpuidStructuredEbx::SMEP::get(structured.ebx);
        found.smap = CpuidStructuredEbx::SMAP::get(structured.ebx);
        found.umip = CpuidStructuredEcx::UMIP::get(structured.ecx);
    }
    if (extended_maximum >= static_cast<std::uint32_t>(CpuidLeaf::address_sizes))
        found.physical_address_bits = cpuid(CpuidLeaf::address_sizes).eax & 0xff;
    if (found.svm && extended_maximum >= static_cast<std::uint32_t>(CpuidLeaf::svm_features)) {
        const CpuidResult svm = cpuid(CpuidLeaf::svm_features);
        found.svm_revision = svm.eax & 0xff;
        found.asids = svm.ebx;
        found.svm_features = svm.edx;
        found.nested_paging = CpuidSvmEdx::NP::get(svm.edx);
    }
    return found;
}

const Features& features()
{
    return boot_features;
}

void initialize_features()
{
    boot_features = detect_features();
}

bool has_all_of(const Features& found, const Features& wanted)
{
    const auto implies = [](bool needed, bool present) { return present || !needed; };
    const auto& [amd, svm, nested_paging, no_execute, huge_pages, local_apic, smep, smap, umip, svm_revision,
                 asids, svm_features, physical_address_bits] = found;
    return implies(wanted.amd, amd) && implies(wanted.svm, svm) &&
           implies(wanted.nested_paging, nested_paging) && implies(wanted.no_execute, no_execute) &&
           implies(wanted.huge_pages, huge_pages) && implies(wanted.local_apic, local_apic) &&
           implies(wanted.smep, smep) && implies(wanted.smap, smap) && implies(wanted.umip, umip) &&
           svm_revision >= wanted.svm_revision && asids >= wanted.asids &&
           (svm_features & wanted.svm_features) == wanted.svm_features &&
           physical_address_bits >= wanted.physical_address_bits;
}

Status require_features(const Features& found, TextWriter& why)
{
    if (!found.svm) {
        say(why, "Graft needs AMD SVM, and this processor does not have it.");
        return Error::not_supported;
    }
    const auto vm_cr = read_msr_safe(Msr::VM_CR);  // [APM2-3.41 §15.4]
    if (vm_cr && VmCr::SVMDIS::get(vm_cr.value())) {
        say(why, "Graft needs AMD SVM, and the firmware has disabled it: look for SVM or virtualization in "
                 "its setup.");
        return Error::not_supported;
    }
    if (!found.nested_paging) {
        say(why, "Graft needs AMD SVM with nested paging, and this processor does not have nested paging.");
        return Error::not_supported;
    }
    if (!found.no_execute) {
        say(why, "Graft needs no-execute pages, and this processor does not have them.");
        return Error::not_supported;
    }
    if (!found.local_apic) {
        say(why, "Graft needs a local APIC, and this processor does not have one.");
        return Error::not_supported;
    }
    return Done{};
}

}  // namespace hv::x86
