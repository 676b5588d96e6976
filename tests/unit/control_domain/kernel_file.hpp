// SPDX-License-Identifier: MIT
//
// A bzImage whose every header field a test may spoil.  Not a kernel: its protected-mode part is a pattern.
// Specification: [BOOT-6.1 "The Real-Mode Kernel Header"].
#pragma once

#include <cstring>
#include <vector>

#include "hv/core/control_domain/linux_image.hpp"

namespace hv::test {

namespace at = protocol::linux_boot;

struct KernelFile {
    static constexpr std::uint8_t sectors{2};
    static constexpr std::size_t payload_begin{(sectors + 1) * 512};
    static constexpr std::uint64_t preferred{0x100'0000};
    static constexpr std::uint32_t memory_size{0x40'0000};
    static constexpr std::uint8_t header_length{0x264 - 0x202};

    explicit KernelFile(std::size_t payload = 0x3000) : bytes(payload_begin + payload)
    {
        for (std::size_t index = 0; index < payload; ++index)
            bytes[payload_begin + index] = static_cast<std::byte>(index * 7 + 1);
        put<std::uint8_t>(at::setup_sects, sectors);
        put<std::uint16_t>(at::boot_flag, 0xaa55);
        put<std::uint8_t>(at::header - 1, header_length);
        put<std::uint32_t>(at::header, 0x53726448);
        put<std::uint16_t>(at::version, 0x020f);
        put<std::uint16_t>(at::xloadflags, 1);
        put<std::uint32_t>(at::kernel_alignment, 0x20'0000);
        put<std::uint8_t>(at::relocatable_kernel, 1);
        put<std::uint32_t>(at::cmdline_size, 2047);
        put<std::uint64_t>(at::pref_address, preferred);
        put<std::uint32_t>(at::init_size, memory_size);
    }
    template <typename T>
    KernelFile& put(std::size_t offset, T value)
    {
        std::memcpy(&bytes.at(offset), &value, sizeof value);
        return *this;
    }

    std::vector<std::byte> bytes;
};

}  // namespace hv::test
