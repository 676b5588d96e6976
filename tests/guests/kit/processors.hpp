// SPDX-License-Identifier: MIT
//
// The guest's further processors: which there are by the MADT, and how they are started, by INIT and SIPI.
#pragma once

#include <cstdint>

#include "hv/base/static_vector.hpp"

namespace guest {

inline constexpr unsigned maximum_processors{64};

/// The APIC ids of the processors that the MADT calls enabled, in its order [ACPI-6.5 §5.2.12]; none where there is no MADT.
using ApicIds = hv::StaticVector<std::uint32_t, maximum_processors>;
ApicIds madt_processors();

/// What each further processor does, with interrupts off and the common IDT loaded; after it, it halts for good.
using ProcessorMain = void (*)(unsigned number);

/// Starts the processors of these ids but the one that calls, one after the other; `main` gets their numbers from 0 on.
/// Returns how many came up, each within some seconds.
unsigned start_processors(const ApicIds& ids, std::uint32_t own_id, ProcessorMain main);
/// INIT and startup messages to one that was started before; nobody waits for it.  After 64 starts of all together it halts at once.
void reset_processor(std::uint32_t apic_id);

}  // namespace guest
