// SPDX-License-Identifier: MIT
//
// Which exits a guest makes beyond those that the core needs: what the extensions of its domain subscribed to, taken together.
// The core's own exits are no part of it, and nothing here takes one of them away.
#pragma once

#include <cstdint>

namespace hv::core {

/// Accesses to MSRs that the guest otherwise has for itself.
struct MsrIntercept {
    std::uint32_t first, last;
    bool reads, writes;
};

struct Intercepts {
    std::uint32_t exceptions{};      ///< by vector
    std::uint16_t control_reads{};   ///< by register
    std::uint16_t control_writes{};  ///< the same
    std::uint16_t debug_reads{};     ///< by register; 4 and 5 are names of 6 and 7
    std::uint16_t debug_writes{};
    bool pause{};                    ///< each one
    bool read_tsc{};
    bool invalidate_page{};
    void* msr_map{};  ///< of HvmTable::msr_map_create; null: only the usual MSRs exit

    friend bool operator==(const Intercepts&, const Intercepts&) = default;
};

}  // namespace hv::core
