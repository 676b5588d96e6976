// SPDX-License-Identifier: MIT
//
// What the interrupt paths tell the gate of isolated modules: exceptions and interrupts that came while a module's own code ran
// in ring 3.  Entering a module is run_isolated_hook (hv/core/platform/isolated_space.hpp).
#pragma once

#include "hv/arch/x86/cpu/interrupts.hpp"
#include "hv/core/platform/isolated_space.hpp"

namespace hv::x86 {

/// An exception in ring 3: the hook is thrown out; resuming the frame goes on in run_isolated_hook.
void throw_module_out(InterruptFrame& frame);
/// An interrupt in ring 3, counted and ended: the module goes on, or is thrown out where its time is over.
void module_was_interrupted(InterruptFrame& frame);

/// The same for a trusted module's own code, on this processor's own stack; false, and nothing done, where the exception is not in
/// such.
bool throw_trusted_out(InterruptFrame& frame, core::platform::HookEnd end);
/// An NMI: true where another processor sent it for a trusted hook that runs too long, which is thrown out if it still does.
bool trusted_hook_is_accused(InterruptFrame& frame);

}  // namespace hv::x86
