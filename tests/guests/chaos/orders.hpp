// SPDX-License-Identifier: MIT
//
// Ordering a crime of a chaos module in one of its hooks, and doing what makes that hook run.  The module takes the order back
// before it commits the crime, and a restart makes the access once more: so the order is gone and the answer is right where the
// instance failed and another took its place, and the guest met nothing.
#pragma once

#include <array>
#include <cstdint>

#include "extensions/chaos/crimes.hpp"

namespace guest {

/// The hooks that a guest can make run by itself.
inline constexpr std::array guest_hooks{
    chaos::Hook::vcpu_reset, chaos::Hook::cpuid,      chaos::Hook::msr_read,     chaos::Hook::msr_write,
    chaos::Hook::hypercall,  chaos::Hook::hypercall_continue, chaos::Hook::timer, chaos::Hook::mmio_read,
    chaos::Hook::mmio_write, chaos::Hook::port_read,  chaos::Hook::port_write,   chaos::Hook::channel_message,
    chaos::Hook::before_entry,
    chaos::Hook::interrupt_window, chaos::Hook::interrupt_accepted, chaos::Hook::interrupt_ended, chaos::Hook::run_state_changed,
    chaos::Hook::exit,
};

[[nodiscard]] std::uint32_t msr_of(unsigned instance, std::uint32_t offset);
/// The base of its block of leaves, whose second leaf has its number; 0: there is none.
[[nodiscard]] std::uint32_t leaves_of(unsigned instance);
/// It answers its MSR.
[[nodiscard]] bool is_alive(unsigned instance);

void place_order(unsigned instance, chaos::Hook hook, std::uint32_t crime);
/// No order stands.
[[nodiscard]] bool was_taken(unsigned instance);

/// Makes the hook run; true when what came back is what a live instance answers.
[[nodiscard]] bool provoke(unsigned instance, chaos::Hook hook);

struct Outcome {
    std::uint32_t committed;  ///< the module took the order
    std::uint32_t lost;       ///< another instance is in its place
    std::uint32_t survived;   ///< what the guest did was answered, and the instance lives

    Outcome& operator+=(const Outcome& other)
    {
        committed += other.committed;
        lost += other.lost;
        survived += other.survived;
        return *this;
    }
};

/// Orders, provokes, waits: the counts are 0 or 1.
[[nodiscard]] Outcome order(unsigned instance, chaos::Hook hook, std::uint32_t crime);

}  // namespace guest
