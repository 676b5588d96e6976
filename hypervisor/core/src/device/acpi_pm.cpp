// SPDX-License-Identifier: MIT
//
// PM1a and the PM timer [ACPI-6.5 "Fixed Hardware Registers"].
#include "hv/core/device/acpi_pm.hpp"

#include "hv/base/field.hpp"

namespace hv::core {

namespace {

constexpr std::uint64_t second{1'000'000'000};

constexpr std::uint16_t timer_event{1 << 0};   // TMR_STS, TMR_EN
constexpr std::uint16_t global_event{1 << 5};  // GBL_STS, GBL_EN
constexpr std::uint16_t power_button{1 << 8};  // PWRBTN_STS, PWRBTN_EN
constexpr std::uint16_t events{timer_event | global_event | power_button};
// RTC_EN keeps what is written: no event comes by it, and the FADT says so, but there are guests that set it and read it back.
constexpr std::uint16_t enable_kept{events | 1 << 10};

// [ACPI-6.5 "PM1 Control Registers"].
constexpr std::uint16_t sci_enable{1 << 0};
constexpr std::uint16_t bus_master_reload{1 << 1};
using SleepType = Field<12, 10, std::uint8_t>;
using SleepEnable = Bit<13>;
constexpr std::uint16_t control_kept{bus_master_reload | SleepType::mask};

constexpr unsigned top_bit{protocol::pm_timer_bits - 1};

constexpr std::uint64_t to_ticks(std::uint64_t now)
{
    return now / second * AcpiPm::timer_frequency + now % second * AcpiPm::timer_frequency / second;
}

/// The first nanosecond at which `tick` ticks have passed.
constexpr std::uint64_t to_nanoseconds(std::uint64_t tick)
{
    const std::uint64_t rest = tick % AcpiPm::timer_frequency * second;
    return tick / AcpiPm::timer_frequency * second +
           (rest + AcpiPm::timer_frequency - 1) / AcpiPm::timer_frequency;
}
static_assert(to_ticks(second) == AcpiPm::timer_frequency);

/// Where in the block of registers a port is: a 16-bit register's byte 0 or 1.
constexpr unsigned shift_in(std::uint16_t port, std::uint16_t base)
{
    return (port - base) * 8u;
}

constexpr bool in(std::uint16_t port, std::uint16_t base, unsigned bytes)
{
    return port >= base && port < base + bytes;
}

constexpr std::uint16_t status_port{protocol::pm1a_event_port};
constexpr std::uint16_t enable_port{protocol::pm1a_event_port + protocol::pm1a_event_bytes / 2};

constexpr std::uint16_t replace_byte(std::uint16_t before, unsigned shift, std::uint8_t value)
{
    return static_cast<std::uint16_t>((before & ~(0xff << shift)) | value << shift);
}

}  // namespace

AcpiPm::AcpiPm(InterruptLine& line, PowerSink& sink) : line_{line}, sink_{sink}
{
    reset();
}

/// Names every member of the state, so that a new one does not compile until it is handled here.  The timer
/// runs on.
void AcpiPm::reset()
{
    auto& [status, enable, control, timer_seen] = state_;
    status = 0;
    enable = 0;
    control = 0;
    update_line();
}

void AcpiPm::update_line()
{
    line_.set_line(protocol::sci_gsi, (state_.status & state_.enable) != 0);
}

std::uint8_t AcpiPm::read(std::uint16_t port, std::uint64_t now)
{
    expire(now);
    if (in(port, status_port, 2))
        return static_cast<std::uint8_t>(state_.status >> shift_in(port, status_port));
    if (in(port, enable_port, 2))
        return static_cast<std::uint8_t>(state_.enable >> shift_in(port, enable_port));
    if (in(port, protocol::pm1a_control_port, protocol::pm1a_control_bytes))
        return static_cast<std::uint8_t>((state_.control | sci_enable) >>
                                         shift_in(port, protocol::pm1a_control_port));
    if (in(port, protocol::pm_timer_port, protocol::pm_timer_bytes))
        return static_cast<std::uint8_t>(to_ticks(now) >> shift_in(port, protocol::pm_timer_port));
    return 0xff;
}

void AcpiPm::write(std::uint16_t port, std::uint8_t value, std::uint64_t now)
{
    expire(now);
    if (in(port, status_port, 2)) {  // writing one clears
        state_.status &= static_cast<std::uint16_t>(~(value << shift_in(port, status_port)));
    } else if (in(port, enable_port, 2)) {
        state_.enable = replace_byte(state_.enable, shift_in(port, enable_port), value) & enable_kept;
    } else if (in(port, protocol::pm1a_control_port, protocol::pm1a_control_bytes)) {
        const unsigned shift = shift_in(port, protocol::pm1a_control_port);
        write_control(replace_byte(state_.control, shift, value));
    }
    update_line();
}

/// SLP_EN is never stored, so it is set only by a write of its own byte, which holds SLP_TYP as well.
void AcpiPm::write_control(std::uint16_t value)
{
    state_.control = value & control_kept;
    if (SleepEnable::get(value))
        sink_.sleep_requested(SleepType::get(value));
}

void AcpiPm::press_power_button()
{
    state_.status |= power_button;
    update_line();
}

std::uint64_t AcpiPm::next_deadline() const
{
    if ((state_.enable & timer_event) == 0 || (state_.status & timer_event) != 0)
        return no_deadline;
    return to_nanoseconds(((state_.timer_seen >> top_bit) + 1) << top_bit);
}

void AcpiPm::expire(std::uint64_t now)
{
    const std::uint64_t ticks = to_ticks(now);
    if (ticks <= state_.timer_seen)
        return;
    const bool changed = ticks >> top_bit != state_.timer_seen >> top_bit;
    state_.timer_seen = ticks;
    if (!changed)
        return;
    state_.status |= timer_event;
    update_line();
}

bool AcpiPm::restore(const AcpiPmState& state)
{
    if ((state.status & ~events) != 0 || (state.enable & ~enable_kept) != 0 ||
        (state.control & ~control_kept) != 0)
        return false;
    state_ = state;
    update_line();
    return true;
}

}  // namespace hv::core
