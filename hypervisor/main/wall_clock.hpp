// SPDX-License-Identifier: MIT
//
// The time of day, read once from the PC's clock chip before the control domain owns it.  [ACPI-6.5 "Real Time Clock Alarm"], MC146818.
#pragma once

#include <cstdint>

namespace hv {

/// UTC in nanoseconds since 1970 at host tick 0; 0 where the clock gives no sensible date.  Assumes that it keeps UTC.
[[nodiscard]] std::int64_t wall_clock_at_tick_zero();

}  // namespace hv
