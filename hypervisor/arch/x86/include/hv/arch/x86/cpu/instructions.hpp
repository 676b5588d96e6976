// SPDX-License-Identifier: MIT
//
// Processor instructions that C++ has no name for, one function each, and nothing else.
#pragma once

#include <cstdint>

#include "hv/x86/cpuid.hpp"
#include "hv/x86/msr.hpp"

namespace hv::x86 {

inline CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0)
{
    CpuidResult result{};
    asm volatile("cpuid"
                 : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
                 : "a"(leaf), "c"(subleaf));
    return result;
}
inline CpuidResult cpuid(CpuidLeaf leaf, std::uint32_t subleaf = 0)
{
    return cpuid(static_cast<std::uint32_t>(leaf), subleaf);
}

/// Panics (#GP) where the register does not exist: read_msr_safe (msr_access.hpp) is for those that may be
/// absent.
inline std::uint64_t read_msr(Msr msr)
{
    std::uint32_t low{}, high{};
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(static_cast<std::uint32_t>(msr)));
    return std::uint64_t{high} << 32 | low;
}
inline void write_msr(Msr msr, std::uint64_t value)
{
    asm volatile("wrmsr"
                 :
                 : "c"(static_cast<std::uint32_t>(msr)), "a"(static_cast<std::uint32_t>(value)),
                   "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
}

inline std::uint64_t read_cr0()
{
    std::uint64_t value{};
    asm volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}
inline void write_cr0(std::uint64_t value)
{
    asm volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}
inline std::uint64_t read_cr2()
{
    std::uint64_t value{};
    asm volatile("mov %%cr2, %0" : "=r"(value));
    return value;
}
inline std::uint64_t read_cr3()
{
    std::uint64_t value{};
    asm volatile("mov %%cr3, %0" : "=r"(value));
    return value;
}
inline void write_cr3(std::uint64_t value)
{
    asm volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}
inline std::uint64_t read_cr4()
{
    std::uint64_t value{};
    asm volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}
inline void write_cr4(std::uint64_t value)
{
    asm volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}

inline void invalidate_page(std::uint64_t linear)
{
    asm volatile("invlpg (%0)" : : "r"(linear) : "memory");
}

inline std::uint64_t read_tsc()
{
    std::uint32_t low{}, high{};
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return std::uint64_t{high} << 32 | low;
}

inline void pause()
{
    asm volatile("pause" : : : "memory");
}
/// The next instruction still runs with interrupts disabled, so an interrupt cannot slip in before the halt.
inline void enable_and_halt()
{
    asm volatile("sti\n\thlt\n\tcli" : : : "memory");
}
[[noreturn]] inline void halt_forever()
{
    for (;;)
        asm volatile("cli\n\thlt" : : : "memory");
}

inline std::uint8_t in8(std::uint16_t port)
{
    std::uint8_t value{};
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline std::uint32_t in32(std::uint16_t port)
{
    std::uint32_t value{};
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline void out8(std::uint16_t port, std::uint8_t value)
{
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

}  // namespace hv::x86
