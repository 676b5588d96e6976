// SPDX-License-Identifier: MIT
//
// What the prober module and its guest tell each other: one MSR, written with the guest-physical address of an Order.
#pragma once

#include <cstdint>

namespace prober {

inline constexpr std::uint32_t msr{0x4000'0a00};

enum class Access : std::uint32_t {
    read,
    write,
    execute,
    spin,  ///< so many turns of two instructions, the address says
};

enum class Fate : std::uint32_t {
    ordered,
    tried,    ///< and no instance has said more yet
    faulted,  ///< or ran too long, says the instance that was made after the one that tried
    reached,  ///< says the one that tried
};

struct Order {
    std::uint64_t address;  ///< own_page: some page of the instance's own
    Access access;
    Fate fate;
};
static_assert(sizeof(Order) == 16);

inline constexpr std::uint64_t own_page{1};

}  // namespace prober
