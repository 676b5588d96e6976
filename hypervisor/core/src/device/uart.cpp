// SPDX-License-Identifier: MIT
//
// The 16550A's registers and interrupts [16550D-1995 §8].
#include "hv/core/device/uart.hpp"

#include "hv/base/field.hpp"

namespace hv::core {

namespace {

/// Offsets of the registers from the first port.
enum class Register : std::uint8_t {
    data = 0,
    interrupt_enable = 1,
    identification = 2,
    line_control = 3,
    modem_control = 4,
    line_status = 5,
    modem_status = 6,
    scratch = 7,
};

// Interrupt enable.
constexpr std::uint8_t enable_receive{1 << 0};
constexpr std::uint8_t enable_transmit{1 << 1};
constexpr std::uint8_t enable_line_status{1 << 2};
constexpr std::uint8_t enable_modem_status{1 << 3};
constexpr std::uint8_t enable_defined{0x0f};

// Interrupt identification, in order of priority.
constexpr std::uint8_t id_line_status{0x06};
constexpr std::uint8_t id_receive{0x04};
constexpr std::uint8_t id_receive_timeout{0x0c};
constexpr std::uint8_t id_transmit{0x02};
constexpr std::uint8_t id_modem_status{0x00};
constexpr std::uint8_t id_none{0x01};
constexpr std::uint8_t id_fifos_enabled{0xc0};

// FIFO control.
constexpr std::uint8_t fifo_enable{1 << 0};
constexpr std::uint8_t fifo_clear_receiver{1 << 1};
constexpr std::uint8_t fifo_trigger{0xc0};

constexpr std::uint8_t divisor_access{1 << 7};

// Modem control.
constexpr std::uint8_t control_dtr{1 << 0};
constexpr std::uint8_t control_rts{1 << 1};
constexpr std::uint8_t control_out1{1 << 2};
constexpr std::uint8_t control_out2{1 << 3};
constexpr std::uint8_t control_loop{1 << 4};
constexpr std::uint8_t control_defined{0x1f};

// Line status.
constexpr std::uint8_t line_data_ready{1 << 0};
constexpr std::uint8_t line_overrun{1 << 1};
constexpr std::uint8_t line_transmitter_empty{1 << 5};
constexpr std::uint8_t line_all_sent{1 << 6};
constexpr std::uint8_t line_errors_defined{0x1e};

// Modem status: levels in 7:4, their changes in 3:0.
constexpr std::uint8_t modem_cts{1 << 4};
constexpr std::uint8_t modem_dsr{1 << 5};
constexpr std::uint8_t modem_ri{1 << 6};
constexpr std::uint8_t modem_dcd{1 << 7};
constexpr std::uint8_t modem_levels{0xf0};
constexpr std::uint8_t modem_changes{0x0f};
/// What a terminal that is switched on and listening asserts.
constexpr std::uint8_t modem_connected{modem_cts | modem_dsr | modem_dcd};
constexpr std::uint8_t ring_ended{1 << 2};

constexpr std::uint16_t power_up_divisor{12};

/// The modem lines as the port sees them: the other end's, or in loopback its own outputs.
constexpr std::uint8_t modem_inputs(std::uint8_t modem_control)
{
    if ((modem_control & control_loop) == 0)
        return modem_connected;
    return static_cast<std::uint8_t>(((modem_control & control_rts) != 0 ? modem_cts : 0) |
                                     ((modem_control & control_dtr) != 0 ? modem_dsr : 0) |
                                     ((modem_control & control_out1) != 0 ? modem_ri : 0) |
                                     ((modem_control & control_out2) != 0 ? modem_dcd : 0));
}

}  // namespace

Uart::Uart(InterruptLine& line, UartHost& host) : line_{line}, host_{host}
{
    reset();
}

/// Names every member of the state, so that a new one does not compile until it is handled here.
void Uart::reset()
{
    auto& [received, unsent, interrupt_enable, fifo_control, line_control, modem_control, line_errors,
           modem_status, scratch, divisor, transmitter_interrupt] = state_;
    received = {};
    unsent = {};
    interrupt_enable = 0;
    fifo_control = 0;
    line_control = 0;
    modem_control = 0;
    line_errors = 0;
    modem_status = modem_connected;
    scratch = 0;
    divisor = power_up_divisor;
    transmitter_interrupt = false;
    update_line();
}

std::uint8_t Uart::capacity() const
{
    return (state_.fifo_control & fifo_enable) != 0 ? 16 : 1;
}

std::uint8_t Uart::trigger_level() const
{
    constexpr std::uint8_t levels[]{1, 4, 8, 14};
    return (state_.fifo_control & fifo_enable) != 0 ? levels[state_.fifo_control >> 6] : 1;
}

std::uint8_t Uart::identification() const
{
    const std::uint8_t enabled = state_.interrupt_enable;
    if ((enabled & enable_line_status) != 0 && state_.line_errors != 0)
        return id_line_status;
    if ((enabled & enable_receive) != 0 && state_.received.count != 0)
        return state_.received.count >= trigger_level() ? id_receive : id_receive_timeout;
    if ((enabled & enable_transmit) != 0 && state_.transmitter_interrupt)
        return id_transmit;
    if ((enabled & enable_modem_status) != 0 && (state_.modem_status & modem_changes) != 0)
        return id_modem_status;
    return id_none;
}

std::uint8_t Uart::line_status() const
{
    const bool empty = state_.unsent.count == 0;
    return static_cast<std::uint8_t>((state_.received.count != 0 ? line_data_ready : 0) | state_.line_errors |
                                     (empty ? line_transmitter_empty | line_all_sent : 0));
}

/// On a PC the port's interrupt reaches its line through OUT2, which loopback disconnects.
void Uart::update_line()
{
    const bool connected = (state_.modem_control & (control_out2 | control_loop)) == control_out2;
    const bool level = connected && identification() != id_none;
    if (level || line_is_high_)  // low as before: nothing can come of it
        line_.set_line(protocol::uart_gsi, level);
    line_is_high_ = level;
}

std::uint8_t Uart::read(std::uint16_t port)
{
    if (port < protocol::uart_port || port - protocol::uart_port >= protocol::uart_ports)
        return 0xff;
    const bool divisor = (state_.line_control & divisor_access) != 0;
    switch (static_cast<Register>(port - protocol::uart_port)) {
    case Register::data: return divisor ? static_cast<std::uint8_t>(state_.divisor) : read_receiver();
    case Register::interrupt_enable:
        return divisor ? static_cast<std::uint8_t>(state_.divisor >> 8) : state_.interrupt_enable;
    case Register::identification: return read_identification();
    case Register::line_control: return state_.line_control;
    case Register::modem_control: return state_.modem_control;
    case Register::line_status: return read_line_status();
    case Register::modem_status: return read_modem_status();
    case Register::scratch: return state_.scratch;
    }
    return 0xff;
}

std::uint8_t Uart::read_receiver()
{
    if (state_.received.count == 0)
        return 0;
    const bool was_full = state_.received.count >= capacity();
    const std::uint8_t byte = state_.received.front();
    state_.received.pop();
    update_line();
    if (was_full)
        host_.receiver_has_room();
    return byte;
}

/// Telling of the empty transmitter settles that interrupt; all others are settled where their cause is.
std::uint8_t Uart::read_identification()
{
    const std::uint8_t id = identification();
    if (id == id_transmit) {
        state_.transmitter_interrupt = false;
        update_line();
    }
    return static_cast<std::uint8_t>(id | ((state_.fifo_control & fifo_enable) != 0 ? id_fifos_enabled : 0));
}

std::uint8_t Uart::read_line_status()
{
    const std::uint8_t status = line_status();
    state_.line_errors = 0;
    update_line();
    return status;
}

std::uint8_t Uart::read_modem_status()
{
    const std::uint8_t status = state_.modem_status;
    state_.modem_status &= modem_levels;
    update_line();
    return status;
}

void Uart::write(std::uint16_t port, std::uint8_t value)
{
    if (port < protocol::uart_port || port - protocol::uart_port >= protocol::uart_ports)
        return;
    const bool divisor = (state_.line_control & divisor_access) != 0;
    switch (static_cast<Register>(port - protocol::uart_port)) {
    case Register::data:
        if (divisor)
            state_.divisor = static_cast<std::uint16_t>((state_.divisor & 0xff00) | value);
        else
            write_transmitter(value);
        break;
    case Register::interrupt_enable:
        if (divisor)
            state_.divisor = static_cast<std::uint16_t>((state_.divisor & 0x00ff) | value << 8);
        else
            write_interrupt_enable(value);
        break;
    case Register::identification: write_fifo_control(value); break;
    case Register::line_control: state_.line_control = value; break;
    case Register::modem_control: write_modem_control(value); break;
    case Register::line_status:
    case Register::modem_status: break;  // read-only
    case Register::scratch: state_.scratch = value; return;  // no interrupt depends on it
    }
    update_line();
}

/// A byte for a transmitter that is full is lost, as on the chip: the guest had not looked at the line
/// status.
void Uart::write_transmitter(std::uint8_t value)
{
    if ((state_.modem_control & control_loop) != 0) {
        if (state_.received.count < capacity())
            state_.received.push(value);
        else
            state_.line_errors |= line_overrun;
    } else if (state_.unsent.count != 0 || !host_.transmit(value)) {
        if (state_.unsent.count < capacity())
            state_.unsent.push(value);
    }
    state_.transmitter_interrupt = state_.unsent.count == 0;
}

/// To enable the transmitter's interrupt while the transmitter is empty raises it: drivers start sending so.
void Uart::write_interrupt_enable(std::uint8_t value)
{
    const bool newly = (value & enable_transmit) != 0 && (state_.interrupt_enable & enable_transmit) == 0;
    state_.interrupt_enable = value & enable_defined;
    if (newly && state_.unsent.count == 0)
        state_.transmitter_interrupt = true;
}

/// Other bits count only together with the enable bit; a change of that clears the receiver.
void Uart::write_fifo_control(std::uint8_t value)
{
    const bool enable = (value & fifo_enable) != 0;
    const bool changes = enable != ((state_.fifo_control & fifo_enable) != 0);
    const bool was_full = !can_receive();
    state_.fifo_control = enable ? value & (fifo_enable | fifo_trigger) : 0;
    if (changes || (enable && (value & fifo_clear_receiver) != 0))
        state_.received = {};
    if (was_full && can_receive())
        host_.receiver_has_room();
}

void Uart::write_modem_control(std::uint8_t value)
{
    const bool could_receive = can_receive();
    state_.modem_control = value & control_defined;
    const std::uint8_t before = state_.modem_status & modem_levels;
    const std::uint8_t inputs = modem_inputs(state_.modem_control);
    auto changes = static_cast<std::uint8_t>((before ^ inputs) >> 4);
    if ((inputs & modem_ri) != 0)
        changes &= static_cast<std::uint8_t>(~ring_ended);  // of the ring indicator only the end counts
    state_.modem_status = static_cast<std::uint8_t>(inputs | (state_.modem_status & modem_changes) | changes);
    if (!could_receive && can_receive())
        host_.receiver_has_room();
}

bool Uart::can_receive() const
{
    return (state_.modem_control & control_loop) == 0 && state_.received.count < capacity();
}

bool Uart::receive(std::uint8_t byte)
{
    if (!can_receive())
        return false;
    state_.received.push(byte);
    update_line();
    return true;
}

void Uart::transmit_room()
{
    if (state_.unsent.count == 0)
        return;
    while (state_.unsent.count != 0 && host_.transmit(state_.unsent.front()))
        state_.unsent.pop();
    if (state_.unsent.count == 0)
        state_.transmitter_interrupt = true;
    update_line();
}

bool Uart::restore(const UartState& state)
{
    const auto sound = [](const UartFifo& fifo) { return fifo.first < 16 && fifo.count <= 16; };
    const bool possible =
        sound(state.received) && sound(state.unsent) && (state.interrupt_enable & ~enable_defined) == 0 &&
        (state.fifo_control & ~(fifo_enable | fifo_trigger)) == 0 &&
        (state.modem_control & ~control_defined) == 0 && (state.line_errors & ~line_errors_defined) == 0 &&
        (!state.transmitter_interrupt || state.unsent.count == 0);
    if (!possible)
        return false;
    state_ = state;
    update_line();
    return true;
}

}  // namespace hv::core
