// SPDX-License-Identifier: MIT
//
// The memory of an extension's instance that failed as an ELF core file, which debuggers read [gABI-4.3 "Program Header"]: one
// PT_LOAD a segment and, in the notes, the registers as Linux lays them out for x86-64 (struct elf_prstatus).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hv::xl {

struct CoreSegment {
    std::uint64_t address{};
    bool writable{};
    bool executable{};
    std::vector<std::byte> bytes;
};

struct CoreRegisters {
    std::array<std::uint64_t, 16> general{};  ///< in the instruction encoding's order
    std::uint64_t rip{}, rflags{};
    std::uint32_t vector{};  ///< of the exception: it becomes the signal that a process would have got
};

/// No registers: the hook returned.
[[nodiscard]] std::vector<std::byte> core_file(const std::vector<CoreSegment>& segments, const std::optional<CoreRegisters>& registers);

}  // namespace hv::xl
