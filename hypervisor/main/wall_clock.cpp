// SPDX-License-Identifier: MIT
#include "wall_clock.hpp"

#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/core/device/calendar.hpp"
#include "hv/core/platform/platform.hpp"
#include "hv/core/time/guest_time.hpp"

namespace hv {
namespace {

constexpr std::uint16_t index_port{0x70};
constexpr std::uint16_t data_port{0x71};
constexpr std::uint8_t status_a{0x0a};
constexpr std::uint8_t status_b{0x0b};
constexpr std::uint8_t update_in_progress{0x80};
constexpr std::uint8_t binary_mode{0x04};
constexpr std::uint8_t mode_24_hours{0x02};
constexpr unsigned patience{1'000'000};

std::uint8_t read_register(std::uint8_t index)
{
    x86::out8(index_port, index);
    return x86::in8(data_port);
}

struct Reading {
    std::uint8_t second, minute, hour, day, month, year;
    friend bool operator==(const Reading&, const Reading&) = default;
};

Reading read_fields()
{
    for (unsigned tries = 0; tries < patience && (read_register(status_a) & update_in_progress) != 0; ++tries)
        __builtin_ia32_pause();
    return {read_register(0), read_register(2), read_register(4), read_register(7), read_register(8), read_register(9)};
}

unsigned decoded(std::uint8_t value, bool binary) { return binary ? value : (value >> 4) * 10u + (value & 0xfu); }

}  // namespace

std::int64_t wall_clock_at_tick_zero()
{
    Reading reading = read_fields();
    for (Reading again = read_fields(); !(again == reading); again = read_fields())
        reading = again;
    const std::uint8_t mode = read_register(status_b);
    const bool binary = (mode & binary_mode) != 0;
    unsigned hour = decoded(reading.hour & 0x7f, binary);
    if ((mode & mode_24_hours) == 0)
        hour = hour % 12 + ((reading.hour & 0x80) != 0 ? 12 : 0);
    const unsigned month = decoded(reading.month, binary);
    const unsigned day = decoded(reading.day, binary);
    if (month == 0 || month > 12 || day == 0 || day > 31)
        return 0;
    core::CalendarTime time{};
    time.year = 2000 + static_cast<int>(decoded(reading.year, binary));
    time.month = static_cast<std::uint8_t>(month);
    time.day = static_cast<std::uint8_t>(day);
    time.hour = static_cast<std::uint8_t>(hour);
    time.minute = static_cast<std::uint8_t>(decoded(reading.minute, binary));
    time.second = static_cast<std::uint8_t>(decoded(reading.second, binary));
    const std::uint64_t since_zero = core::scale(core::platform::ticks(), core::GuestTime::nanoseconds_per_second,
                                                 core::platform::ticks_per_second());
    return core::to_seconds(time) * 1'000'000'000 - static_cast<std::int64_t>(since_zero);
}

}  // namespace hv
