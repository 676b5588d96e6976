// SPDX-License-Identifier: MIT
//
// The novell extension as a class: its strategy (strategy.hpp), its windows, declared answers and tables.  The handlers are in msr.cpp and
// hypercall.cpp.
#pragma once

#include "hv/ext/extension.hpp"
#include "novell_defs.hpp"
#include "strategy.hpp"

namespace novell {

/// Hidden, so that the address of a member of another file is taken without a table of symbols: a module has
/// none.
struct [[gnu::visibility("hidden")]] Novell : NOVELL_STRATEGY<Novell>
{
    using Domain = ext::Domain<Novell>;
    using Vcpu = ext::Vcpu<Novell>;
    enum Window : std::uint32_t {
        leaves_window = 1,
        msr_window = 2,
        call_window = 3
    };

    struct DomainState {
        std::uint64_t guest_id;   ///< 0: no guest has said who it is
        std::uint64_t hypercall;  ///< the hypercall MSR as it reads
#ifdef NOVELL_STRATEGY_HEADER
        StrategyParameters strategy;
#endif
    };

    static constexpr ext::Info info{
        .name = NOVELL_STRATEGY<Novell>::name,
        .version_major = 1,
        .needs = abi::need_registers | abi::need_tlb | abi::need_guest_memory | abi::need_overlays |
                 NOVELL_STRATEGY<Novell>::more_needs,
        .hypercall_pages = 1,
        .description = NOVELL_STRATEGY<Novell>::description};

    static constexpr std::array windows{
        ext::cpuid_block(leaves_window, leaf_count),
        ext::any_msrs(msr_window, msr_count, 0x4000'0400),
        ext::hypercalls_where(call_window, {.modes = abi::match_long_64 | abi::match_protected_32,
                                            .operand = static_cast<std::uint32_t>(abi::GeneralRegister::rax),
                                            .mask = call_tag_mask,
                                            .value = call_tag}),
    };

    /// leaf_version is declared when the MSRs' place is known.
    static constexpr std::array leaves{
        abi::DeclaredLeaf{.window = leaves_window,
                          .flags = abi::leaf_any_subleaf | abi::leaf_eax_plus_base,
                          .values = ext::signature("NovellXenExt", leaf_last)},
        abi::DeclaredLeaf{.window = leaves_window,
                          .leaf = leaf_interface,
                          .flags = abi::leaf_any_subleaf,
                          .values = {.eax = abi::table_magic('N', 'v', '#', '1')}},
        abi::DeclaredLeaf{.window = leaves_window,
                          .leaf = leaf_features,
                          .flags = abi::leaf_any_subleaf,
                          .values = {.eax = feature_apic | feature_hypercall | feature_vp_index,
                                     .ebx = call_switch_offered | call_flush_offered}},
        abi::DeclaredLeaf{.window = leaves_window,
                          .leaf = leaf_recommendations,
                          .flags = abi::leaf_any_subleaf,
                          .values = {.eax = recommend_remote_flush | recommend_apic_msrs}},
    };

    static constexpr std::array msr_reads{
        abi::DeclaredMsrRead{.window = msr_window,
                             .offset = msr_vp_index,
                             .kind = abi::MsrReadKind::vcpu_field,
                             .argument = static_cast<std::uint32_t>(abi::VcpuField::index)},
        abi::DeclaredMsrRead{
            .window = msr_window, .offset = msr_eoi, .kind = abi::MsrReadKind::general_protection},
        abi::DeclaredMsrRead{.window = msr_window, .offset = msr_icr, .kind = abi::MsrReadKind::apic_icr},
        abi::DeclaredMsrRead{.window = msr_window,
                             .offset = msr_tpr,
                             .kind = abi::MsrReadKind::apic_register,
                             .argument = 0x80},
    };
    static constexpr std::array msr_writes{
        abi::DeclaredMsrWrite{
            .window = msr_window, .offset = msr_vp_index, .kind = abi::MsrWriteKind::general_protection},
        abi::DeclaredMsrWrite{.window = msr_window,
                              .offset = msr_eoi,
                              .kind = abi::MsrWriteKind::apic_eoi,
                              .writable = 0xffff'ffff},
        abi::DeclaredMsrWrite{
            .window = msr_window, .offset = msr_icr, .kind = abi::MsrWriteKind::apic_icr, .writable = ~0ull},
        abi::DeclaredMsrWrite{
            .window = msr_window, .offset = msr_tpr, .kind = abi::MsrWriteKind::apic_tpr, .writable = 0xff},
    };

    static abi::Verdict domain_create(Domain domain);
    static abi::Verdict import_state(Domain domain, const std::uint8_t* bytes, std::uint64_t length);
    static abi::Verdict hypercall_page(Domain domain, const abi::HypercallPageRequest& request);
    static abi::Verdict hypercall(Vcpu & vcpu, abi::HypercallFrame & frame);

    static Expected<std::uint64_t> read_guest_id(const Vcpu& vcpu, std::uint32_t offset);
    static Status write_guest_id(Vcpu & vcpu, std::uint32_t offset, std::uint64_t value);
    static Expected<std::uint64_t> read_hypercall(const Vcpu& vcpu, std::uint32_t offset);
    static Status write_hypercall(Vcpu & vcpu, std::uint32_t offset, std::uint64_t value);

    static constexpr std::array msrs{
        ext::MsrRule<Novell>{msr_window, msr_guest_id, msr_guest_id, ~0ull, read_guest_id, write_guest_id},
        ext::MsrRule<Novell>{msr_window, msr_hypercall, msr_hypercall,
                             hypercall_page_mask | hypercall_locked | hypercall_enable, read_hypercall,
                             write_hypercall},
    };
};

}  // namespace novell
