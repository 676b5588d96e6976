// SPDX-License-Identifier: MIT
//
// The parsers of what boot loaders hand over.  Everything is foreign: addresses and sizes are believed only
// where the memory view has them, and every number is checked before it is used.  Specifications: the PVH
// start info of version 1 as QEMU's and other loaders fill it (x86/HVM direct boot ABI), and [MB2-2.0 §3.6].
#pragma once

#include <cstdint>

#include "hv/base/address.hpp"
#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/boot/boot_information.hpp"

namespace hv::core {

/// What a multiboot2 loader leaves in EAX [MB2-2.0 §3.2].
inline constexpr std::uint32_t multiboot2_loader_magic{0x36d7'6289};

/// Both fill `information` (protocol, command line, memory, raw modules, rsdp).  They fail with malformed or
/// limit_reached, and `why` then holds one sentence; the information is then not to be used.
Status parse_pvh_start_info(const FirmwareMemory& memory, HostPhysical start_info,
                            BootInformation& information, TextWriter& why);
Status parse_multiboot2_information(const FirmwareMemory& memory, HostPhysical start,
                                    BootInformation& information, TextWriter& why);

/// Looks into the raw modules and fills `modules` and the control domain's command line: with PVH one cpio
/// archive of `kernel`, `cmdline`, `initramfs`, `extensions/NAME.hvx`, `extensions/NAME.hvx.sig`, `keys/NAME`;
/// with multiboot2 one module each, by its text `dom0-kernel [CMDLINE]`, `dom0-initramfs`, `extension NAME`,
/// `signature NAME` (of that extension), `key NAME`.  A missing kernel is no error here.  Fails with malformed
/// (and `why`): a module whose purpose is not known stops the boot, it is not ignored.
Status interpret_modules(const FirmwareMemory& memory, BootInformation& information, TextWriter& why);

}  // namespace hv::core
