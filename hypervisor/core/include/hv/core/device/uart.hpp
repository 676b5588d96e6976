// SPDX-License-Identifier: MIT
//
// A 16550A serial port [16550D-1995]: COM1 of a guest, that is its console.  Bytes leave through a host
// interface that may have no room: then the transmitter stays busy, and the guest sees what it would see of a
// slow line.  No byte is lost either way.  Nothing is timed: a byte is on the line at once, and a receiver
// below its trigger level reports the character time-out at once.
//
// The caller holds the domain's device lock.  8-bit ports.
// Deviation: clearing the transmit FIFO discards nothing, as its bytes would be long gone on a real line.
#pragma once

#include <array>
#include <cstdint>

#include "hv/core/interrupt/interrupt_line.hpp"
#include "hv/protocol/platform_layout.hpp"

namespace hv::core {

/// The other end of the line.
class UartHost {
public:
    /// Takes one byte; false when there is no room now: the owner then calls Uart::transmit_room() later.
    virtual bool transmit(std::uint8_t byte) = 0;
    /// The receiver was full and has room again.
    virtual void receiver_has_room() = 0;

protected:
    ~UartHost() = default;
};

/// Sixteen bytes, first in first out; plain data.
struct UartFifo {
    std::array<std::uint8_t, 16> bytes{};
    std::uint8_t first{};
    std::uint8_t count{};

    void push(std::uint8_t byte) { bytes[(first + count++) % bytes.size()] = byte; }
    [[nodiscard]] std::uint8_t front() const { return bytes[first]; }
    void pop()
    {
        first = static_cast<std::uint8_t>((first + 1) % bytes.size());
        --count;
    }
    friend bool operator==(const UartFifo&, const UartFifo&) = default;
};

/// The whole state as plain data, for save and restore.
struct UartState {
    UartFifo received{};
    UartFifo unsent{};
    std::uint8_t interrupt_enable{};
    std::uint8_t fifo_control{};  ///< enable and trigger level
    std::uint8_t line_control{};
    std::uint8_t modem_control{};
    std::uint8_t line_errors{};  ///< bits 4:1 of the LSR
    std::uint8_t modem_status{};
    std::uint8_t scratch{};
    std::uint16_t divisor{};
    bool transmitter_interrupt{};  ///< the transmitter became empty and nobody has been told

    friend bool operator==(const UartState&, const UartState&) = default;
};

class Uart {
public:
    Uart(InterruptLine& line, UartHost& host);

    void reset();
    /// Ports 0x3f8 to 0x3ff; others read all-ones and drop writes.
    std::uint8_t read(std::uint16_t port);
    void write(std::uint16_t port, std::uint8_t value);

    [[nodiscard]] bool can_receive() const;
    /// Puts a byte into the receiver; false, and nothing changed, when it has no room.
    [[nodiscard]] bool receive(std::uint8_t byte);
    /// The host has room again: sends what waits.
    void transmit_room();

    [[nodiscard]] const UartState& save() const { return state_; }
    /// False, and nothing changed, when the state is one that no guest could have brought about.
    [[nodiscard]] bool restore(const UartState& state);

private:
    [[nodiscard]] std::uint8_t capacity() const;
    [[nodiscard]] std::uint8_t trigger_level() const;
    [[nodiscard]] std::uint8_t identification() const;
    [[nodiscard]] std::uint8_t line_status() const;
    std::uint8_t read_receiver();
    std::uint8_t read_identification();
    std::uint8_t read_line_status();
    std::uint8_t read_modem_status();
    void write_transmitter(std::uint8_t value);
    void write_interrupt_enable(std::uint8_t value);
    void write_fifo_control(std::uint8_t value);
    void write_modem_control(std::uint8_t value);
    void update_line();

    InterruptLine& line_;
    bool line_is_high_{true};  ///< as it was last told; before, the line has to be
    UartHost& host_;
    UartState state_{};
};

}  // namespace hv::core
