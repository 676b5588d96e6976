// SPDX-License-Identifier: MIT
//
// The boot console: a 16550 serial port, polled, 115200 baud, 8N1.  No interrupts, no input.
#pragma once

#include <cstdint>
#include <string_view>

#include "hv/core/boot/boot_options.hpp"

namespace hv::x86 {

inline constexpr std::uint16_t com1_port{0x3f8};
inline constexpr std::uint16_t com2_port{0x2f8};

/// Sets the port up, or turns the console off.  False when nothing answers at the port: the console is then
/// off.
bool open_serial_console(core::ConsoleChoice choice);
/// The first of the eight ports that the console uses, or 0: the control domain finds nothing there.
[[nodiscard]] std::uint16_t serial_console_port();
void write_serial_console(std::string_view text);

}  // namespace hv::x86
