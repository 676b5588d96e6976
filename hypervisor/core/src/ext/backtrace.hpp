// SPDX-License-Identifier: MIT
//
// The functions that an instance was in when its hook was thrown out, from its registers and its stack.  Modules are
// built with frame pointers, so the chain of those is followed first; where it breaks (a foreign build, a jump into nowhere, a
// stack that was written over), the rest of the stack is searched for addresses in the module's text that follow a call, and
// those are marked as guesses.  Every byte is read through the isolated instance's own memory, or from the copy of the trusted
// hook's stack: nothing that a module puts into its registers or its stack makes the core read anything else, or for ever.
#pragma once

#include <span>

#include "hv/core/ext/failure_report.hpp"

namespace hv::core {

struct Seat;

/// The innermost first; returns how many were found.  The hook ran in `seat`, and has not been entered again.
std::uint32_t walk_stack(const Binding& binding, const Seat& seat, const platform::HookFault& fault,
                         std::span<ReportFrame> frames);

}  // namespace hv::core
