// SPDX-License-Identifier: MIT
//
// What lies at each physical address, for the control domain, which sees them 1:1: its own RAM, the machine's
// devices and firmware, RAM that is not its own, and windows that the hypervisor answers for.  Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "hv/base/address.hpp"
#include "hv/core/boot/memory_map.hpp"

namespace hv::control_domain {

enum class Region : std::uint8_t {
    own_ram,
    device,   ///< everything that is no RAM of the machine, mapped on demand
    hidden,   ///< RAM of the hypervisor and of guests: reads give all ones, writes are dropped
    window,   ///< registers of the hypervisor's own PCI function
    outside,  ///< beyond what the processor can address
};

/// Windows: the function's registers, and its page of memory-mapped configuration space.
enum class Window : std::uint8_t {
    registers,
    configuration
};

class AddressPlan {
public:
    /// Both maps outlive the plan and come from normalize_memory_map and split_memory.
    AddressPlan(const core::MemoryMap& machine, const core::MemoryMap& own, std::uint64_t end)
        : machine_{machine}, own_{own}, end_{end}
    {
    }

    void set_window(Window which, std::optional<GuestRange> range)
    {
        windows_[static_cast<unsigned>(which)] = range;
    }
    [[nodiscard]] std::optional<GuestRange> window(Window which) const
    {
        return windows_[static_cast<unsigned>(which)];
    }

    [[nodiscard]] Region region(GuestPhysical address) const;
    /// True when `range` can be mapped 1:1 as a whole: no byte of it is hidden, a window, or outside.
    [[nodiscard]] bool may_map(GuestRange range) const;

private:
    const core::MemoryMap& machine_;
    const core::MemoryMap& own_;
    std::uint64_t end_;
    std::array<std::optional<GuestRange>, 2> windows_{};
};

}  // namespace hv::control_domain
