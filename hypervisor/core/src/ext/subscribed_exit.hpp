// SPDX-License-Identifier: MIT
//
// The way of one exit that somebody subscribed to.  Internal to the extension framework.
#pragma once

#include "hv/abi/hook_table.hpp"

namespace hv::core {

class Binding;
class Vcpu;

/// Stands in a VCPU's table of answers for each kind that a subscription names: shows the exit to those that want it before
/// or instead of the core, lets the core answer where nobody has, and shows it to those that want it afterwards.
bool answer_subscribed(Vcpu& vcpu);

/// True while the subscription's condition is on.
[[nodiscard]] bool holds(const Binding& binding, const abi::ExitSubscription& wanted);

}  // namespace hv::core
