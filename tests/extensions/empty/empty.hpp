// SPDX-License-Identifier: MIT
//
// Where a guest finds the empty modules.  Of `empty` leaf and MSR 0 are declared, leaf and MSR 1 are a hook's.
#pragma once

#include <cstdint>

namespace empty {

inline constexpr std::uint32_t first_leaf{0x4000'0000};
inline constexpr std::uint32_t first_msr{0x4000'0b00};
inline constexpr std::uint16_t port{0x5a0};
inline constexpr std::uint64_t mmio{0xd000'0000};

// `empty-events`: the port whose exits it hears, the vector that it watches, and its calls, numbers in RAX.
inline constexpr std::uint16_t watched_port{0x5b0};
inline constexpr std::uint8_t watched_vector{0x41};
inline constexpr std::uint64_t go_on{1};        ///< hypercall_continue
inline constexpr std::uint64_t kick{2};         ///< before_entry, at once
inline constexpr std::uint64_t open_window{3};  ///< interrupt_window, when interrupts are enabled
inline constexpr std::uint64_t arm_timer{4};    ///< timer, after timer_delay_ns
inline constexpr std::uint64_t watch{5};        ///< from now on interrupt_accepted and interrupt_ended
inline constexpr std::uint64_t timer_delay_ns{10'000};

// `empty-life-0` and `-1`: a write of its MSR opens its end of their channel, and fills the other's queue where that is open.
inline constexpr std::uint32_t first_life_msr{0x4000'0b10};

}  // namespace empty
