// SPDX-License-Identifier: MIT
//
// What a domain's memory and first VCPU hold when it starts: kernel, ramdisk, start structures, ACPI tables,
// registers. Pure: from a parsed kernel and a config to bytes and addresses.  Memory that no part covers is
// zero; the hypervisor hands it out so.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "hv/protocol/control.hpp"
#include "kernel/kernel.hpp"

namespace hv::xl {

/// Bytes at a guest-physical address: either its own, or some of a file that somebody else keeps.
class ImagePart {
public:
    ImagePart(std::uint64_t address, std::vector<std::byte> own) : address_{address}, own_{std::move(own)} {}
    ImagePart(std::uint64_t address, std::span<const std::byte> foreign)
        : address_{address}, foreign_{foreign}
    {
    }

    [[nodiscard]] std::uint64_t address() const { return address_; }
    [[nodiscard]] std::span<const std::byte> bytes() const
    {
        return own_.empty() ? foreign_ : std::span<const std::byte>{own_};
    }

private:
    std::uint64_t address_;
    std::vector<std::byte> own_;
    std::span<const std::byte> foreign_;
};

struct GuestImage {
    std::vector<ImagePart> parts;
    protocol::VcpuRegisters registers{};  ///< of VCPU 0; the others wait for INIT and SIPI
};

/// What the image is made of.
struct ImageRequest {
    const Kernel& kernel;
    std::span<const std::byte> ramdisk;  ///< empty: none
    std::string kernel_name;             ///< the file's name, without its folder
    std::string ramdisk_name;
    std::string cmdline;
    std::uint64_t memory_bytes{};
    std::uint32_t vcpus{1};
};

/// Failure (not_granted, pointer /memory): something does not fit the guest's memory.  Failure (bad_text):
/// the command line is longer than the kernel takes.  The image refers to the kernel's and the ramdisk's
/// bytes.
[[nodiscard]] GuestImage build_guest_image(const ImageRequest& request);

}  // namespace hv::xl
