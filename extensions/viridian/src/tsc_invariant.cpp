// SPDX-License-Identifier: MIT
//
// The invariant-TSC control, where the guest's processors have an invariant time-stamp counter: their leaf 0x80000007 does not say so
// until the guest has asked for it, by one bit of one MSR.  A stock kernel that finds the control then trusts the counter itself
// more than the reference TSC page.  Where they have none, there is no such MSR and no exit is looked at.
// Specification: [TLFS-6.0b Appendix C], AccessTscInvariantControls in [TLFS-6.0b §2.4].
#include "tsc_invariant.hpp"

#include "tlfs_cpuid.hpp"

namespace hv::viridian {
namespace {

using tlfs::ProcessorPower;
using Control = tlfs::TscInvariantControl;

Expected<bool> processors_have_it(std::uint64_t domain)
{
    if (!HV_OFFERS(ext::host(), processor_leaf))
        return false;
    abi::CpuidResult leaf{};
    HV_TRY(ext::check(ext::host().processor_leaf(domain, tlfs::leaf_processor_power, 0, &leaf)));
    return ProcessorPower::InvariantTsc::get(leaf.edx);
}

/// The MSR is there; the leaf is changed on its way to the guest.
Status set_conditions(std::uint64_t domain, const Viridian::DomainState& state)
{
    const bool offered{state.tsc_control_offered != 0};
    const bool hidden{offered && !Control::EnableInvariantTsc::get(state.tsc_control)};
    HV_TRY(ext::check(ext::host().set_condition(domain, row::tsc_control_condition, offered ? 1 : 0)));
    return ext::check(ext::host().set_condition(domain, row::tsc_hidden_condition, hidden ? 1 : 0));
}

}  // namespace

/// Decided when the domain begins: a guest that began without the control has seen its processors' own leaf, and goes on so under a
/// later version of the module.
Status offer_tsc_control(const Viridian::Domain& domain, Viridian::DomainState& state)
{
    if (domain.start_reason() == abi::start_create)
        state.tsc_control_offered = Viridian::features_of(state).has(Feature::time) && HV_TRY(processors_have_it(domain.handle())) ? 1 : 0;
    return set_conditions(domain.handle(), state);
}

Status Viridian::write_tsc_control(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
{
    auto* const state = HV_TRY(vcpu.update_domain());
    if (state->tsc_control_offered == 0)
        return Error::permission_denied;
    const std::uint64_t before{state->tsc_control};
    state->tsc_control = value;
    const auto set = set_conditions(vcpu.domain(), *state);
    if (!set)
        state->tsc_control = before;
    return set;
}

/// CPUID of the one leaf, while the counter is hidden.
abi::Verdict Viridian::exit(Vcpu& vcpu, abi::ExitFrame& frame)
{
    abi::CpuidResult leaf{};
    const auto subleaf = static_cast<std::uint32_t>(frame.value);
    if (!ext::check(ext::host().processor_leaf(vcpu.domain(), static_cast<std::uint32_t>(frame.number), subleaf, &leaf)))
        return abi::not_mine;
    const auto reg = [&frame](abi::GeneralRegister which) -> std::uint64_t& { return frame.general[static_cast<std::size_t>(which)]; };
    reg(abi::GeneralRegister::rax) = leaf.eax;
    reg(abi::GeneralRegister::rbx) = leaf.ebx;
    reg(abi::GeneralRegister::rcx) = leaf.ecx;
    reg(abi::GeneralRegister::rdx) = ProcessorPower::InvariantTsc::set(leaf.edx, false);
    return abi::done_unchanged;
}

}  // namespace hv::viridian
