// SPDX-License-Identifier: MIT
//
// Interrupts and exceptions of a test guest.  An exception at an instruction with a fixup resumes there; any
// other is reported on the console, and the guest stops for good.
#pragma once

#include <cstdint>

namespace guest {

/// As kit/entry.S pushes it.
struct InterruptFrame {
    std::uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    std::uint64_t vector;
    std::uint64_t error_code;
    std::uint64_t rip, cs, rflags, rsp, ss;
};

using InterruptHandler = void (*)(InterruptFrame&);

/// Called for `vector` in place of the report; null takes it back.
void set_handler(std::uint8_t vector, InterruptHandler handler);

/// Puts `entry` itself into the IDT: a routine of assembly language that ends in IRETQ, for measuring.
void set_raw_entry(std::uint8_t vector, const void* entry);

/// The vector of the last exception that a fixup met, 256 where none did.
std::uint32_t last_fixed_vector();

/// Loads an IDT with no entries, so that the next exception is a triple fault.
void forget_all_handlers();

void install_interrupts();

/// The same IDT on a further processor.
void load_interrupts();

}  // namespace guest
