// SPDX-License-Identifier: MIT
//
// From a hypercall's registers to the call that they name: every check that does not depend on what the call
// does. Specification: [TLFS-6.0b §3].
#include "hypercall.hpp"

#include "ports.hpp"

namespace hv::viridian {
namespace {

using tlfs::HvStatus;

constexpr std::array<CallRule, 10> calls{{
    {{tlfs::HvCallFlushVirtualAddressSpace, 24, 0}, Feature::tlbflush, flush_address_space},
    {{tlfs::HvCallFlushVirtualAddressList, 24, 8}, Feature::tlbflush, flush_address_list},
    {{tlfs::HvCallNotifyLongSpinWait, 8, 0}, Feature::base, notify_long_spin_wait},
    {{tlfs::HvCallSendSyntheticClusterIpi, 16, 0}, Feature::ipi, send_cluster_ipi},
    {{tlfs::HvCallFlushVirtualAddressSpaceEx, 32, 0, tlfs::vp_set_banks}, Feature::tlbflush, flush_address_space_ex},
    {{tlfs::HvCallFlushVirtualAddressListEx, 32, 8, tlfs::vp_set_banks}, Feature::tlbflush, flush_address_list_ex},
    {{tlfs::HvCallSendSyntheticClusterIpiEx, 24, 0, tlfs::vp_set_banks}, Feature::ipi, send_cluster_ipi_ex},
    {{tlfs::HvCallPostMessage, 256, 0}, Feature::messages, post_message},
    {{tlfs::HvCallSignalEvent, 8, 0}, Feature::messages, signal_event},
    {{tlfs::HvExtCallQueryCapabilities, 0, 0, 0, 8}, Feature::base, query_capabilities},
}};
static_assert(std::ranges::all_of(calls, [](const CallRule& rule) {
    return rule.form.header_bytes <= 8 * Input::longest_fixed && rule.form.header_bytes % 8 == 0 &&
           rule.form.variable_words <= tlfs::vp_set_banks;
}));

/// The rules of the codes up to the last small one, so that no call looks at them one by one.
constexpr std::uint16_t small_codes{tlfs::HvCallSignalEvent + 1};
constexpr auto rules_of_small_codes = [] {
    std::array<std::uint8_t, small_codes> numbers{};  // of the rule, from 1
    for (std::size_t rule = 0; rule < calls.size(); ++rule)
        if (calls[rule].form.code < small_codes)
            numbers[calls[rule].form.code] = static_cast<std::uint8_t>(rule + 1);
    return numbers;
}();
static_assert(calls.back().form.code == tlfs::HvExtCallQueryCapabilities, "the one that is not small");

const CallRule* rule_of(std::uint16_t code)
{
    if (code >= small_codes)
        return code == calls.back().form.code ? &calls.back() : nullptr;
    const std::uint8_t number{rules_of_small_codes[code]};
    return number == 0 ? nullptr : &calls[number - 1u];
}

/// The header of a fast call: what the two general registers do not hold is in XMM registers.  A list behind it is of no
/// interest to any call.
HvStatus fetch_fast(const Viridian::Vcpu& vcpu, const Call& call, const CallForm& form, Input& input)
{
    input.words[0] = call.input;
    input.words[1] = call.output;
    const std::uint64_t bytes{form.all_header_bytes(call)};
    if (bytes <= tlfs::fast_input_bytes)
        return HvStatus::HV_STATUS_SUCCESS;
    constexpr std::uint32_t each{tlfs::vector_register_bytes};
    const auto count = static_cast<std::uint32_t>((bytes - tlfs::fast_input_bytes + each - 1) / each);
    const auto read = ext::check(ext::host().vector_registers_read(vcpu.handle(), 0, count, &input.words[2]));
    return read ? HvStatus::HV_STATUS_SUCCESS : HvStatus::HV_STATUS_INVALID_HYPERCALL_INPUT;
}

/// The header, from the registers or from memory.
HvStatus fetch(const Viridian::Vcpu& vcpu, const Call& call, const CallForm& form, Input& input)
{
    input.fixed = form.header_bytes / 8;
    input.variable = call.variable_words();
    if (call.fast())
        return fetch_fast(vcpu, call, form, input);
    const std::uint64_t input_bytes{form.input_bytes(call)};
    const bool well_placed{input_bytes == 0 || is_placed_well(call.input, input_bytes)};
    if (!well_placed || (form.output_bytes != 0 && !is_placed_well(call.output, form.output_bytes)))
        return HvStatus::HV_STATUS_INVALID_ALIGNMENT;
    input.output = call.output;
    if (form.all_header_bytes(call) == 0)
        return HvStatus::HV_STATUS_SUCCESS;
    const auto bytes = std::as_writable_bytes(std::span{input.words}).first(form.all_header_bytes(call));
    if (!vcpu.memory().read_bytes(GuestPhysical{call.input}, bytes))
        return HvStatus::HV_STATUS_INVALID_ALIGNMENT;
    return HvStatus::HV_STATUS_SUCCESS;
}

/// A whole list is done at once, or nothing of it.
Outcome perform(Viridian::Vcpu& vcpu, const Call& call, const CallRule& rule)
{
    Input input;
    HvStatus status{fetch(vcpu, call, rule.form, input)};
    if (status == HvStatus::HV_STATUS_SUCCESS)
        status = rule.perform(vcpu, input);
    const bool done{status == HvStatus::HV_STATUS_SUCCESS};
    return {status, done ? call.rep_count() : call.rep_start()};
}

/// Fast input that takes more than the two registers is in XMM registers: #UD where they are not offered.
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
    else if (wants_vector_registers(call, rule->form) && !features_of(vcpu.domain_state()).has(Feature::input))
        return abi::inject_undefined_opcode;
    else
        outcome = perform(vcpu, call, *rule);
    if (outcome.status != HvStatus::HV_STATUS_SUCCESS)
        vcpu.state().refused_calls += 1;
    put_result(frame, call, outcome);
    return abi::done;
}

/// None of the extended calls but this one.
HvStatus query_capabilities(Viridian::Vcpu& vcpu, const Input& input)
{
    const auto written = vcpu.memory().write(GuestPhysical{input.output}, std::uint64_t{0});
    return written ? HvStatus::HV_STATUS_SUCCESS : HvStatus::HV_STATUS_INVALID_ALIGNMENT;
}

/// Advice: the VCPU lets others run before it goes on.
HvStatus notify_long_spin_wait(Viridian::Vcpu& vcpu, const Input&)
{
    vcpu.state().spin_waits += 1;
    static_cast<void>(ext::host().vcpu_yield(vcpu.handle()));
    return HvStatus::HV_STATUS_SUCCESS;
}

}  // namespace hv::viridian
