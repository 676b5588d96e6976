// SPDX-License-Identifier: MIT
//
// What the hypercalls have in common: the table, and the handlers' shape.  A handler is called with a legal
// input value and its fixed input in hand. Specification: [TLFS-6.0b §3].
#pragma once

#include "viridian.hpp"

namespace hv::viridian {

/// The fixed input of a call, up to the longest of those in the table.
using Input = std::array<std::uint64_t, 3>;

struct CallRule {
    CallForm form;
    Feature feature;  ///< the group that offers it
    tlfs::HvStatus (*perform)(Viridian::Vcpu& vcpu, const Input& input);
};

tlfs::HvStatus flush_address_space(Viridian::Vcpu& vcpu, const Input& input);
tlfs::HvStatus flush_address_list(Viridian::Vcpu& vcpu, const Input& input);
tlfs::HvStatus notify_long_spin_wait(Viridian::Vcpu& vcpu, const Input& input);
tlfs::HvStatus send_cluster_ipi(Viridian::Vcpu& vcpu, const Input& input);

}  // namespace hv::viridian
