// SPDX-License-Identifier: MIT
//
// Registers with which VCPU 0 starts, without firmware: flat 32-bit protected mode for PVH, multiboot and
// 32-bit Linux, long mode for 64-bit Linux.  Selectors are Linux's __BOOT_CS and __BOOT_DS; the others do not
// care.
#pragma once

#include <cstdint>

#include "base/byte_buffer.hpp"
#include "hv/protocol/control.hpp"

namespace hv::xl {

/// The order of VcpuRegisters::general.
enum GeneralRegister : std::uint8_t { RAX = 0, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

/// The descriptor table that the registers refer to; loaded at `gdt` below.
[[nodiscard]] ByteBuffer start_descriptors(bool long_mode);

/// Page tables that map the first 4 GiB to themselves in pages of 2 MiB; they lie at `address`, a multiple of
/// a page.
inline constexpr std::uint64_t identity_table_bytes{6 * 4096};
[[nodiscard]] ByteBuffer identity_tables(std::uint64_t address);

/// Paging off, interrupts off, 4 GiB segments.
[[nodiscard]] protocol::VcpuRegisters protected_mode_registers(std::uint64_t entry, std::uint64_t gdt);
/// Long mode on the tables at `page_tables`, interrupts off.
[[nodiscard]] protocol::VcpuRegisters long_mode_registers(std::uint64_t entry, std::uint64_t gdt,
                                                          std::uint64_t page_tables);

}  // namespace hv::xl
