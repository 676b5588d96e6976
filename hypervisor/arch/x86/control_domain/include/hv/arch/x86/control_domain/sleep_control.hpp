// SPDX-License-Identifier: MIT
//
// The PM1 control register: which ports it has, and which sleep state a write asks for.  The control domain
// may turn the machine off (S5) but not put it to sleep, for nobody would wake the guests.  Pure.
// Specification: [ACPI-6.5 "PM1 Control Registers", §5.2.9 (FADT), §7.4.2 (_Sx), §20.2.5.4 (package
// encoding)].
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "hv/core/boot/acpi_tables.hpp"

namespace hv::control_domain {

/// SLP_TYPa of a sleep state as the namespace's package `name` ("_S5_") gives it, found in the bytes of a
/// DSDT or SSDT.
[[nodiscard]] std::optional<std::uint8_t> find_sleep_type(std::span<const std::byte> definition_block,
                                                          const char (&name)[5]);

/// SLP_TYPa of S5: in the DSDT at that address, else in the first SSDT that names it [ACPI-6.5 §5.2.11.2].
[[nodiscard]] std::optional<std::uint8_t> find_power_off_type(const core::FirmwareMemory& firmware,
                                                              HostPhysical rsdp, HostPhysical dsdt);

/// What the FADT says.
struct SleepPorts {
    std::array<std::uint16_t, 2> control;  ///< PM1a and PM1b control, 0 where there is none
    std::uint64_t dsdt;                    ///< physical address of the DSDT
};
[[nodiscard]] std::optional<SleepPorts> parse_sleep_ports(std::span<const std::byte> fadt);

enum class SleepRequest : std::uint8_t {
    none,
    power_off,
    refused
};

/// What a write of `size` bytes at `offset` into the 16-bit register asks for.  Without a known S5 type every
/// request to sleep is refused.
[[nodiscard]] SleepRequest judge_sleep_write(unsigned offset, unsigned size, std::uint32_t value,
                                             std::optional<std::uint8_t> power_off_type);

}  // namespace hv::control_domain
