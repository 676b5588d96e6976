// SPDX-License-Identifier: MIT
//
// IN and OUT of a size that is known at run time, on the machine's real ports.
#pragma once

#include <cstdint>

#include "hv/arch/x86/cpu/instructions.hpp"

namespace hv::control_domain {

inline std::uint32_t port_in(std::uint16_t port, unsigned size)
{
    if (size == 1)
        return x86::in8(port);
    if (size == 4)
        return x86::in32(port);
    std::uint16_t value{};
    asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

inline void port_out(std::uint16_t port, unsigned size, std::uint32_t value)
{
    if (size == 1)
        x86::out8(port, static_cast<std::uint8_t>(value));
    else if (size == 2)
        asm volatile("outw %0, %1" : : "a"(static_cast<std::uint16_t>(value)), "Nd"(port));
    else
        asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

/// All ones in `size` bytes: what reads where nothing answers.
constexpr std::uint64_t all_ones(unsigned size)
{
    return size >= 8 ? ~0ull : (1ull << (8 * size)) - 1;
}

}  // namespace hv::control_domain
