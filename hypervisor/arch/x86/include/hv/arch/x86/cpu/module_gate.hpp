// SPDX-License-Identifier: MIT
//
// What the interrupt paths tell the gate of isolated modules: exceptions and interrupts that came while a module's own code ran
// in ring 3.  Entering a module is run_isolated_hook (hv/core/platform/isolated_space.hpp).
#pragma once

#include "hv/arch/x86/cpu/interrupts.hpp"

namespace hv::x86 {

/// An exception in ring 3: the hook is thrown out; resuming the frame goes on in run_isolated_hook.
void throw_module_out(InterruptFrame& frame);
/// An interrupt in ring 3, counted and ended: the module goes on, or is thrown out where its time is over.
void module_was_interrupted(InterruptFrame& frame);

}  // namespace hv::x86
