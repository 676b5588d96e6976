// SPDX-License-Identifier: MIT
//
// The registers of a virtual processor that exits and emulation touch at every turn.  Assembly in the back ends knows
// the offsets; the asserts hold them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hv::core {

/// Index of a general register in the instruction encoding's order.
enum GeneralRegister : unsigned { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 };

struct Registers {
    std::uint64_t general[16];  ///< by GeneralRegister
    std::uint64_t rip;
    std::uint64_t rflags;
};
static_assert(offsetof(Registers, rip) == 128 && offsetof(Registers, rflags) == 136);

}  // namespace hv::core
