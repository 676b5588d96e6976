// SPDX-License-Identifier: MIT
//
// Time: the time-stamp counter and the local APIC's timer, both measured once against a clock whose frequency
// is known (PIT channel 2, else the ACPI power management timer), before the control domain owns those.
#pragma once

#include <cstdint>
#include <optional>

#include "hv/base/expected.hpp"

namespace hv::x86 {

/// Measures; on the boot processor, with its APIC enabled.  `power_timer` is the PM timer's port.  Fails with
/// not_supported when neither clock runs.
Status calibrate_clocks(std::optional<std::uint16_t> power_timer);
[[nodiscard]] std::uint64_t tsc_frequency();
[[nodiscard]] std::uint64_t apic_timer_frequency();

/// Waits by the time-stamp counter.
void delay_microseconds(std::uint64_t microseconds);

/// Arms the calling processor's timer for that value of the time-stamp counter; ~0 disarms.
void arm_deadline(std::uint64_t deadline);
/// The same for the watch over modules' hooks (module_gate.cpp), beside the deadline: the earlier one counts.
void arm_guard(std::uint64_t guard);
/// The handler of HostVector::timer: a deadline that has not come yet (the count was rounded, or too long for
/// the timer) is armed again.
void rearm_timer_if_early();

}  // namespace hv::x86
