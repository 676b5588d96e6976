// SPDX-License-Identifier: MIT
//
// What each processor does when it is up.
#include "hv/arch/x86/platform/processors.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/main/composition.hpp"

namespace hv {

void processor_main(unsigned processor)
{
    core::log_info("processor ", processor, " is up");
    run_guest_processor();
}

}  // namespace hv
