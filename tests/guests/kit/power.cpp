// SPDX-License-Identifier: MIT
//
// The ways out of a test guest: the virtual PC's power and reset registers [ACPI-6.5 "PM1 Control
// Registers", "Reset Register"].
#include "machine.hpp"

namespace guest {
namespace {

constexpr std::uint16_t pm1a_control{0x604};
constexpr std::uint16_t sleep_enable{1u << 13};
constexpr unsigned sleep_type_shift{10};
constexpr std::uint16_t sleep_type_s5{5};
constexpr std::uint16_t reset_register{0xcf9};
constexpr std::uint8_t reset_value{0x06};

}  // namespace

void power_off()
{
    out16(pm1a_control, static_cast<std::uint16_t>(sleep_type_s5 << sleep_type_shift | sleep_enable));
    stop_for_good();
}

void reboot()
{
    out8(reset_register, reset_value);
    stop_for_good();
}

}  // namespace guest
