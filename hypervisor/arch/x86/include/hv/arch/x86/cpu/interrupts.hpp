// SPDX-License-Identifier: MIT
//
// Exceptions and interrupts of the hypervisor itself.  Interrupts are enabled in two places only
// (platform.hpp: wait_for_interrupt, take_pending_interrupts) and while an isolated module's own code runs;
// their handlers do nothing but count and end the interrupt, and look whether the module's time is over.  An
// exception is expected (a recovery address in the fixup table), a module's (it is thrown out), or the end.
#pragma once

#include <atomic>
#include <cstdint>

namespace hv::x86 {

/// The vectors that the hypervisor gives its own interrupts.
enum class HostVector : std::uint8_t {
    wake = 0xf1,
    timer = 0xf2,
    spurious = 0xff
};

/// The registers at the moment of the interrupt, as the entry stubs push them.
struct InterruptFrame {
    std::uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    std::uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
    std::uint64_t vector;
    std::uint64_t error_code;
    std::uint64_t rip, cs, rflags, rsp, ss;

    [[nodiscard]] bool from_user() const { return (cs & 3) != 0; }
};
static_assert(sizeof(InterruptFrame) == 22 * 8);

/// Sees every NMI after it was counted; it must be quick, take no lock and log nothing.
using NmiHook = void (*)(InterruptFrame& frame);

void set_nmi_hook(NmiHook hook);

/// Makes the one IDT that all processors share.  Once, on the boot processor.
void build_interrupt_table();
/// Loads it.  On every processor.
void load_interrupt_table();

}  // namespace hv::x86
