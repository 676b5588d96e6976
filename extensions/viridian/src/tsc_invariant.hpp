// SPDX-License-Identifier: MIT
#pragma once

#include "viridian.hpp"

namespace hv::viridian {

/// Decides whether the domain has the invariant-TSC control, and shows or hides it and what it controls as the state says.  For
/// domain_create.
Status offer_tsc_control(const Viridian::Domain& domain, Viridian::DomainState& state);

}  // namespace hv::viridian
