// SPDX-License-Identifier: MIT
//
// The PC's interval timer, an 8254 with three channels [8254-1993], and the port 0x61 that gates channel 2
// and shows its output.  Channel 0 drives IRQ 0.  Nothing counts: a count is arithmetic on the time passed
// in.
//
// The caller holds the domain's device lock.  Time is guest nanoseconds and never goes back.  8-bit ports.
// Deviations: a count takes effect at once instead of at the next clock; a new count of modes 2 and 3 at the
// end of the period; IRQ 0 falls only right before it rises again or when the channel is programmed, so that
// a tick that is delivered late is not lost.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "hv/core/interrupt/interrupt_line.hpp"
#include "hv/protocol/platform_layout.hpp"

namespace hv::core {

/// One channel, as plain data for save and restore.
struct PitChannelState {
    std::uint8_t mode{};     ///< 0 to 5
    std::uint8_t access{3};  ///< 1 low byte, 2 high byte, 3 low then high
    bool decimal{};          ///< counts in BCD
    bool gate{};
    bool write_high_next{};
    bool read_high_next{};
    std::uint8_t low_written{};
    bool count_latched{};
    bool status_latched{};
    std::uint8_t latched_status{};
    std::uint16_t latched_count{};
    bool loaded{};                ///< a count is in the counting element
    bool running{};               ///< and it is counting
    std::uint32_t reload{};       ///< the count in use, 1 to 65536
    std::uint32_t written{};      ///< one that was written and is not in use yet, or 0
    std::uint64_t switch_tick{};  ///< modes 2 and 3: when `written` takes over
    std::uint64_t start{};        ///< while running: the tick at which the count was `reload`
    std::uint64_t elapsed{};      ///< while not running: ticks counted so far

    friend bool operator==(const PitChannelState&, const PitChannelState&) = default;
};

struct PitState {
    std::array<PitChannelState, 3> channels{};
    std::uint8_t control{};   ///< port 0x61, bits 3:0
    std::uint64_t updated{};  ///< the tick up to which channel 0's edges have been delivered

    friend bool operator==(const PitState&, const PitState&) = default;
};

/// What one channel does, in ticks of its clock.
class PitChannel {
public:
    explicit PitChannel(PitChannelState& state) : state_{state} {}

    void program(std::uint8_t control_word);
    void latch_count(std::uint64_t tick);
    void latch_status(std::uint64_t tick);
    void write(std::uint8_t value, std::uint64_t tick);
    std::uint8_t read(std::uint64_t tick);
    void set_gate(bool level, std::uint64_t tick);
    /// Lets a count that was written take over when its time has come.
    void settle(std::uint64_t tick);
    [[nodiscard]] bool output(std::uint64_t tick) const;
    /// The first tick after `tick` at which the output rises.
    [[nodiscard]] std::optional<std::uint64_t> next_rise(std::uint64_t tick) const;

private:
    [[nodiscard]] std::uint64_t elapsed(std::uint64_t tick) const;
    [[nodiscard]] std::uint16_t count(std::uint64_t tick) const;
    void load(std::uint32_t count, std::uint64_t tick);
    void accept_count(std::uint16_t raw, std::uint64_t tick);

    PitChannelState& state_;
};

class Pit {
public:
    static constexpr std::uint64_t frequency{1'193'182};
    /// A periodic channel 0 wakes nobody more often than every so many clocks (20 microseconds): a shorter
    /// period would keep the processor in the hypervisor.
    static constexpr std::uint64_t minimum_period{24};

    explicit Pit(InterruptLine& line);

    /// Power-up: no channel counts until it is programmed.
    void reset();
    /// Ports 0x40 to 0x43 and 0x61; others read all-ones and drop writes.
    std::uint8_t read(std::uint16_t port, std::uint64_t now);
    void write(std::uint16_t port, std::uint8_t value, std::uint64_t now);

    /// Guest nanoseconds of the next edge of IRQ 0, or no_deadline.
    [[nodiscard]] std::uint64_t next_deadline() const;
    /// Delivers what is due; edges that were missed are one.
    void expire(std::uint64_t now);

    [[nodiscard]] const PitState& save() const { return state_; }
    /// False, and nothing changed, when the state is one that no guest could have brought about.
    [[nodiscard]] bool restore(const PitState& state);

private:
    [[nodiscard]] PitChannel channel(unsigned index) { return PitChannel{state_.channels[index]}; }
    void write_control_word(std::uint8_t value, std::uint64_t tick);
    void read_back(std::uint8_t value, std::uint64_t tick);

    InterruptLine& line_;
    PitState state_{};
};

}  // namespace hv::core
