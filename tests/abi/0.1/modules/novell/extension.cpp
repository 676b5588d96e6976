// SPDX-License-Identifier: MIT
//
// What happens once per domain: the leaf that says where the MSRs are, and the bytes of the hypercall page.
#include "novell_extension.hpp"

namespace novell {

abi::Verdict Novell::domain_create(Domain domain)
{
    const abi::WindowGrant* const granted{domain.grant(msr_window)};
    if (granted == nullptr)
        return ext::refuse(Error::not_found);
    const std::array version{
        abi::DeclaredLeaf{.window = leaves_window,
                          .leaf = leaf_version,
                          .flags = abi::leaf_any_subleaf,
                          .values = {.eax = std::uint32_t{info.version_major} << 16 | info.version_minor,
                                     .ebx = static_cast<std::uint32_t>(granted->base),
                                     .ecx = msr_count}}};
    if (const auto declared = domain.declare(version); !declared)
        return ext::refuse(declared.error());
    return abi::done;
}

/// BTR EAX, 31; BTS EAX, 30: the tag, by which calls of this page are told from those of other interfaces in
/// the same guest. The same bytes do in 32-bit and in 64-bit code [APM3-3.35 "BTR", "BTS"].
abi::Verdict Novell::hypercall_page(Domain, const abi::HypercallPageRequest& request)
{
    constexpr std::array<std::uint8_t, 8> set_tag{0x0f, 0xba, 0xf0, 0x1f, 0x0f, 0xba, 0xe8, 0x1e};
    constexpr std::uint8_t near_return{0xc3};
    std::uint8_t* next{std::copy(set_tag.begin(), set_tag.end(), request.bytes)};
    next = std::copy_n(request.instruction, request.instruction_length, next);
    *next = near_return;
    return abi::done;
}

}  // namespace novell

HV_EXTENSION(novell::Novell)
