// SPDX-License-Identifier: MIT
//
// An instance that fails: a fault, a privileged instruction, a hook that runs too long, a verdict that makes no sense.  The
// instance ends there and then, on every processor; what its running hook did to the state is taken back; and what the domain's
// configuration says for that case follows.
#pragma once

#include "hook_call.hpp"

namespace hv::core {

/// After a hook that gave `verdict`, which is not a legal one for it.
abi::Verdict fail_by_verdict(HookCall& call, abi::Verdict verdict);
/// After a hook that was thrown out.
abi::Verdict fail_by_fault(HookCall& call, platform::HookEnd end);

/// What a hook answers whose instance has failed: `retry` where the next one will be asked, else verdict_of_nobody().
[[nodiscard]] abi::Verdict verdict_of_failed(const Binding& binding, Hook hook);
/// The guest goes on without the instance, which has failed: its declared leaves stay, its MSRs are #GP.
void detach(Binding& binding);

/// What a guest's access gets where the instance that it belongs to has failed.
[[nodiscard]] abi::Verdict verdict_of_nobody(Hook hook);

/// By its position in abi::HookTable.
[[nodiscard]] const char* name_of(Hook hook);

}  // namespace hv::core
