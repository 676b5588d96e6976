// SPDX-License-Identifier: MIT
//
// The virtual PC of a guest as numbers: which ports, interrupts and addresses its devices answer at.  The
// core's devices and xl's ACPI tables and memory map both take them from here, so that a table never names
// what no device serves.  Numbers are those of a PC [ACPI-6.5 §4.8, §5.2.9, §5.2.12]; a change is a change of
// what guests see.
#pragma once

#include <cstdint>

namespace hv::protocol {

/// Addresses from here to 4 GiB are never RAM: devices and the interrupt controllers live there.
inline constexpr std::uint64_t mmio_hole_begin{0xc000'0000};
inline constexpr std::uint64_t mmio_hole_end{0x1'0000'0000};

inline constexpr std::uint64_t local_apic_base{0xfee0'0000};
inline constexpr std::uint64_t local_apic_bytes{0x1000};
inline constexpr std::uint64_t io_apic_base{0xfec0'0000};
inline constexpr std::uint64_t io_apic_bytes{0x1000};
inline constexpr std::uint8_t io_apic_id{0};
inline constexpr unsigned io_apic_pins{24};

// ---- ACPI fixed hardware --------------------------------------------------------------------------------

inline constexpr std::uint16_t pm1a_event_port{0x600};
inline constexpr std::uint8_t pm1a_event_bytes{4};
inline constexpr std::uint16_t pm1a_control_port{0x604};
inline constexpr std::uint8_t pm1a_control_bytes{2};
inline constexpr std::uint16_t pm_timer_port{0x608};
inline constexpr std::uint8_t pm_timer_bytes{4};
/// The timer has 32 bits: TMR_VAL_EXT is set in the FADT.
inline constexpr unsigned pm_timer_bits{32};
/// There is no SMI command port and SCI_EN is set from the start: the FADT's SMI_CMD, ACPI_ENABLE are zero.
inline constexpr unsigned sci_gsi{9};
/// SLP_TYP of \_S5; any other value written with SLP_EN is a sleep state that this machine does not have.
inline constexpr std::uint8_t sleep_type_s5{5};
/// RESET_REG and RESET_VALUE of the FADT: an 8-bit write to a port.
inline constexpr std::uint16_t reset_port{0xcf9};
inline constexpr std::uint8_t reset_value{0x06};

// ---- PC devices -----------------------------------------------------------------------------------------

inline constexpr std::uint16_t pic_master_port{0x20};
inline constexpr std::uint16_t pic_slave_port{0xa0};
inline constexpr std::uint16_t pic_edge_level_port{0x4d0};
inline constexpr std::uint16_t pit_port{0x40};
inline constexpr unsigned pit_irq{0};
/// The MADT's interrupt source override: the PIT's IRQ 0 arrives at this pin of the I/O APIC.
inline constexpr unsigned pit_gsi{2};
inline constexpr std::uint16_t system_control_port{0x61};
inline constexpr std::uint16_t keyboard_controller_port{0x64};
inline constexpr std::uint16_t rtc_port{0x70};
inline constexpr unsigned rtc_gsi{8};
/// The CMOS byte that holds the century, for the FADT's CENTURY field.
inline constexpr std::uint8_t rtc_century_index{0x32};
inline constexpr std::uint16_t uart_port{0x3f8};
inline constexpr std::uint16_t uart_ports{8};
inline constexpr unsigned uart_gsi{4};

}  // namespace hv::protocol
