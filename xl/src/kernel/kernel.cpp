// SPDX-License-Identifier: MIT
//
// The order in which the kinds are tried.
#include "kernel/kernel.hpp"

#include "hv/base/address.hpp"
#include "kernel/elf.hpp"
#include "kernel/foreign.hpp"

namespace hv::xl {
namespace {

/// The entry must be in what is loaded: a guest that starts in zeroes tells nobody what was wrong.
void check_entry(const Kernel& kernel)
{
    if (kernel.segments.empty())
        return;
    for (const KernelSegment& segment : kernel.segments)
        if (GuestRange{GuestPhysical{segment.address}, segment.bytes.size()}.contains(
                GuestPhysical{kernel.entry}))
            return;
    refuse_kernel("the kernel's entry address lies in nothing that is loaded");
}

}  // namespace

const char* kernel_kind_name(KernelKind kind)
{
    switch (kind) {
    case KernelKind::linux_64: return "bzImage, 64-bit boot protocol";
    case KernelKind::linux_32: return "bzImage, 32-bit boot protocol";
    case KernelKind::pvh: return "ELF with a PVH note";
    case KernelKind::multiboot: return "multiboot 1";
    }
    return "?";
}

Kernel parse_kernel(std::span<const std::byte> file)
{
    for (const auto parser : {parse_bzimage, parse_pvh, parse_multiboot}) {
        const auto kernel = parser(file);
        if (!kernel)
            continue;
        check_entry(*kernel);
        return *kernel;
    }
    refuse_kernel(parse_elf(file) ? "the ELF file has neither a PVH note nor a multiboot header"
                                  : "neither a bzImage, nor ELF with a PVH note, nor a multiboot kernel");
}

}  // namespace hv::xl
