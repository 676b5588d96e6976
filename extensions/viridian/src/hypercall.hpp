// SPDX-License-Identifier: MIT
//
// What the hypercalls have in common: the table, and the handlers' shape.  A handler is called with a legal
// input value and its fixed input in hand. Specification: [TLFS-6.0b §3].
#pragma once

#include "viridian.hpp"
#include "vp_set.hpp"

namespace hv::viridian {

/// The header of a call's input, by words: the fixed part, and after it the variable one.
struct Input {
    static constexpr std::size_t longest_fixed{32};
    static constexpr std::size_t longest{longest_fixed + tlfs::vp_set_banks};
    static_assert(longest * 8 >= tlfs::longest_fast_input_bytes);
    std::array<std::uint64_t, longest> words;  // only what the call has is set
    std::uint32_t fixed;
    std::uint32_t variable;
    std::uint64_t output;  ///< where a call's output goes; well placed

    [[nodiscard]] std::uint64_t operator[](std::size_t index) const { return words[index]; }
    /// The set whose format stands at word `first` and whose banks are the variable part.
    [[nodiscard]] VpSet vp_set(std::size_t first) const
    {
        return {words[first], words[first + 1], std::span{words}.subspan(fixed, variable)};
    }
};

struct CallRule {
    CallForm form;
    Feature feature;  ///< the group that offers it
    tlfs::HvStatus (*perform)(Viridian::Vcpu& vcpu, const Input& input);
};

tlfs::HvStatus flush_address_space(Viridian::Vcpu& vcpu, const Input& input);
tlfs::HvStatus flush_address_list(Viridian::Vcpu& vcpu, const Input& input);
tlfs::HvStatus flush_address_space_ex(Viridian::Vcpu& vcpu, const Input& input);
tlfs::HvStatus flush_address_list_ex(Viridian::Vcpu& vcpu, const Input& input);
tlfs::HvStatus query_capabilities(Viridian::Vcpu& vcpu, const Input& input);
tlfs::HvStatus notify_long_spin_wait(Viridian::Vcpu& vcpu, const Input& input);
tlfs::HvStatus send_cluster_ipi(Viridian::Vcpu& vcpu, const Input& input);
tlfs::HvStatus send_cluster_ipi_ex(Viridian::Vcpu& vcpu, const Input& input);

}  // namespace hv::viridian
