// SPDX-License-Identifier: MIT
#include "processor_description.hpp"

#include <cstring>

#include "hv/arch/x86/cpu/features.hpp"
#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/base/bounded_text.hpp"

namespace hv {

std::string_view processor_name()
{
    constexpr std::uint32_t first_leaf{0x8000'0002};  // the brand string [APM3-3.35 §E.4.2]
    static char name[49];
    for (std::uint32_t part = 0; part < 3; ++part) {
        const x86::CpuidResult words = x86::cpuid(first_leaf + part, 0);
        std::memcpy(name + part * sizeof words, &words, sizeof words);
    }
    return {name, std::strlen(name)};
}

std::string_view processor_features()
{
    static BoundedText<200> text;
    const x86::Features& found = x86::features();
    const auto word = [](bool present, std::string_view name) {
        if (present)
            say(text, text.view().empty() ? "" : " ", name);
    };
    const std::uint32_t svm = found.svm_features;
    word(found.svm, "svm");
    word(found.nested_paging, "nested-paging");
    word(found.huge_pages, "1gib-pages");
    word(x86::CpuidSvmEdx::NRIPS::get(svm), "next-rip");
    word(x86::CpuidSvmEdx::DECODE_ASSISTS::get(svm), "decode-assists");
    word(x86::CpuidSvmEdx::FLUSH_BY_ASID::get(svm), "flush-by-asid");
    word(x86::CpuidSvmEdx::VMCB_CLEAN::get(svm), "clean-bits");
    word(found.smep, "smep");
    word(found.smap, "smap");
    word(found.umip, "umip");
    return text.view();
}

}  // namespace hv
