// SPDX-License-Identifier: MIT
//
// The MC146818's registers, time and interrupts [MC146818A-1984].
#include "hv/core/device/rtc.hpp"

#include <algorithm>
#include <optional>

#include "hv/base/field.hpp"

namespace hv::core {

namespace {

constexpr std::uint64_t second{1'000'000'000};
/// How long before an update UIP is set.
constexpr std::uint64_t update_warning{244'000};
/// From the release of the divider to the first update.
constexpr std::uint64_t divider_delay{500'000'000};

constexpr std::uint16_t index_port{protocol::rtc_port};
constexpr std::uint16_t data_port{protocol::rtc_port + 1};

enum Index : std::uint8_t {
    SECONDS = 0x00,
    SECONDS_ALARM = 0x01,
    MINUTES = 0x02,
    MINUTES_ALARM = 0x03,
    HOURS = 0x04,
    HOURS_ALARM = 0x05,
    WEEKDAY = 0x06,
    DAY = 0x07,
    MONTH = 0x08,
    YEAR = 0x09,
    REGISTER_A = 0x0a,
    REGISTER_B = 0x0b,
    REGISTER_C = 0x0c,
    REGISTER_D = 0x0d,
    CENTURY = protocol::rtc_century_index,
};

using Rate = Field<3, 0, unsigned>;
using DividerReset = Field<6, 5, unsigned>;  // 3: held in reset
constexpr std::uint8_t update_in_progress{0x80};
constexpr std::uint8_t register_a_power_up{0x26};

constexpr std::uint8_t set_bit{0x80};
constexpr std::uint8_t periodic{0x40};  // PIE in B, PF in C
constexpr std::uint8_t alarm{0x20};     // AIE, AF
constexpr std::uint8_t update{0x10};    // UIE, UF
constexpr std::uint8_t sources{periodic | alarm | update};
constexpr std::uint8_t square_wave{0x08};
constexpr std::uint8_t binary{0x04};
constexpr std::uint8_t hours_24{0x02};
constexpr std::uint8_t interrupt_request{0x80};
constexpr std::uint8_t valid_ram{0x80};
constexpr std::uint8_t afternoon{0x80};

constexpr bool is_time(std::uint8_t which)
{
    return which == SECONDS || which == MINUTES || which == HOURS || (which >= WEEKDAY && which <= YEAR) ||
           which == CENTURY;
}

/// Interrupts per second of the 15 rates.
constexpr std::uint64_t periodic_frequency(unsigned rate)
{
    return rate <= 2 ? 512u >> rate : 32'768u >> (rate - 1);
}
static_assert(periodic_frequency(1) == 256 && periodic_frequency(2) == 128 && periodic_frequency(3) == 8192 &&
              periodic_frequency(15) == 2);

/// An alarm byte from 0xc0 on matches everything.
constexpr bool is_wildcard(std::uint8_t value)
{
    return (value & 0xc0) == 0xc0;
}

}  // namespace

Rtc::Rtc(InterruptLine& line, const RtcConfig& config) : line_{line}
{
    const auto length = static_cast<std::int64_t>(second);
    const std::int64_t rest = (config.unix_nanoseconds % length + length) % length;
    state_.phase = static_cast<std::uint64_t>(rest);
    state_.seconds_offset = (config.unix_nanoseconds - rest) / length;
    state_.ram[REGISTER_A] = register_a_power_up;
    state_.ram[REGISTER_B] = hours_24;
    describe_memory(config);
    update_line();
}

/// What firmware stores for software that asks no other way: memory in kilobytes and in blocks of 64.
void Rtc::describe_memory(const RtcConfig& config)
{
    const auto store = [this](unsigned where, unsigned bytes, std::uint64_t value) {
        for (unsigned byte = 0; byte < bytes; ++byte)
            state_.ram[where + byte] = static_cast<std::uint8_t>(value >> (8 * byte));
    };
    const auto above = [&config](std::uint64_t start, std::uint64_t unit, std::uint64_t limit) {
        return config.memory_below_hole <= start ? 0
                                                 : std::min((config.memory_below_hole - start) / unit, limit);
    };
    constexpr std::uint64_t mebibyte{1 << 20};
    store(0x15, 2, 640);
    store(0x17, 2, above(mebibyte, 1'024, 0xffff));
    store(0x30, 2, above(mebibyte, 1'024, 0xffff));
    store(0x34, 2, above(16 * mebibyte, 65'536, 0xffff));
    store(0x5b, 3, std::min<std::uint64_t>(config.memory_above_4gib / 65'536, 0xff'ffff));
    unsigned checksum = 0;
    for (unsigned where = 0x10; where <= 0x2d; ++where)
        checksum += state_.ram[where];
    state_.ram[0x2e] = static_cast<std::uint8_t>(checksum >> 8);
    state_.ram[0x2f] = static_cast<std::uint8_t>(checksum);
}

/// Names every member of the state, so that a new one does not compile until it is handled here.
void Rtc::reset()
{
    auto& [ram, index, seconds_offset, frozen, phase, seen] = state_;
    ram[REGISTER_B] &= static_cast<std::uint8_t>(~(sources | square_wave));
    ram[REGISTER_C] = 0;
    index = 0;
    update_line();
}

bool Rtc::is_running() const
{
    return DividerReset::get(state_.ram[REGISTER_A]) != 3;
}

bool Rtc::updates() const
{
    return is_running() && (state_.ram[REGISTER_B] & set_bit) == 0;
}

CalendarTime Rtc::calendar_at(std::uint64_t now) const
{
    if (!updates())
        return state_.frozen;
    return to_calendar(static_cast<std::int64_t>((now + state_.phase) / second) + state_.seconds_offset);
}

void Rtc::set_calendar(const CalendarTime& time, std::uint64_t now)
{
    if (updates()) {
        state_.seconds_offset = to_seconds(time) - static_cast<std::int64_t>((now + state_.phase) / second);
    } else {
        state_.frozen = time;
        state_.frozen.year %= 10'000;  // the century has two digits
    }
}

std::uint64_t Rtc::next_update(std::uint64_t after) const
{
    if (!updates())
        return no_deadline;
    return after + (second - (after + state_.phase) % second);
}

std::uint64_t Rtc::next_periodic(std::uint64_t after) const
{
    const unsigned rate = Rate::get(state_.ram[REGISTER_A]);
    if (rate == 0 || !is_running())
        return no_deadline;
    const std::uint64_t frequency = periodic_frequency(rate);
    const std::uint64_t shifted = after + state_.phase;
    const std::uint64_t next = shifted % second * frequency / second + 1;
    return shifted / second * second + (next * second + frequency - 1) / frequency - state_.phase;
}

/// The next update at which hours, minutes and seconds all equal their alarm bytes.
std::uint64_t Rtc::next_alarm(std::uint64_t after) const
{
    if (!updates())
        return no_deadline;
    struct Want {
        bool any;
        unsigned value;
        bool operator()(unsigned other) const { return any || value == other; }
    };
    const std::uint8_t* const ram = state_.ram.data();
    const Want want_hour{is_wildcard(ram[HOURS_ALARM]), decode_hour(ram[HOURS_ALARM])};
    const Want want_minute{is_wildcard(ram[MINUTES_ALARM]), decode(ram[MINUTES_ALARM])};
    const Want want_second{is_wildcard(ram[SECONDS_ALARM]), decode(ram[SECONDS_ALARM])};
    const bool possible = (want_hour.any || want_hour.value < 24) &&
                          (want_minute.any || want_minute.value < 60) &&
                          (want_second.any || want_second.value < 60);
    if (!possible)
        return no_deadline;
    const std::uint64_t first = next_update(after);
    const CalendarTime from = calendar_at(first);
    const unsigned start = from.hour * 3'600u + from.minute * 60u + from.second;
    for (unsigned hours = 0; hours <= 24; ++hours) {
        const unsigned hour = (from.hour + hours) % 24;
        if (!want_hour(hour))
            continue;
        for (unsigned minute = hours == 0 ? from.minute : 0; minute < 60; ++minute) {
            if (!want_minute(minute))
                continue;
            const bool same = hours == 0 && minute == from.minute;
            for (unsigned tick = same ? from.second : 0; tick < 60; ++tick)
                if (want_second(tick))
                    return first + ((from.hour + hours) * 3'600u + minute * 60u + tick - start) * second;
        }
    }
    return no_deadline;
}

std::uint8_t Rtc::encode(unsigned value) const
{
    if ((state_.ram[REGISTER_B] & binary) != 0)
        return static_cast<std::uint8_t>(value);
    return static_cast<std::uint8_t>(value / 10 % 10 << 4 | value % 10);
}

unsigned Rtc::decode(std::uint8_t value) const
{
    return (state_.ram[REGISTER_B] & binary) != 0 ? value : (value >> 4) * 10u + (value & 15u);
}

std::uint8_t Rtc::encode_hour(unsigned hour) const
{
    if ((state_.ram[REGISTER_B] & hours_24) != 0)
        return encode(hour);
    const unsigned shown = hour % 12 == 0 ? 12 : hour % 12;
    return static_cast<std::uint8_t>(encode(shown) | (hour >= 12 ? afternoon : 0));
}

unsigned Rtc::decode_hour(std::uint8_t value) const
{
    if ((state_.ram[REGISTER_B] & hours_24) != 0)
        return decode(value);
    const unsigned shown = decode(value & 0x7f);
    return shown > 12 ? 24 : shown % 12 + ((value & afternoon) != 0 ? 12 : 0);
}

std::uint8_t Rtc::read(std::uint16_t port, std::uint64_t now)
{
    expire(now);
    return port == data_port ? read_register(now) : 0xff;  // the index cannot be read
}

std::uint8_t Rtc::read_register(std::uint64_t now)
{
    const std::uint8_t which = state_.index;
    if (is_time(which))
        return read_time(which, calendar_at(now));
    if (which == REGISTER_A) {
        const bool soon = updates() && next_update(now) - now <= update_warning;
        return static_cast<std::uint8_t>(state_.ram[REGISTER_A] | (soon ? update_in_progress : 0));
    }
    if (which == REGISTER_C)
        return read_flags();
    return which == REGISTER_D ? valid_ram : state_.ram[which];
}

std::uint8_t Rtc::read_time(std::uint8_t which, const CalendarTime& time) const
{
    switch (which) {
    case SECONDS: return encode(time.second);
    case MINUTES: return encode(time.minute);
    case HOURS: return encode_hour(time.hour);
    case WEEKDAY: return encode(time.weekday + 1u);
    case DAY: return encode(time.day);
    case MONTH: return encode(time.month);
    case YEAR: return encode(static_cast<unsigned>(time.year) % 100);
    default: return encode(static_cast<unsigned>(time.year) / 100);
    }
}

std::uint8_t Rtc::read_flags()
{
    const auto value =
        static_cast<std::uint8_t>(state_.ram[REGISTER_C] | (is_interrupting() ? interrupt_request : 0));
    state_.ram[REGISTER_C] = 0;
    update_line();
    return value;
}

void Rtc::write(std::uint16_t port, std::uint8_t value, std::uint64_t now)
{
    expire(now);
    if (port == index_port)
        state_.index = value & 0x7f;  // bit 7 would mask NMI
    else if (port == data_port)
        write_register(value, now);
}

void Rtc::write_register(std::uint8_t value, std::uint64_t now)
{
    const std::uint8_t which = state_.index;
    if (is_time(which))
        write_time(which, value, now);
    else if (which == REGISTER_A || which == REGISTER_B)
        write_control(which, value, now);
    else if (which != REGISTER_C && which != REGISTER_D)
        state_.ram[which] = value;
}

/// Values that no clock shows are brought into range; a day that its month does not have runs over when the
/// clock starts, so that a guest may write day and month in any order.
void Rtc::write_time(std::uint8_t which, std::uint8_t value, std::uint64_t now)
{
    CalendarTime time = calendar_at(now);
    const auto clamped = [&](unsigned low, unsigned high) {
        return static_cast<std::uint8_t>(std::clamp(decode(value), low, high));
    };
    switch (which) {
    case SECONDS: time.second = clamped(0, 59); break;
    case MINUTES: time.minute = clamped(0, 59); break;
    case HOURS: time.hour = static_cast<std::uint8_t>(std::min(decode_hour(value), 23u)); break;
    case DAY: time.day = clamped(1, 31); break;
    case MONTH: time.month = clamped(1, 12); break;
    case YEAR: time.year = time.year / 100 * 100 + clamped(0, 99); break;
    case CENTURY: time.year = clamped(0, 99) * 100 + time.year % 100; break;
    default: return;  // the weekday follows the date
    }
    set_calendar(time, now);
}

void Rtc::write_control(std::uint8_t which, std::uint8_t value, std::uint64_t now)
{
    const bool ran = is_running();
    const CalendarTime time = calendar_at(now);
    const auto was_set = static_cast<std::uint8_t>(state_.ram[REGISTER_B] & set_bit);
    std::uint8_t next = which == REGISTER_A ? value & 0x7f : value;
    if (which == REGISTER_B && (value & set_bit) != 0 && was_set == 0)
        next &= static_cast<std::uint8_t>(~update);  // setting SET clears UIE
    state_.ram[which] = next;
    if (!ran && is_running())  // the divider starts anew, half a second before an update
        state_.phase = (second + divider_delay - now % second) % second;
    set_calendar(time, now);
    update_line();
}

bool Rtc::is_interrupting() const
{
    return (state_.ram[REGISTER_C] & state_.ram[REGISTER_B] & sources) != 0;
}

void Rtc::update_line()
{
    line_.set_line(protocol::rtc_gsi, is_interrupting());
}

std::uint64_t Rtc::next_deadline() const
{
    const auto waits = [this](std::uint8_t source) {
        return (state_.ram[REGISTER_B] & source) != 0 && (state_.ram[REGISTER_C] & source) == 0;
    };
    std::uint64_t earliest = no_deadline;
    if (waits(update))
        earliest = std::min(earliest, next_update(state_.seen));
    if (waits(periodic))
        earliest = std::min(earliest, next_periodic(state_.seen));
    if (waits(alarm))
        earliest = std::min(earliest, next_alarm(state_.seen));
    return earliest;
}

/// Flags are set whether their interrupt is enabled or not, and stay until register C is read.
void Rtc::expire(std::uint64_t now)
{
    if (now <= state_.seen)
        return;
    std::uint8_t& flags = state_.ram[REGISTER_C];
    if ((flags & update) == 0 && next_update(state_.seen) <= now)
        flags |= update;
    if ((flags & periodic) == 0 && next_periodic(state_.seen) <= now)
        flags |= periodic;
    if ((flags & alarm) == 0 && next_alarm(state_.seen) <= now)
        flags |= alarm;
    state_.seen = now;
    update_line();
}

bool Rtc::restore(const RtcState& state)
{
    constexpr std::int64_t ten_thousand_years{315'576'000'000};
    const CalendarTime& frozen = state.frozen;
    const bool possible =
        state.index < state.ram.size() && state.phase < second && state.seconds_offset < ten_thousand_years &&
        state.seconds_offset > -ten_thousand_years && frozen.year >= 0 && frozen.year <= 9'999 &&
        frozen.month >= 1 && frozen.month <= 12 && frozen.day >= 1 && frozen.day <= 31 && frozen.hour < 24 &&
        frozen.minute < 60 && frozen.second < 60 && frozen.weekday < 7 &&
        (state.ram[REGISTER_A] & update_in_progress) == 0 && (state.ram[REGISTER_C] & ~sources) == 0;
    if (!possible)
        return false;
    state_ = state;
    update_line();
    return true;
}

}  // namespace hv::core
