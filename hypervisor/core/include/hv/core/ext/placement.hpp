// SPDX-License-Identifier: MIT
//
// Where an instance of a module runs, and what becomes of its domain when it fails.  The values are those of the control
// protocol.
#pragma once

#include <cstdint>

namespace hv::core {

enum class Placement : std::uint8_t {
    isolated = 1,  ///< ring 3, an address space of its own, every argument checked
    trusted = 2,   ///< ring 0, the service table bound to the functions themselves
};

enum class OnFault : std::uint8_t {
    restart = 1,  ///< a fresh instance on the state blocks
    detach = 2,   ///< the guest goes on without it: its leaves stay, what needs the module faults
    pause = 3,
    crash = 4,
};

/// How one extension is bound.
struct BindOptions {
    Placement placement{Placement::isolated};
    OnFault on_fault{OnFault::restart};
};

}  // namespace hv::core
