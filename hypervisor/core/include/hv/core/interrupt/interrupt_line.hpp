// SPDX-License-Identifier: MIT
//
// How a device reaches the interrupt controllers: a numbered line with a level.  The owner of a domain's
// devices implements it and forwards to the PICs and the I/O APIC; a test implements it with an array.
#pragma once

#include <cstdint>
#include <limits>

namespace hv::core {

/// Absent deadline: every device's next_deadline() answers this when it waits for nothing.
inline constexpr std::uint64_t no_deadline{std::numeric_limits<std::uint64_t>::max()};

/// Called by devices while the caller of the device holds the domain's device lock.
class InterruptLine {
public:
    /// `line` is a global system interrupt, and for the PC's own devices at once their IRQ (0 for the PIT).
    /// Repeating a level changes nothing.
    virtual void set_line(unsigned line, bool level) = 0;

protected:
    ~InterruptLine() = default;
};

}  // namespace hv::core
