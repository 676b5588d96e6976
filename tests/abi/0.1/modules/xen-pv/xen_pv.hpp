// SPDX-License-Identifier: MIT
//
// The xen-pv extension as a class: windows, declared leaves, tables and the state of a domain.
#pragma once

#include <cstddef>
#include <optional>

#include "hv/base/assert.hpp"
#include "hv/ext/extension.hpp"
#include "hv/ext/guest_page.hpp"
#include "xen_abi.hpp"

namespace xen {

using namespace hv;

/// Hidden, so that the address of a member of another file is taken without a table of symbols: a module has
/// none.
struct [[gnu::visibility("hidden")]] XenPv
{
    using Domain = ext::Domain<XenPv>;
    using Vcpu = ext::Vcpu<XenPv>;
    enum Window : std::uint32_t {
        leaves_window = 1,
        page_window = 2,
        call_window = 3
    };

    struct DomainState {
        ext::Overlay shared_info;
        std::uint64_t callback;  ///< HVM_PARAM_CALLBACK_IRQ as the guest set it
    };

    static constexpr ext::Info info{
        .name = "xen-pv",
        .version_major = 1,
        .needs = abi::need_guest_memory | abi::need_overlays | abi::need_pinned_pages | abi::need_vcpus |
                 abi::need_time | abi::need_domain,
        .hypercall_pages = 1,
        .description = "Xen 4.17's interface for HVM and PVH guests: its first part"};

    static constexpr std::array windows{
        ext::cpuid_block(leaves_window, leaf_count),
        ext::any_msrs(page_window, 1, 0x4000'0200),
        ext::hypercalls_where(
            call_window, {.modes = abi::match_long_64 | abi::match_protected_32 | abi::match_protected_16,
                          .maximum_cpl = 3,
                          .operand = static_cast<std::uint32_t>(abi::GeneralRegister::rax),
                          .mask = foreign_call,
                          .value = 0}),
    };

    /// leaf_hypercall_page and leaf_hvm are declared when the MSR's place and the domain's number are known.
    static constexpr std::array leaves{
        abi::DeclaredLeaf{.window = leaves_window,
                          .flags = abi::leaf_any_subleaf | abi::leaf_eax_plus_base,
                          .values = ext::signature("XenVMMXenVMM", leaf_last)},
        abi::DeclaredLeaf{.window = leaves_window,
                          .leaf = leaf_version,
                          .flags = abi::leaf_any_subleaf,
                          .values = {.eax = version_word}},
    };

    static abi::Verdict domain_create(Domain domain);
    static abi::Verdict hypercall_page(Domain domain, const abi::HypercallPageRequest& request);
    static abi::Verdict hypercall(Vcpu & vcpu, abi::HypercallFrame & frame);
    static abi::Verdict hypercall_continue(Vcpu & vcpu, abi::HypercallFrame & frame);

    static abi::CpuidResult time_leaf(const Vcpu& vcpu, std::uint32_t leaf, std::uint32_t subleaf);
    static constexpr std::array computed_leaves{
        ext::LeafRule<XenPv>{leaves_window, leaf_time, leaf_time, time_leaf}};

    static Expected<std::uint64_t> read_page_msr(const Vcpu& vcpu, std::uint32_t offset);
    static Status write_page_msr(Vcpu & vcpu, std::uint32_t offset, std::uint64_t value);
    static constexpr std::array msrs{
        ext::MsrRule<XenPv>{page_window, 0, 0, 0x000f'ffff'ffff'ffff, read_page_msr, write_page_msr}};
};

}  // namespace xen
