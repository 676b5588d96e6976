// SPDX-License-Identifier: MIT
//
// What becomes of an intercepted exception that modules were shown: it is the guest's, or has not happened, or another is raised
// in its place; and what two exceptions make of each other where the one was raised while the other was delivered.  Internal
// to the extension framework.  The exit of the VCPU is an `exception`.
#pragma once

#include "hv/abi/status.hpp"

namespace hv::core {

class Vcpu;

/// It has not happened.  An event whose delivery raised it is delivered again.
void consume_exception(Vcpu& vcpu);
/// The exception of an `inject` verdict happens instead.
void replace_exception(Vcpu& vcpu, abi::Verdict verdict);
/// It was raised in the delivery of an event: the guest gets what the processor would have made of the two.
void raise_in_delivery(Vcpu& vcpu);

}  // namespace hv::core
