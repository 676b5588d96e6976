// SPDX-License-Identifier: MIT
//
// What the guests that find Xen's interface have in common: its leaves and its version, said and checked.
#pragma once

#include <cstdint>

#include "interfaces.hpp"

extern "C" void guest_vmmcall_32(std::uint32_t* registers);

namespace guest {

/// `guest: xen-version: 4.17.0-graft` and the checks of the leaves.
void check_xen_leaves(const Block& block);

/// Calls through the page at `page`, or by the instruction alone where it is 0.
void check_xen_version(std::uint64_t page, std::string_view name);

/// Text on the domain's console by console_io, as a line `guest: NAME: TEXT`.
void say_by_hypercall(std::uint64_t page, std::string_view name, std::string_view text);

/// SCHEDOP_shutdown with reason poweroff; returns only where it failed.
void shut_down_by_hypercall(std::uint64_t page);

}  // namespace guest
