// SPDX-License-Identifier: MIT
//
// What happens once per domain, the leaf that tells the TSC's frequency, and the hypercall page with its MSR.
#include "xen_pv.hpp"

namespace xen {
namespace {

constexpr std::uint32_t the_page{0};
constexpr std::uint64_t page_offset_mask{0xfff};

Status declare_leaves(XenPv::Domain domain, std::uint32_t msr)
{
    abi::DomainInfo info{};
    HV_TRY(ext::check(ext::host().domain_info(domain.handle(), &info)));
    const std::array leaves{
        abi::DeclaredLeaf{.window = XenPv::leaves_window,
                          .leaf = leaf_hypercall_page,
                          .flags = abi::leaf_any_subleaf,
                          .values = {.eax = XenPv::info.hypercall_pages, .ebx = msr}},
        abi::DeclaredLeaf{
            .window = XenPv::leaves_window,
            .leaf = leaf_hvm,
            .flags = abi::leaf_any_subleaf,
            .values = {.eax = hvm_vcpu_id_present | hvm_domain_id_present, .ecx = info.domain_id},
            .field = abi::VcpuField::index,
            .field_register = 1},
    };
    return domain.declare(leaves);
}

Status create_shared_info(XenPv::Domain domain)
{
    XenPv::DomainState* const state{HV_TRY(domain.update())};
    state->shared_info = HV_TRY(ext::Overlay::create(domain.handle()));
    return Done{};
}

}  // namespace

abi::Verdict XenPv::domain_create(Domain domain)
{
    const abi::WindowGrant* const granted{domain.grant(page_window)};
    if (granted == nullptr)
        return ext::refuse(Error::not_found);
    if (const auto declared = declare_leaves(domain, static_cast<std::uint32_t>(granted->base)); !declared)
        return ext::refuse(declared.error());
    if (domain.start_reason() == abi::start_create)
        if (const auto created = create_shared_info(domain); !created)
            return ext::refuse(created.error());
    return abi::done;
}

/// Subleaf 0: mode of the TSC (0, native), its frequency in kHz, and how often the guest was moved; subleaf
/// 2: the host's.
abi::CpuidResult XenPv::time_leaf(const Vcpu& vcpu, std::uint32_t, std::uint32_t subleaf)
{
    constexpr std::uint64_t hz_per_khz{1000};
    constexpr std::uint32_t first_incarnation{1};
    abi::TimeSnapshot snapshot{};
    if (!ext::check(ext::host().time_snapshot(vcpu.handle(), &snapshot)))
        return {};
    const auto khz = static_cast<std::uint32_t>(snapshot.tsc_hz / hz_per_khz);
    if (subleaf == 0)
        return {.ecx = khz, .edx = first_incarnation};
    return {.eax = subleaf == 2 ? khz : 0};
}

/// One entry for each call: MOV EAX, number; the hypercall instruction; RET.  IRET is none for a guest of
/// this kind.
abi::Verdict XenPv::hypercall_page(Domain, const abi::HypercallPageRequest& request)
{
    constexpr std::uint8_t move_to_eax{0xb8}, near_return{0xc3};
    constexpr std::array<std::uint8_t, 2> ud2{0x0f, 0x0b};
    for (std::size_t entry = 0; entry < page_entries; ++entry) {
        std::uint8_t* next{request.bytes + entry * page_entry_bytes};
        if (entry == iret) {
            std::copy(ud2.begin(), ud2.end(), next);
            continue;
        }
        const std::array<std::uint8_t, 5> load{move_to_eax, static_cast<std::uint8_t>(entry), 0, 0, 0};
        next = std::copy(load.begin(), load.end(), next);
        next = std::copy_n(request.instruction, request.instruction_length, next);
        *next = near_return;
    }
    return abi::done;
}

/// The MSR is for writing; it reads as zero.
Expected<std::uint64_t> XenPv::read_page_msr(const Vcpu&, std::uint32_t)
{
    return std::uint64_t{0};
}

/// Bits 11..0 are the page's index, the others where its bytes go, once.
Status XenPv::write_page_msr(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
{
    if ((value & page_offset_mask) >= info.hypercall_pages)
        return Error::invalid_argument;
    return ext::check(ext::host().hypercall_page_place(vcpu.domain(), the_page, value & ~page_offset_mask,
                                                       abi::hypercall_page_copy));
}

}  // namespace xen

HV_EXTENSION(xen::XenPv)
