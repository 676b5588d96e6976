// SPDX-License-Identifier: MIT
//
// The width of a guest's code and registers, as the extension ABI names it.
#pragma once

#include "hv/abi/registers.hpp"
#include "hv/core/hvm/system_registers.hpp"
#include "hv/core/vcpu/registers.hpp"
#include "hv/x86/control_registers.hpp"

namespace hv::core {

inline abi::GuestMode mode_of(const ExecutionContext& context, std::uint64_t rflags)
{
    if (!x86::Cr0::PE::get(context.cr0) || x86::Rflags::VM::get(rflags))
        return abi::GuestMode::real;
    switch (context.code_bits()) {
    case 64: return abi::GuestMode::long_64;
    case 32: return abi::GuestMode::protected_32;
    default: return abi::GuestMode::protected_16;
    }
}

/// The bits of a general register that a module sees and may change.
constexpr std::uint64_t width_mask(abi::GuestMode mode)
{
    return mode == abi::GuestMode::long_64 ? ~0ull : 0xffff'ffff;
}

inline constexpr unsigned general_registers{16};

/// What a module has left of the general registers is the guest's, but for RSP.  Outside of 64-bit mode the upper halves stay the
/// guest's.
inline void write_back_registers(std::uint64_t* guest, const std::uint64_t* left, abi::GuestMode mode)
{
    const std::uint64_t mask = width_mask(mode);
    for (unsigned index = 0; index < general_registers; ++index)
        if (index != rsp)
            guest[index] = (left[index] & mask) | (guest[index] & ~mask);
}

}  // namespace hv::core
