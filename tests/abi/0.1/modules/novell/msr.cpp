// SPDX-License-Identifier: MIT
//
// The two MSRs that need thought: who the guest is, and where its hypercall page lies.  The page is there
// while both say so.
// Specification: [TLFS-6.0b "Reporting the Guest OS Identity", §3.13].
#include "novell_extension.hpp"

namespace novell {
namespace {

constexpr std::uint32_t the_page{0};

Status remove_page(std::uint64_t domain)
{
    return ext::check(ext::host().hypercall_page_place(domain, the_page, 0, abi::hypercall_page_remove));
}

Status place_page(std::uint64_t domain, std::uint64_t address)
{
    return ext::check(
        ext::host().hypercall_page_place(domain, the_page, address, abi::hypercall_page_overlay));
}

}  // namespace

Expected<std::uint64_t> Novell::read_guest_id(const Vcpu& vcpu, std::uint32_t)
{
    return __atomic_load_n(&vcpu.domain_state().guest_id, __ATOMIC_RELAXED);
}

Expected<std::uint64_t> Novell::read_hypercall(const Vcpu& vcpu, std::uint32_t)
{
    return __atomic_load_n(&vcpu.domain_state().hypercall, __ATOMIC_RELAXED);
}

/// A guest that takes its name back loses the hypercall page.
Status Novell::write_guest_id(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
{
    DomainState* const state{HV_TRY(vcpu.update_domain())};
    if (value == 0 && (state->hypercall & hypercall_enable) != 0) {
        HV_TRY(remove_page(vcpu.domain()));
        __atomic_store_n(&state->hypercall, state->hypercall & ~hypercall_enable, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&state->guest_id, value, __ATOMIC_RELAXED);
    return Done{};
}

/// Once locked, writes have no effect; without a guest id the page cannot be enabled.
Status Novell::write_hypercall(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
{
    DomainState* const state{HV_TRY(vcpu.update_domain())};
    if ((state->hypercall & hypercall_locked) != 0)
        return Done{};
    if (state->guest_id == 0)
        value &= ~hypercall_enable;
    if ((value & hypercall_enable) != 0)
        HV_TRY(place_page(vcpu.domain(), value & hypercall_page_mask));
    else if ((state->hypercall & hypercall_enable) != 0)
        HV_TRY(remove_page(vcpu.domain()));
    __atomic_store_n(&state->hypercall, value, __ATOMIC_RELAXED);
    return Done{};
}

}  // namespace novell
