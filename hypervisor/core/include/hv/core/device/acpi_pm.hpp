// SPDX-License-Identifier: MIT
//
// The fixed hardware of ACPI [ACPI-6.5 "Fixed Hardware Registers"]: PM1a event and control registers, the power button, and the
// PM timer. Always in ACPI mode: there is no SMI command port, SCI_EN reads as one.  No sleep button, no RTC
// wake status, no general-purpose events: the FADT must say so.
//
// The caller holds the domain's device lock.  Time is guest nanoseconds and never goes back.  Any access
// width, as single bytes in ascending order.
#pragma once

#include <cstdint>

#include "hv/core/device/power_sink.hpp"
#include "hv/core/interrupt/interrupt_line.hpp"
#include "hv/protocol/platform_layout.hpp"

namespace hv::core {

struct AcpiPmState {
    std::uint16_t status{};
    std::uint16_t enable{};
    std::uint16_t control{};
    std::uint64_t timer_seen{};  ///< PM timer ticks up to which TMR_STS has been kept

    friend bool operator==(const AcpiPmState&, const AcpiPmState&) = default;
};

class AcpiPm {
public:
    static constexpr std::uint64_t timer_frequency{3'579'545};

    AcpiPm(InterruptLine& line, PowerSink& sink);

    void reset();
    /// Ports 0x600 to 0x605 and 0x608 to 0x60b; others read all-ones and drop writes.
    std::uint8_t read(std::uint16_t port, std::uint64_t now);
    void write(std::uint16_t port, std::uint8_t value, std::uint64_t now);

    /// Somebody pressed the power button.
    void press_power_button();

    /// Guest nanoseconds at which the timer's top bit next changes, if the guest wants that as an interrupt.
    [[nodiscard]] std::uint64_t next_deadline() const;
    void expire(std::uint64_t now);

    [[nodiscard]] const AcpiPmState& save() const { return state_; }
    /// False, and nothing changed, when the state is one that no guest could have brought about.
    [[nodiscard]] bool restore(const AcpiPmState& state);

private:
    void write_control(std::uint16_t value);
    void update_line();

    InterruptLine& line_;
    PowerSink& sink_;
    AcpiPmState state_{};
};

}  // namespace hv::core
