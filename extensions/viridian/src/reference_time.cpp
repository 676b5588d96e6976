// SPDX-License-Identifier: MIT
//
// The reference TSC page: made when a guest first asks for it, written anew when the guest's time went on and
// the relation of its TSC to it is another. Specification: [TLFS-6.0b §12.7].
#include "hv/ext/guest_page.hpp"
#include "viridian.hpp"

namespace hv::viridian {
namespace {

/// What a page holds when it is first shown: all zeros, "of no use", where the TSC is too slow to scale.
Expected<ReferenceTscPage> first_contents(std::uint64_t vcpu)
{
    abi::TimeSnapshot now{};
    HV_TRY(ext::check(ext::host().time_snapshot(vcpu, &now)));
    const auto tsc = scale_at(now);
    if (!tsc)
        return ReferenceTscPage{};
    return ReferenceTscPage{next_sequence(0), 0, tsc->scale, tsc->offset};
}

/// An overlay with the contents that the domain's state knows, or with first ones, which are put into it.
Expected<ext::Overlay> make_page(Viridian::Vcpu& vcpu, ReferenceTscPage& contents)
{
    contents = HV_TRY(first_contents(vcpu.handle()));
    const auto page = HV_TRY(ext::Overlay::create(vcpu.domain()));
    if (const auto written = page.view(vcpu.domain()).write(0, contents); !written) {
        static_cast<void>(ext::host().overlay_destroy(vcpu.domain(), page.page));
        return written.error();
    }
    return page;
}

/// A guest that reads while this goes on sees sequence 0, and asks the MSR.
Status rewrite(std::uint64_t domain, Viridian::DomainState& state, const TscScale& tsc)
{
    const ext::PageView page{domain, state.tsc_page};
    const std::uint32_t sequence{next_sequence(state.tsc_sequence)};
    HV_TRY(page.store<std::uint32_t>(offsetof(ReferenceTscPage, sequence), 0));
    HV_TRY(page.store<std::uint64_t>(offsetof(ReferenceTscPage, scale), tsc.scale));
    HV_TRY(page.store<std::uint64_t>(offsetof(ReferenceTscPage, offset),
                                     static_cast<std::uint64_t>(tsc.offset)));
    HV_TRY(page.store<std::uint32_t>(offsetof(ReferenceTscPage, sequence), sequence));
    state.tsc = tsc;
    state.tsc_sequence = sequence;
    return Done{};
}

Status refresh(const Viridian::Domain& domain)
{
    if (domain.state().tsc_page == 0 || domain.state().tsc_sequence == 0)
        return Done{};
    std::uint64_t vcpu{};
    abi::TimeSnapshot now{};
    HV_TRY(ext::check(ext::host().vcpu_by_index(domain.handle(), 0, &vcpu)));
    HV_TRY(ext::check(ext::host().time_snapshot(vcpu, &now)));
    const auto tsc = scale_at(now);
    if (!tsc || still_holds(domain.state().tsc, *tsc))
        return Done{};
    return rewrite(domain.handle(), *HV_TRY(domain.update()), *tsc);
}

}  // namespace

Status Viridian::write_reference_tsc(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
{
    using Register = tlfs::PageRegister;
    HV_TRY(check_offered(vcpu, Feature::time));
    auto* const state = HV_TRY(vcpu.update_domain());
    if (!Register::Enable::get(value)) {
        if (Register::Enable::get(state->reference_tsc))
            static_cast<void>(ext::Overlay{state->tsc_page}.remove(vcpu.domain()));  // beyond all memory it is shown nowhere
        state->reference_tsc = value;
        return Done{};
    }
    ReferenceTscPage contents{state->tsc_sequence, 0, state->tsc.scale, state->tsc.offset};
    const bool is_new{state->tsc_page == 0};
    const ext::Overlay page{is_new ? HV_TRY(make_page(vcpu, contents)) : ext::Overlay{state->tsc_page}};
    if (const auto placed = place(vcpu.domain(), page, Register::page(value), false); !placed) {
        if (is_new)
            static_cast<void>(ext::host().overlay_destroy(vcpu.domain(), page.page));
        return placed;
    }
    state->tsc_page = page.page;
    state->tsc_sequence = contents.sequence;
    state->tsc = {contents.scale, contents.offset};
    state->reference_tsc = value;
    return Done{};
}

abi::Verdict Viridian::thaw(const Domain& domain)
{
    if (const auto refreshed = refresh(domain); !refreshed)
        ext::log(abi::LogLevel::warning,
                 "the reference TSC page is as before the pause: ", error_name(refreshed.error()));
    return abi::done;
}

}  // namespace hv::viridian
