// SPDX-License-Identifier: MIT
//
// From a hypercall's registers to the call that they name: every check that does not depend on what the call
// does. Specification: [TLFS-6.0b §3].
#include "hypercall.hpp"

namespace hv::viridian {
namespace {

using tlfs::HvStatus;

constexpr std::array<CallRule, 4> calls{{
    {{tlfs::HvCallFlushVirtualAddressSpace, 24, 0}, Feature::tlbflush, flush_address_space},
    {{tlfs::HvCallFlushVirtualAddressList, 24, 8}, Feature::tlbflush, flush_address_list},
    {{tlfs::HvCallNotifyLongSpinWait, 8, 0}, Feature::base, notify_long_spin_wait},
    {{tlfs::HvCallSendSyntheticClusterIpi, 16, 0}, Feature::ipi, send_cluster_ipi},
}};
static_assert(std::ranges::all_of(calls, [](const CallRule& rule) {
    return rule.form.header_bytes <= sizeof(Input) && rule.form.header_bytes % 8 == 0;
}));

const CallRule* rule_of(std::uint16_t code)
{
    const auto found = std::ranges::find(calls, code, [](const CallRule& rule) { return rule.form.code; });
    return found == calls.end() ? nullptr : &*found;
}

/// The fixed input, from the registers or from memory.
HvStatus fetch(const Viridian::Vcpu& vcpu, const Call& call, const CallForm& form, Input& input)
{
    if (call.fast()) {
        input = {call.input, call.output, 0};
        return HvStatus::HV_STATUS_SUCCESS;
    }
    if (!is_placed_well(call.input, form.input_bytes(call)))
        return HvStatus::HV_STATUS_INVALID_ALIGNMENT;
    const auto bytes = std::as_writable_bytes(std::span{input}).first(form.header_bytes);
    if (!vcpu.memory().read_bytes(GuestPhysical{call.input}, bytes))
        return HvStatus::HV_STATUS_INVALID_ALIGNMENT;
    return HvStatus::HV_STATUS_SUCCESS;
}

/// A whole list is done at once, or nothing of it.
Outcome perform(Viridian::Vcpu& vcpu, const Call& call, const CallRule& rule)
{
    Input input{};
    HvStatus status{fetch(vcpu, call, rule.form, input)};
    if (status == HvStatus::HV_STATUS_SUCCESS)
        status = rule.perform(vcpu, input);
    const bool done{status == HvStatus::HV_STATUS_SUCCESS};
    return {status, done ? call.rep_count() : call.rep_start()};
}

/// Fast input that takes more than the two registers is in XMM registers, which are not offered: #UD.
bool wants_vector_registers(const Call& call, const CallForm& form)
{
    return call.fast() && form.input_bytes(call) > tlfs::fast_input_bytes;
}

}  // namespace

abi::Verdict Viridian::hypercall(Vcpu& vcpu, abi::HypercallFrame& frame)
{
    const std::uint64_t page{__atomic_load_n(&vcpu.domain_state().hypercall, __ATOMIC_RELAXED)};
    if (!tlfs::HypercallRegister::Enable::get(page))
        return abi::inject_undefined_opcode;
    const Call call{call_of(frame)};
    const CallRule* const rule{rule_of(call.code())};
    Outcome outcome{};
    if (rule == nullptr)
        outcome.status = HvStatus::HV_STATUS_INVALID_HYPERCALL_CODE;
    else if (!features_of(vcpu.domain_state()).has(rule->feature))
        outcome.status = HvStatus::HV_STATUS_ACCESS_DENIED;
    else if (!rule->form.allows(call))
        outcome.status = HvStatus::HV_STATUS_INVALID_HYPERCALL_INPUT;
    else if (wants_vector_registers(call, rule->form))
        return abi::inject_undefined_opcode;
    else
        outcome = perform(vcpu, call, *rule);
    if (outcome.status != HvStatus::HV_STATUS_SUCCESS)
        vcpu.state().refused_calls += 1;
    put_result(frame, call, outcome);
    return abi::done;
}

/// Advice: the VCPU lets others run before it goes on.
HvStatus notify_long_spin_wait(Viridian::Vcpu& vcpu, const Input&)
{
    vcpu.state().spin_waits += 1;
    static_cast<void>(ext::host().vcpu_yield(vcpu.handle()));
    return HvStatus::HV_STATUS_SUCCESS;
}

}  // namespace hv::viridian
