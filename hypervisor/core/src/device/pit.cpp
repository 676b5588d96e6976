// SPDX-License-Identifier: MIT
//
// The interval timer as a whole: time in clock ticks, the control word, port 0x61 and IRQ 0 [8254-1993].
#include "hv/core/device/pit.hpp"

#include <algorithm>

#include "hv/base/field.hpp"

namespace hv::core {

namespace {

constexpr std::uint64_t second{1'000'000'000};
/// Half a period of the memory refresh that bit 4 of port 0x61 follows: some 15 microseconds on every PC.
constexpr std::uint64_t refresh_toggle{15'085};

constexpr std::uint16_t control_word_port{protocol::pit_port + 3};
using ControlChannel = Field<7, 6, unsigned>;
using ControlAccess = Field<5, 4>;

using SystemGate2 = Bit<0>;
using SystemRefresh = Bit<4>;
using SystemOutput2 = Bit<5>;
constexpr std::uint8_t system_writable{0x0f};

/// Clock ticks that have passed at `now`.
constexpr std::uint64_t to_ticks(std::uint64_t now)
{
    return now / second * Pit::frequency + now % second * Pit::frequency / second;
}

/// The first nanosecond at which `tick` ticks have passed.
constexpr std::uint64_t to_nanoseconds(std::uint64_t tick)
{
    const std::uint64_t rest = tick % Pit::frequency * second;
    return tick / Pit::frequency * second + (rest + Pit::frequency - 1) / Pit::frequency;
}
static_assert(to_ticks(to_nanoseconds(123'456'789)) == 123'456'789);
static_assert(to_ticks(to_nanoseconds(123'456'789) - 1) == 123'456'788);

}  // namespace

Pit::Pit(InterruptLine& line) : line_{line}
{
    reset();
}

/// Names every member of the state, so that a new one does not compile until it is handled here.
void Pit::reset()
{
    auto& [channels, control, updated] = state_;
    channels.fill(PitChannelState{});
    channels[0].gate = true;  // wired high
    channels[1].gate = true;
    control = 0;
    updated = 0;
    line_.set_line(protocol::pit_irq, false);
}

std::uint8_t Pit::read(std::uint16_t port, std::uint64_t now)
{
    expire(now);
    const std::uint64_t tick = to_ticks(now);
    if (port == protocol::system_control_port) {
        channel(2).settle(tick);
        const std::uint64_t value = SystemRefresh::make(now / refresh_toggle % 2 != 0) |
                                    SystemOutput2::make(channel(2).output(tick)) | state_.control;
        return static_cast<std::uint8_t>(value);
    }
    if (port < protocol::pit_port || port >= control_word_port)
        return 0xff;  // the control word cannot be read
    return channel(port - protocol::pit_port).read(tick);
}

void Pit::write(std::uint16_t port, std::uint8_t value, std::uint64_t now)
{
    expire(now);
    const std::uint64_t tick = to_ticks(now);
    if (port == protocol::system_control_port) {
        state_.control = value & system_writable;
        channel(2).set_gate(SystemGate2::get(value), tick);
    } else if (port == control_word_port) {
        write_control_word(value, tick);
    } else if (port >= protocol::pit_port && port < control_word_port) {
        const unsigned index = port - protocol::pit_port;
        channel(index).write(value, tick);
        if (index == 0 && !channel(0).output(tick))
            line_.set_line(protocol::pit_irq, false);
    }
}

void Pit::write_control_word(std::uint8_t value, std::uint64_t tick)
{
    const unsigned index = ControlChannel::get(value);
    if (index == 3)
        return read_back(value, tick);
    if (ControlAccess::get(value) == 0)
        return channel(index).latch_count(tick);
    channel(index).program(value);
    if (index == 0)  // the output is at rest: only mode 0 rests low, but a rest is no interrupt either way
        line_.set_line(protocol::pit_irq, false);
}

/// The read-back command: zero bits choose what to latch, bits 3:1 of which channels.
void Pit::read_back(std::uint8_t value, std::uint64_t tick)
{
    using NoStatus = Bit<4>;
    using NoCount = Bit<5>;
    for (unsigned index = 0; index < state_.channels.size(); ++index) {
        if ((value >> (index + 1) & 1) == 0)
            continue;
        if (!NoCount::get(value))
            channel(index).latch_count(tick);
        if (!NoStatus::get(value))
            channel(index).latch_status(tick);
    }
}

std::uint64_t Pit::next_deadline() const
{
    PitChannelState copy = state_.channels[0];
    const auto rise = PitChannel{copy}.next_rise(state_.updated);
    if (!rise)
        return no_deadline;
    const bool too_often = (copy.mode == 2 || copy.mode == 3) && copy.reload < minimum_period;
    return to_nanoseconds(too_often ? std::max(*rise, state_.updated + minimum_period) : *rise);
}

void Pit::expire(std::uint64_t now)
{
    const std::uint64_t tick = to_ticks(now);
    if (tick <= state_.updated)
        return;
    const auto rise = channel(0).next_rise(state_.updated);
    state_.updated = tick;
    channel(0).settle(tick);
    if (!rise || *rise > tick)
        return;
    line_.set_line(protocol::pit_irq, false);
    line_.set_line(protocol::pit_irq, true);
}

bool Pit::restore(const PitState& state)
{
    bool possible = state.control <= system_writable;
    for (const PitChannelState& each : state.channels)
        possible = possible && each.mode < 6 && each.access >= 1 && each.access <= 3 &&
                   each.reload <= 65'536 && each.written <= 65'536 && (!each.loaded || each.reload != 0) &&
                   (!each.running || each.loaded) && (!each.running || each.start <= state.updated);
    if (possible)
        state_ = state;
    return possible;
}

}  // namespace hv::core
