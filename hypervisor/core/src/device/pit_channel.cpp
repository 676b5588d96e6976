// SPDX-License-Identifier: MIT
//
// One channel of an 8254: its six modes as arithmetic on elapsed clock ticks [8254-1993 "Mode definitions"].
#include "hv/base/field.hpp"
#include "hv/core/device/pit.hpp"

namespace hv::core {

namespace {

using ControlDecimal = Bit<0>;
using ControlMode = Field<3, 1, std::uint8_t>;
using ControlAccess = Field<5, 4, std::uint8_t>;
using StatusNullCount = Bit<6>;
using StatusOutput = Bit<7>;

constexpr std::uint8_t low_only{1};
constexpr std::uint8_t high_only{2};

constexpr bool is_periodic(std::uint8_t mode)
{
    return mode == 2 || mode == 3;
}

/// Modes in which a rising gate, not the write of the count, starts the count.
constexpr bool is_triggered(std::uint8_t mode)
{
    return mode == 1 || mode == 5;
}

constexpr std::uint32_t from_decimal(std::uint32_t raw)
{
    return (raw >> 12) * 1000 + (raw >> 8 & 15) * 100 + (raw >> 4 & 15) * 10 + (raw & 15);
}

constexpr std::uint32_t to_decimal(std::uint32_t value)
{
    return value / 1000 % 10 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10;
}

}  // namespace

void PitChannel::program(std::uint8_t control_word)
{
    const bool gate = state_.gate;
    state_ = PitChannelState{};
    state_.gate = gate;
    const std::uint8_t mode = ControlMode::get(control_word);
    state_.mode = mode < 6 ? mode : static_cast<std::uint8_t>(mode - 4);  // 6 and 7 are 2 and 3
    state_.access = ControlAccess::get(control_word);
    state_.decimal = ControlDecimal::get(control_word);
}

std::uint64_t PitChannel::elapsed(std::uint64_t tick) const
{
    return state_.running ? tick - state_.start : state_.elapsed;
}

bool PitChannel::output(std::uint64_t tick) const
{
    if (!state_.loaded || (is_periodic(state_.mode) && !state_.gate))
        return state_.mode != 0;
    const std::uint64_t ticks = elapsed(tick);
    const std::uint64_t reload = state_.reload;
    switch (state_.mode) {
    case 0:
    case 1: return ticks >= reload;
    case 2: return ticks % reload != reload - 1;
    case 3: return ticks % reload < (reload + 1) / 2;
    default: return ticks != reload;  // 4 and 5: one clock low
    }
}

std::uint16_t PitChannel::count(std::uint64_t tick) const
{
    if (!state_.loaded)
        return 0;
    const std::uint64_t modulus = state_.decimal ? 10'000 : 65'536;
    const std::uint64_t ticks = elapsed(tick);
    const std::uint64_t reload = state_.reload;
    std::uint64_t value{};
    if (state_.mode == 2) {
        value = reload - ticks % reload;
    } else if (state_.mode == 3) {  // counts by twos, once for each half
        const std::uint64_t phase = ticks % reload;
        const std::uint64_t half = (reload + 1) / 2;
        value = (reload & ~1ull) - 2 * (phase < half ? phase : phase - half);
    } else {
        value = reload + modulus - ticks % modulus;
    }
    const auto shown = static_cast<std::uint32_t>(value % modulus);
    return static_cast<std::uint16_t>(state_.decimal ? to_decimal(shown) : shown);
}

std::optional<std::uint64_t> PitChannel::next_rise(std::uint64_t tick) const
{
    if (!state_.loaded || !state_.running)
        return std::nullopt;
    const std::uint64_t ticks = elapsed(tick);
    const std::uint64_t reload = state_.reload;
    if (is_periodic(state_.mode))
        return state_.written != 0 && state_.switch_tick > tick ? state_.switch_tick
                                                                : tick + (reload - ticks % reload);
    const std::uint64_t rise = state_.mode <= 1 ? reload : reload + 1;
    if (ticks >= rise)
        return std::nullopt;
    return state_.start + rise;
}

void PitChannel::settle(std::uint64_t tick)
{
    if (!is_periodic(state_.mode) || !state_.running || state_.written == 0 || tick < state_.switch_tick)
        return;
    state_.start = state_.switch_tick;
    state_.reload = state_.written;
    state_.written = 0;
}

void PitChannel::load(std::uint32_t value, std::uint64_t tick)
{
    state_.reload = value;
    state_.written = 0;
    state_.loaded = true;
    state_.elapsed = 0;
    state_.start = tick;
    state_.running = state_.gate || is_triggered(state_.mode);
}

void PitChannel::accept_count(std::uint16_t raw, std::uint64_t tick)
{
    std::uint32_t value = state_.decimal ? from_decimal(raw) : raw;
    if (value == 0)
        value = state_.decimal ? 10'000 : 65'536;
    if (is_triggered(state_.mode)) {
        state_.written = value;
    } else if (is_periodic(state_.mode) && state_.loaded) {
        state_.written = value;
        if (state_.running)
            state_.switch_tick = tick + (state_.reload - elapsed(tick) % state_.reload);
    } else {
        load(value, tick);
    }
}

void PitChannel::write(std::uint8_t value, std::uint64_t tick)
{
    settle(tick);
    if (state_.access == low_only)
        return accept_count(value, tick);
    if (state_.access == high_only)
        return accept_count(static_cast<std::uint16_t>(value << 8), tick);
    if (state_.write_high_next) {
        state_.write_high_next = false;
        return accept_count(static_cast<std::uint16_t>(value << 8 | state_.low_written), tick);
    }
    state_.low_written = value;
    state_.write_high_next = true;
    if (state_.mode == 0) {  // the first byte stops the count, and the output is low
        state_.loaded = false;
        state_.running = false;
    }
}

void PitChannel::latch_count(std::uint64_t tick)
{
    settle(tick);
    if (state_.count_latched)
        return;
    state_.latched_count = count(tick);
    state_.count_latched = true;
}

void PitChannel::latch_status(std::uint64_t tick)
{
    settle(tick);
    if (state_.status_latched)
        return;
    const std::uint64_t status = StatusOutput::make(output(tick)) |
                                 StatusNullCount::make(!state_.loaded || state_.written != 0) |
                                 ControlAccess::make(state_.access) | ControlMode::make(state_.mode) |
                                 ControlDecimal::make(state_.decimal);
    state_.latched_status = static_cast<std::uint8_t>(status);
    state_.status_latched = true;
}

/// A latched status is read first, then a latched count, else the count as it is.
std::uint8_t PitChannel::read(std::uint64_t tick)
{
    settle(tick);
    if (state_.status_latched) {
        state_.status_latched = false;
        return state_.latched_status;
    }
    const std::uint16_t value = state_.count_latched ? state_.latched_count : count(tick);
    const bool both = state_.access != low_only && state_.access != high_only;
    const bool high = state_.access == high_only || (both && state_.read_high_next);
    if (both)
        state_.read_high_next = !state_.read_high_next;
    if (!both || high)
        state_.count_latched = false;
    return static_cast<std::uint8_t>(high ? value >> 8 : value);
}

/// A low gate stops the count, but in modes 1 and 5; a rising one starts those and the periods of 2 and 3
/// anew.
void PitChannel::set_gate(bool level, std::uint64_t tick)
{
    settle(tick);
    if (level == state_.gate)
        return;
    state_.gate = level;
    if (level && (is_triggered(state_.mode) || is_periodic(state_.mode))) {
        const std::uint32_t next = state_.written != 0 ? state_.written : state_.reload;
        if (next != 0)
            load(next, tick);
    } else if (level && state_.loaded) {
        state_.start = tick - state_.elapsed;
        state_.running = true;
    } else if (!level && state_.running && !is_triggered(state_.mode)) {
        state_.elapsed = tick - state_.start;
        state_.running = false;
    }
}

}  // namespace hv::core
