// SPDX-License-Identifier: MIT
//
// The local APIC of the processor that calls: interrupt commands, the one-shot timer, end of interrupt. xAPIC
// by MMIO, or x2APIC where the firmware turned it on.  The boot processor's own one is the control domain's
// once that runs: from then on the hypervisor uses it for NMIs of a panic alone.  [APM2-3.41 §16].
#pragma once

#include <cstdint>

#include "hv/base/address.hpp"
#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/x86/local_apic.hpp"

namespace hv::x86 {

/// Maps the registers; once, on the boot processor.  Fails with not_supported (no APIC, or it is disabled;
/// see `why`).
Status initialize_local_apic(HostPhysical madt_base, TextWriter& why);
/// Enables an application processor's APIC: it takes every vector, and its local vectors are masked, as after
/// reset.
void enable_local_apic();
/// The boot processor's: left as the firmware set it up, for the control domain, and enabled only where it
/// was not.
void enable_boot_local_apic();

[[nodiscard]] std::uint32_t local_apic_id();
void end_of_interrupt();

/// One interrupt command; waits until the APIC took it.
void send_interrupt(std::uint32_t apic_id, DeliveryMode mode, std::uint8_t vector);
void send_nmi_to_others();

/// The timer counts down `count` steps of bus clock / 2^shift (shift 0 to 7), then raises HostVector::timer
/// once.
void start_apic_timer(std::uint32_t count, unsigned shift);
void stop_apic_timer();
[[nodiscard]] std::uint32_t apic_timer_count();

}  // namespace hv::x86
