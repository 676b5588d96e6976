// SPDX-License-Identifier: MIT
//
// What the portable core demands of a machine: where memory is, which processor this is, what time it is, and how to
// wake another processor.  The target's definitions are in hypervisor/arch/x86/platform; the host tests link those of
// tests/fake.  A link-time seam: nothing here is virtual and nothing is looked up.
//
// Unless a line says otherwise: callable on any processor, with interrupts disabled, and it cannot fail.
#pragma once

#include <cstdint>
#include <string_view>

#include "hv/base/address.hpp"

namespace hv::core::platform {

inline constexpr unsigned maximum_processors{64};

// ---- memory ---------------------------------------------------------------------------------------------------

/// The hypervisor's own view of host-physical memory (the direct map).  `address` must be RAM that the boot memory map
/// named or that was mapped with map_device; the pointer stays valid for ever.
[[nodiscard]] void* to_pointer(HostPhysical address);
/// The inverse, for pointers into the direct map or into the hypervisor's image.
[[nodiscard]] HostPhysical to_physical(const void* pointer);

// ---- processors -----------------------------------------------------------------------------------------------

/// Processors that were started, numbered 0 … count-1 without gaps; 0 is the control domain's.
[[nodiscard]] unsigned processor_count();
[[nodiscard]] unsigned current_processor();
/// Makes `processor` leave guest mode or its halt soon: an IPI whose handler does nothing else.  Wakes are not counted.
void wake(unsigned processor);
/// Halts until an interrupt, with interrupts enabled for just that long.  A wake() sent after interrupts were last
/// enabled is not lost: it ends the halt at once.
void wait_for_interrupt();
/// Opens the interrupt window for one instruction, so that pending interrupts are taken.  Returns with them disabled.
void take_pending_interrupts();

// ---- time -----------------------------------------------------------------------------------------------------

/// The time-stamp counter, the same on all processors.
[[nodiscard]] std::uint64_t ticks();
/// Its frequency in Hz; measured once at boot.
[[nodiscard]] std::uint64_t ticks_per_second();
/// Arms this processor's timer for the moment ticks() reaches `deadline`; the interrupt makes it leave guest mode or its
/// halt.  One deadline per processor; ~0 disarms; one in the past fires at once.
void set_deadline(std::uint64_t deadline);

// ---- console and end ------------------------------------------------------------------------------------------

/// Writes bytes to the boot console (a serial port, or nothing with console=none).  Polls, so it is slow.
void console_write(std::string_view text);

}  // namespace hv::core::platform
