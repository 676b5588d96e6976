// SPDX-License-Identifier: MIT
//
// The PC's clock chip, an MC146818 [MC146818A-1984] with 128 bytes, at ports 0x70 and 0x71: time of day,
// alarm, periodic and update interrupts on IRQ 8, and the CMOS bytes in which firmware would have described
// the machine.
//
// The caller holds the domain's device lock.  Time is guest nanoseconds and never goes back; what o'clock it
// is at guest time zero is given at creation.  8-bit ports. Deviations: an update takes no time; UIP is shown
// for the 244 microseconds before it.  The weekday follows the date. There is no daylight saving and no
// square wave.
#pragma once

#include <array>
#include <cstdint>

#include "hv/core/device/calendar.hpp"
#include "hv/core/interrupt/interrupt_line.hpp"
#include "hv/protocol/platform_layout.hpp"

namespace hv::core {

struct RtcConfig {
    std::int64_t unix_nanoseconds{};    ///< UTC at guest time zero, in nanoseconds since 1970
    std::uint64_t memory_below_hole{};  ///< bytes of RAM below the MMIO hole
    std::uint64_t memory_above_4gib{};
};

/// The whole state as plain data, for save and restore.
struct RtcState {
    std::array<std::uint8_t, 128>
        ram{};  ///< registers A to D, alarm and CMOS bytes as stored; time bytes unused
    std::uint8_t index{};
    std::int64_t seconds_offset{};  ///< clock seconds minus guest seconds, while the clock runs
    CalendarTime frozen{};          ///< what it shows while it does not, field by field as written
    std::uint64_t phase{};          ///< guest nanoseconds by which seconds end earlier than guest seconds
    std::uint64_t seen{};           ///< guest time up to which flags have been kept

    friend bool operator==(const RtcState&, const RtcState&) = default;
};

class Rtc {
public:
    Rtc(InterruptLine& line, const RtcConfig& config);

    /// A machine reset: interrupts off, the clock and CMOS go on.
    void reset();
    /// Ports 0x70 and 0x71; others read all-ones and drop writes.
    std::uint8_t read(std::uint16_t port, std::uint64_t now);
    void write(std::uint16_t port, std::uint8_t value, std::uint64_t now);

    /// Guest nanoseconds of the next interrupt that the guest has enabled and not yet been given.
    [[nodiscard]] std::uint64_t next_deadline() const;
    void expire(std::uint64_t now);

    [[nodiscard]] const RtcState& save() const { return state_; }
    /// False, and nothing changed, when the state is one that no guest could have brought about.
    [[nodiscard]] bool restore(const RtcState& state);

private:
    [[nodiscard]] bool is_running() const;
    [[nodiscard]] bool updates() const;
    [[nodiscard]] CalendarTime calendar_at(std::uint64_t now) const;
    void set_calendar(const CalendarTime& time, std::uint64_t now);
    [[nodiscard]] std::uint64_t next_update(std::uint64_t after) const;
    [[nodiscard]] std::uint64_t next_periodic(std::uint64_t after) const;
    [[nodiscard]] std::uint64_t next_alarm(std::uint64_t after) const;
    [[nodiscard]] std::uint8_t encode(unsigned value) const;
    [[nodiscard]] unsigned decode(std::uint8_t value) const;
    [[nodiscard]] std::uint8_t encode_hour(unsigned hour) const;
    [[nodiscard]] unsigned decode_hour(std::uint8_t value) const;
    [[nodiscard]] bool is_interrupting() const;
    [[nodiscard]] std::uint8_t read_register(std::uint64_t now);
    std::uint8_t read_flags();
    [[nodiscard]] std::uint8_t read_time(std::uint8_t which, const CalendarTime& time) const;
    void write_register(std::uint8_t value, std::uint64_t now);
    void write_time(std::uint8_t which, std::uint8_t value, std::uint64_t now);
    void write_control(std::uint8_t which, std::uint8_t value, std::uint64_t now);
    void describe_memory(const RtcConfig& config);
    void update_line();

    InterruptLine& line_;
    RtcState state_{};
};

}  // namespace hv::core
