// SPDX-License-Identifier: MIT
//
// The 16550 as a console: see serial.hpp.  Registers and bits: [16550D-1995 §8].
#include "hv/arch/x86/platform/serial.hpp"

#include "hv/arch/x86/cpu/instructions.hpp"

namespace hv::x86 {

namespace {

enum class UartRegister : std::uint16_t {
    data = 0,
    interrupt_enable = 1,
    fifo_control = 2,
    line_control = 3,
    modem_control = 4,
    line_status = 5,
    scratch = 7
};

constexpr std::uint8_t divisor_latch{0x80};
constexpr std::uint8_t eight_bits_no_parity{0x03};
constexpr std::uint8_t fifos_on_and_clear{0x07};
constexpr std::uint8_t ready_and_request{0x03};
constexpr std::uint8_t transmitter_empty{0x20};
constexpr unsigned patience{200'000};  // polls for one character: far more than 115200 baud needs

constinit std::uint16_t base{0};

std::uint16_t port(UartRegister which)
{
    return static_cast<std::uint16_t>(base + static_cast<std::uint16_t>(which));
}
void write(UartRegister which, std::uint8_t value)
{
    out8(port(which), value);
}

void write_byte(char character)
{
    for (unsigned poll = 0;
         poll < patience && (in8(port(UartRegister::line_status)) & transmitter_empty) == 0; ++poll)
        pause();
    write(UartRegister::data, static_cast<std::uint8_t>(character));
}

/// A port that nobody answers at reads all ones; a UART keeps what is written to its scratch register.
bool answers()
{
    write(UartRegister::scratch, 0x5a);
    if (in8(port(UartRegister::scratch)) != 0x5a)
        return false;
    write(UartRegister::scratch, 0xa5);
    return in8(port(UartRegister::scratch)) == 0xa5;
}

}  // namespace

bool open_serial_console(core::ConsoleChoice choice)
{
    switch (choice) {
    case core::ConsoleChoice::none: base = 0; return true;
    case core::ConsoleChoice::com1: base = com1_port; break;
    case core::ConsoleChoice::com2: base = com2_port; break;
    }
    if (!answers()) {
        base = 0;
        return false;
    }
    write(UartRegister::interrupt_enable, 0);
    write(UartRegister::line_control, divisor_latch);
    write(UartRegister::data, 1);  // 115200 baud
    write(UartRegister::interrupt_enable, 0);
    write(UartRegister::line_control, eight_bits_no_parity);
    write(UartRegister::fifo_control, fifos_on_and_clear);
    write(UartRegister::modem_control, ready_and_request);
    return true;
}

std::uint16_t serial_console_port()
{
    return base;
}

void write_serial_console(std::string_view text)
{
    if (base == 0)
        return;
    for (const char character : text) {
        if (character == '\n')
            write_byte('\r');
        write_byte(character);
    }
}

}  // namespace hv::x86
