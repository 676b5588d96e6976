// SPDX-License-Identifier: MIT
//
// The control domain's kernel as a file: a bzImage whose header is believed.  Parsing only; nothing is placed here.
// Specification: [BOOT-6.1 "The Real-Mode Kernel Header", "64-bit Boot Protocol"]; the offsets are in the protocol's
// linux_boot.hpp, which xl has them from, too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/protocol/linux_boot.hpp"

namespace hv::core {

/// The proof that a file is a bzImage with a 64-bit entry, and what its header says.
struct LinuxImage {
    std::span<const std::byte> header;   ///< the setup header, file offsets header_begin …
    std::span<const std::byte> payload;  ///< the protected-mode kernel, to the end of the file
    std::uint64_t preferred_address;
    std::uint64_t alignment;
    std::uint32_t memory_size;  ///< bytes needed from the load address on, until the kernel has unpacked itself
    std::uint32_t command_line_limit;
    bool relocatable;

    static constexpr std::uint32_t header_begin{protocol::linux_boot::setup_sects};
};

/// Checks every field before it is believed.  Fails with malformed, or not_supported where the kernel is too old or has
/// no 64-bit entry; `why` then holds one sentence.
Expected<LinuxImage> parse_linux_image(std::span<const std::byte> file, TextWriter& why);

}  // namespace hv::core
