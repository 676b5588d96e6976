// SPDX-License-Identifier: MIT
//
// As much of an ELF file as a kernel loader looks at: the header and the program headers, of 32- and 64-bit
// x86 files. Specification: [gABI-4.3 "ELF Header", "Program Header"].
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernel/kernel.hpp"

namespace hv::xl {

inline constexpr std::uint32_t PT_LOAD{1};
inline constexpr std::uint32_t PT_NOTE{4};

/// One program header, widened to 64 bits.  Its bytes lie inside the file.
struct ElfSegment {
    std::uint32_t type{};
    std::uint64_t virtual_address{};
    std::uint64_t physical_address{};
    std::uint64_t memory_bytes{};
    std::uint64_t alignment{};
    std::span<const std::byte> bytes;
};

struct ElfFile {
    bool wide{};  ///< a 64-bit file
    std::uint64_t entry{};
    std::vector<ElfSegment> segments;
};

/// Nothing where the file does not start with the ELF magic; a Failure where it does and is not an executable
/// for x86 with program headers that stay inside the file.
[[nodiscard]] std::optional<ElfFile> parse_elf(std::span<const std::byte> file);

/// The PT_LOAD segments as a kernel's, at their physical addresses.  Failure: none, one that wraps, or two
/// that overlap.
[[nodiscard]] std::vector<KernelSegment> loadable_segments(const ElfFile& elf);

}  // namespace hv::xl
