// SPDX-License-Identifier: MIT
//
// The MSRs that belong to no larger subject: the guest's identity, reset, the time that a VP ran, and its idle state.
// Specification: [TLFS-6.0b §3.12].
#include "viridian.hpp"

namespace hv::viridian {

/// Taking the identity back disables the hypercall page, unless the guest has locked it.
Status Viridian::write_guest_os_id(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
{
    using Register = tlfs::HypercallRegister;
    auto* const state = HV_TRY(vcpu.update_domain());
    const std::uint64_t page{state->hypercall};
    if (value == 0 && Register::Enable::get(page) && !Register::Locked::get(page)) {
        HV_TRY(ext::check(ext::host().hypercall_page_place(vcpu.domain(), 0, Register::page(page).raw(),
                                                           abi::hypercall_page_remove)));
        state->hypercall = Register::Enable::set(page, false);
    }
    state->guest_os_id = value;
    if (value != 0 && state->identity_said.first())
        ext::log(abi::LogLevel::info, "the guest's identity is ", Hex{value, 16});
    return Done{};
}

Status Viridian::write_reset(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
{
    HV_TRY(check_offered(vcpu, Feature::reset));
    if (!tlfs::ResetRegister::Reset::get(value))
        return Done{};
    return ext::check(ext::host().domain_reset(vcpu.domain()));
}

/// In units of 100 ns.
Expected<std::uint64_t> Viridian::read_runtime(const Vcpu& vcpu, std::uint32_t)
{
    HV_TRY(check_offered(vcpu, Feature::runtime));
    abi::RunStateTimes times{};
    HV_TRY(ext::check(ext::host().run_state_times(vcpu.handle(), &times)));
    return reference_count(times.ns[static_cast<std::uint32_t>(abi::RunState::running)]);
}

/// The VP sleeps until an interrupt is pending, whether it can be taken or not.
Expected<std::uint64_t> Viridian::read_idle(const Vcpu& vcpu, std::uint32_t)
{
    HV_TRY(check_offered(vcpu, Feature::idle));
    HV_TRY(ext::check(ext::host().vcpu_block(vcpu.handle(), abi::wake_interrupt | abi::wake_kick, 0)));
    return 0;
}

}  // namespace hv::viridian
