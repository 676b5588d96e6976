// SPDX-License-Identifier: MIT
//
// Core and architecture put together: the core's Machine over the back end that fits this processor, and the control service
// behind a PCI function of the control domain.  The one place that sees both.
#pragma once

#include "hv/arch/x86/control_domain/control_domain.hpp"
#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/hvm/backend.hpp"
#include "hv/main/booted_machine.hpp"

namespace hv {

/// Makes the core's machine and the control service.  On processor 0, once, before the control domain is created.  Fails
/// with no_memory; `why` then holds one sentence.
Status compose(BootedMachine& machine, const core::HvmTable& hvm, TextWriter& why);

/// The control domain's end of the control service.
[[nodiscard]] control_domain::ControlFunction& control_function();
/// The service may use the control domain's memory and window from here on, and guest processors go to work.
void start_service(control_domain::ControlDomain& domain);
/// What a guest processor does: waits for start_service(), turns virtualization on and runs VCPUs.
[[noreturn]] void run_guest_processor();

}  // namespace hv
