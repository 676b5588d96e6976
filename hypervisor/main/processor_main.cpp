// SPDX-License-Identifier: MIT
//
// What each processor does when it is up.
#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/arch/x86/platform/processors.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/platform/platform.hpp"
#include "hv/main/booted_machine.hpp"

namespace hv {

void processor_main(unsigned processor)
{
    core::log_info("processor ", processor, " is up");
    for (;;)
        core::platform::wait_for_interrupt();
}

}  // namespace hv
