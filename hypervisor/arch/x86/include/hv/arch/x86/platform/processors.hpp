// SPDX-License-Identifier: MIT
//
// Starting the application processors, and stopping everybody in a panic.
#pragma once

#include <cstdint>

#include "hv/base/address.hpp"
#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/boot/acpi_tables.hpp"

namespace hv::x86 {

/// Maps a processor's stacks and names them in its TSS; before it runs on them.  Fails with no_memory.
Status prepare_processor(unsigned number);
/// Processors that run the hypervisor, the caller included.
[[nodiscard]] unsigned online_processor_count();

/// Starts every listed processor but the caller, one after the other, numbered in the order of the list; one
/// that does not come up is logged and left out.  Each ends in `processor_main`.  `start_page` is below 1
/// MiB.  Fails with no_memory.
Status start_processors(const core::ProcessorList& list, HostPhysical start_page);

/// After this the boot processor's local APIC is the control domain's: its timer is left alone, and wake(0)
/// is an NMI.
void hand_over_boot_processor();

/// Stops all other processors by NMI, and waits until they have or a second has passed.
void stop_other_processors();
/// True after hand_over_boot_processor().
[[nodiscard]] bool boot_processor_handed_over();
/// Called by the NMI handler: true when a stop was asked for.
[[nodiscard]] bool stop_was_asked_for();

}  // namespace hv::x86

namespace hv {

/// What an application processor does when it is up; defined in hypervisor/main.
[[noreturn]] void processor_main(unsigned processor);

}  // namespace hv
