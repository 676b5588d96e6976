// SPDX-License-Identifier: MIT
//
// The instructions that a test guest is made of, one function each.  An access that the processor refuses is
// an answer (nothing, or false), not the end: the guest resumes behind the instruction.  Knows no guest
// interface.
#pragma once

#include <cstdint>
#include <optional>

#include "hv/abi/registers.hpp"

namespace guest {

using CpuidResult = hv::abi::CpuidResult;

inline CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0)
{
    CpuidResult result;
    asm volatile("cpuid"
                 : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
                 : "a"(leaf), "c"(subleaf));
    return result;
}

inline std::uint64_t read_tsc()
{
    std::uint32_t low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
    return std::uint64_t{high} << 32 | low;
}

/// Around an instruction that may fault, in an asm with an operand `faulted`: 1 after it where it did.
#define GUEST_FIXUP_BEGIN "1: "
#define GUEST_FIXUP_END                                                                                      \
    "\n jmp 3f\n"                                                                                            \
    "2: movl $1, %[faulted]\n"                                                                               \
    "3:\n"                                                                                                   \
    ".pushsection .fixups, \"a\"\n .quad 1b, 2b\n .popsection\n"

/// The MSR's value, or nothing where the processor raised an exception.
inline std::optional<std::uint64_t> read_msr(std::uint32_t msr)
{
    std::uint32_t low{}, high{}, faulted{};
    asm volatile(GUEST_FIXUP_BEGIN "rdmsr" GUEST_FIXUP_END
                 : "+a"(low), "+d"(high), [faulted] "+r"(faulted)
                 : "c"(msr)
                 : "memory");
    if (faulted != 0)
        return std::nullopt;
    return std::uint64_t{high} << 32 | low;
}

/// False where the processor raised an exception.
inline bool write_msr(std::uint32_t msr, std::uint64_t value)
{
    std::uint32_t faulted{};
    asm volatile(GUEST_FIXUP_BEGIN "wrmsr" GUEST_FIXUP_END
                 : [faulted] "+r"(faulted)
                 : "c"(msr), "a"(static_cast<std::uint32_t>(value)),
                   "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
    return faulted == 0;
}

/// The same without the care, for measuring: an exception ends the guest with a report.
inline std::uint64_t read_msr_that_exists(std::uint32_t msr)
{
    std::uint32_t low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return std::uint64_t{high} << 32 | low;
}
inline void write_msr_that_exists(std::uint32_t msr, std::uint64_t value)
{
    asm volatile("wrmsr" ::"c"(msr), "a"(static_cast<std::uint32_t>(value)),
                 "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
}

inline void out8(std::uint16_t port, std::uint8_t value)
{
    asm volatile("outb %0, %1" ::"a"(value), "Nd"(port) : "memory");
}
inline void out16(std::uint16_t port, std::uint16_t value)
{
    asm volatile("outw %0, %1" ::"a"(value), "Nd"(port) : "memory");
}
inline void out32(std::uint16_t port, std::uint32_t value)
{
    asm volatile("outl %0, %1" ::"a"(value), "Nd"(port) : "memory");
}
inline std::uint8_t in8(std::uint16_t port)
{
    std::uint8_t value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
inline std::uint16_t in16(std::uint16_t port)
{
    std::uint16_t value;
    asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
inline std::uint32_t in32(std::uint16_t port)
{
    std::uint32_t value;
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

inline std::uint64_t read_cr3()
{
    std::uint64_t value;
    asm volatile("mov %%cr3, %0" : "=r"(value));
    return value;
}

/// One 32-bit access to device memory.
inline std::uint32_t read_device(std::uint64_t address)
{
    std::uint32_t value;
    asm volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}
inline void write_device(std::uint64_t address, std::uint32_t value)
{
    asm volatile("movl %1, (%0)" ::"r"(address), "r"(value) : "memory");
}

/// Waits with interrupts on for the next one; they are off again after it.
inline void halt_until_interrupt()
{
    asm volatile("sti\n hlt\n cli" ::: "memory");
}

[[noreturn]] inline void stop_for_good()
{
    for (;;)
        asm volatile("cli\n hlt" ::: "memory");
}

/// S5 by the PM1a control register: SLP_TYP 5 and SLP_EN [ACPI-6.5 "PM1 Control Registers"]; stops where nobody turns the
/// machine off.
[[noreturn]] void power_off();

/// By the reset register of the machine.
[[noreturn]] void reboot();

}  // namespace guest
