// SPDX-License-Identifier: MIT
//
// The module: its parameter, and what is declared when a domain is made.
#include "cpuid.hpp"
#include "ports.hpp"
#include "tsc_invariant.hpp"

namespace hv::viridian {
namespace {

using Writer = Status (*)(ext::Vcpu<Viridian>&, std::uint32_t offset, std::uint64_t value);

/// Reads of these are declared, so a rule has a writer alone.
constexpr ext::MsrRule<Viridian> written(std::uint32_t first, std::uint32_t last, std::uint64_t writable,
                                         Writer write)
{
    return {row::msrs_window, tlfs::offset_of(first), tlfs::offset_of(last), writable, nullptr, write};
}
constexpr ext::MsrRule<Viridian> written(std::uint32_t msr, std::uint64_t writable, Writer write)
{
    return written(msr, msr, writable, write);
}

Status set_conditions(std::uint64_t domain, Features features)
{
    for (std::uint32_t index = 0; index < feature_groups.size(); ++index) {
        const auto feature = static_cast<Feature>(index);
        HV_TRY(ext::check(
            ext::host().set_condition(domain, condition_of(feature), features.has(feature) ? 1 : 0)));
    }
    return Done{};
}

/// The frequencies are of this machine and stay for the life of the domain.
Status declare_frequencies(const Viridian::Domain& domain)
{
    std::uint64_t vcpu{};
    abi::TimeSnapshot now{};
    abi::DomainInfo info{};
    HV_TRY(ext::check(ext::host().vcpu_by_index(domain.handle(), 0, &vcpu)));
    HV_TRY(ext::check(ext::host().time_snapshot(vcpu, &now)));
    HV_TRY(ext::check(ext::host().domain_info(domain.handle(), &info)));
    const auto constant = [](std::uint32_t msr, std::uint64_t value) {
        return row::read_as(msr, condition_of(Feature::time), abi::MsrReadKind::constant, 0, value);
    };
    const std::array frequencies{constant(tlfs::HV_X64_MSR_TSC_FREQUENCY, now.tsc_hz),
                                 constant(tlfs::HV_X64_MSR_APIC_FREQUENCY, info.apic_timer_hz)};
    return domain.declare(std::span<const abi::DeclaredMsrRead>{frequencies});
}

Status create(const Viridian::Domain& domain)
{
    auto* const state = HV_TRY(domain.update());
    if (state->features == 0)
        state->features = Features::by_default().bits();
    const Features features{Viridian::features_of(*state)};
    if (const auto lack = features.lack()) {
        ext::explain(domain.handle(), "the group ", feature_groups[lack->group].name, " of features needs ",
                     feature_groups[lack->needed].name);
        return Error::invalid_argument;
    }
    HV_TRY(offer_tsc_control(domain, *state));
    const bool tsc_control{state->tsc_control_offered != 0};
    HV_TRY(domain.declare(std::span<const abi::DeclaredLeaf>{all_leaves(row::leaves_window, features, tsc_control)}));
    HV_TRY(declare_frequencies(domain));
    for (std::uint32_t group = 0; group < feature_groups.size(); ++group)
        if (features.has(static_cast<Feature>(group)))
            ext::settled(domain.handle(), "features", feature_groups[group].name);
    return set_conditions(domain.handle(), features);
}

abi::Verdict take_port(const Viridian::Domain& domain, const abi::Parameter& parameter)
{
    if (parameter.count == 0)
        return abi::done;
    const std::string_view name{parameter.text, parameter.text_length};
    const auto opened = open_port(domain, parameter.index, name);
    if (opened)
        return abi::done;
    ext::explain(domain.handle(), "the port ", name, " cannot be opened: ", error_name(opened.error()));
    return ext::refuse(opened.error());
}

}  // namespace

constexpr std::array<ext::MsrRule<Viridian>, 16> Viridian::msrs{
    written(tlfs::HV_X64_MSR_GUEST_OS_ID, ~0ull, Viridian::write_guest_os_id),
    written(tlfs::HV_X64_MSR_HYPERCALL, tlfs::HypercallRegister::defined, Viridian::write_hypercall),
    written(tlfs::HV_X64_MSR_RESET, tlfs::ResetRegister::defined, Viridian::write_reset),
    ext::MsrRule<Viridian>{row::msrs_window, tlfs::offset_of(tlfs::HV_X64_MSR_VP_RUNTIME),
                           tlfs::offset_of(tlfs::HV_X64_MSR_VP_RUNTIME), 0, Viridian::read_runtime, nullptr},
    written(tlfs::HV_X64_MSR_REFERENCE_TSC, tlfs::PageRegister::defined, Viridian::write_reference_tsc),
    written(tlfs::HV_X64_MSR_VP_ASSIST_PAGE, tlfs::PageRegister::defined, Viridian::write_assist),
    written(tlfs::HV_X64_MSR_SCONTROL, tlfs::SynicControl::defined, Viridian::write_scontrol),
    written(tlfs::HV_X64_MSR_SIEFP, tlfs::PageRegister::defined, Viridian::write_event_page),
    written(tlfs::HV_X64_MSR_SIMP, tlfs::PageRegister::defined, Viridian::write_message_page),
    written(tlfs::HV_X64_MSR_EOM, 0, Viridian::write_eom),
    written(tlfs::HV_X64_MSR_SINT0, tlfs::HV_X64_MSR_SINT15, tlfs::SintRegister::defined, Viridian::write_sint),
    ext::MsrRule<Viridian>{row::msrs_window, tlfs::offset_of(tlfs::HV_X64_MSR_STIMER0_CONFIG),
                           tlfs::offset_of(tlfs::HV_X64_MSR_STIMER3_COUNT), ~0ull, Viridian::read_stimer,
                           Viridian::write_stimer},
    ext::MsrRule<Viridian>{row::msrs_window, tlfs::offset_of(tlfs::HV_X64_MSR_GUEST_IDLE),
                           tlfs::offset_of(tlfs::HV_X64_MSR_GUEST_IDLE), 0, Viridian::read_idle, nullptr, true},
    written(tlfs::HV_X64_MSR_CRASH_P0, tlfs::HV_X64_MSR_CRASH_P4, ~0ull, Viridian::write_crash_parameter),
    written(tlfs::HV_X64_MSR_CRASH_CTL, tlfs::CrashControl::defined, Viridian::write_crash_control),
    written(tlfs::HV_X64_MSR_TSC_INVARIANT_CONTROL, tlfs::TscInvariantControl::defined, Viridian::write_tsc_control),
};

abi::Verdict Viridian::parameter_set(const Domain& domain, const abi::Parameter& parameter)
{
    const std::string_view key{parameter.key, parameter.key_length};
    if (key == "ports" && parameter.kind == abi::ParameterKind::text)
        return take_port(domain, parameter);
    if (key != "features" || parameter.kind != abi::ParameterKind::text) {
        ext::explain(domain.handle(), "viridian knows no parameter ", key,
                     " of this type; it has features and ports, lists of words");
        return ext::refuse(Error::invalid_argument);
    }
    const auto state = domain.update();
    if (!state)
        return ext::refuse(state.error());
    if (parameter.count == 0) {
        state.value()->features = Features::base_alone().bits();
        return abi::done;
    }
    // A list that begins by taking something away takes it from the default; any other begins with nothing.
    const std::string_view word{parameter.text, parameter.text_length};
    const Features start{word.starts_with('!') ? Features::by_default() : Features::base_alone()};
    const auto features = (parameter.index == 0 ? start : features_of(*state.value())).with(word);
    if (!features) {
        ext::explain(domain.handle(), "features has no word ", word,
                     "; it knows base, time, apic, tlbflush, ipi, reset, crash, synic, stimer, runtime, idle, "
                     "input, messages, default and all, and ! before all but base");
        return ext::refuse(Error::invalid_argument);
    }
    state.value()->features = features->bits();
    return abi::done;
}

abi::Verdict Viridian::domain_create(const Domain& domain)
{
    const auto made = create(domain);
    return made ? abi::done : ext::refuse(made.error());
}

}  // namespace hv::viridian

#ifndef VIRIDIAN_PROBED  // a test's module around this one
HV_EXTENSION(hv::viridian::Viridian)
#endif
