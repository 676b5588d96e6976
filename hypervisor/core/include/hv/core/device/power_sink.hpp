// SPDX-License-Identifier: MIT
//
// What a guest can ask of its machine as a whole.  Called by devices while the caller holds the domain's
// device lock, so an implementation takes note and acts later.
#pragma once

#include <cstdint>

namespace hv::core {

class PowerSink {
public:
    /// SLP_EN was written with this SLP_TYP; protocol::sleep_type_s5 is "power off", no other state exists.
    virtual void sleep_requested(std::uint8_t sleep_type) = 0;
    /// The machine is to start anew.
    virtual void reset_requested() = 0;

protected:
    ~PowerSink() = default;
};

}  // namespace hv::core
