// SPDX-License-Identifier: MIT
//
// What a kernel file is and what it asks of its loader.  The parsers are pure: bytes in, a description or a
// precise reason out; every number in a file is checked before it is believed, and nothing in a description
// points outside the file.  Where the parts go in guest memory is the image builder's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace hv::xl {

enum class KernelKind : std::uint8_t { linux_64, linux_32, pvh, multiboot };

[[nodiscard]] const char* kernel_kind_name(KernelKind kind);

/// Bytes of the file that go to a guest-physical address; the memory behind them up to `memory_bytes` is
/// zero.
struct KernelSegment {
    std::uint64_t address{};
    std::span<const std::byte> bytes;
    std::uint64_t memory_bytes{};
};

/// What Linux's boot protocol says about a bzImage [BOOT-6.1].
struct LinuxSetup {
    std::span<const std::byte> setup_header;  ///< file offset 0x1f1 up to the header's own end
    std::span<const std::byte> payload;       ///< the protected-mode part
    std::uint16_t version{};
    std::uint16_t load_flags_64{};            ///< xloadflags
    std::uint32_t kernel_alignment{};
    bool relocatable{};
    std::uint64_t preferred_address{};
    std::uint64_t memory_bytes{};  ///< from the load address on, before the kernel reads its memory map
    std::uint32_t command_line_bytes{};       ///< longest, without the final zero
    std::uint64_t ramdisk_limit{};            ///< first address that the ramdisk may not touch
};

/// A kernel of any kind.  `entry` is a guest-physical address, but for Linux: there it is relative to where
/// it is loaded.
struct Kernel {
    KernelKind kind{};
    std::vector<KernelSegment> segments;  ///< empty for Linux
    std::uint64_t entry{};
    LinuxSetup linux_setup;               ///< for Linux
    bool align_modules{};                 ///< multiboot: modules start on pages
};

/// Finds the kind and reads the file: bzImage, then ELF with a PVH note, then multiboot 1.  Failure (failed):
/// the sentence says what is wrong with the file, or that it is none of the three.
[[nodiscard]] Kernel parse_kernel(std::span<const std::byte> file);

/// Each parser: nothing where the file is not of the kind at all, a Failure where it is and is wrong.
[[nodiscard]] std::optional<Kernel> parse_bzimage(std::span<const std::byte> file);
[[nodiscard]] std::optional<Kernel> parse_pvh(std::span<const std::byte> file);
[[nodiscard]] std::optional<Kernel> parse_multiboot(std::span<const std::byte> file);

}  // namespace hv::xl
