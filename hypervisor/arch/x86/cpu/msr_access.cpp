// SPDX-License-Identifier: MIT
//
// RDMSR and WRMSR with a way out: see msr_access.hpp.
#include "hv/arch/x86/cpu/msr_access.hpp"

#include "hv/arch/x86/cpu/fixup.hpp"

namespace hv::x86 {

Expected<std::uint64_t> read_msr_safe(std::uint32_t msr)
{
    std::uint32_t low{}, high{}, failed{1};
    asm volatile("1: rdmsr\n\t"
                 "xorl %2, %2\n\t"
                 "2:\n\t" HV_FIXUP("1b", "2b", "2b")
                 : "=a"(low), "=d"(high), "+r"(failed)
                 : "c"(msr)
                 : "cc");
    if (failed != 0)
        return Error::not_supported;
    return std::uint64_t{high} << 32 | low;
}

Status write_msr_safe(std::uint32_t msr, std::uint64_t value)
{
    std::uint32_t failed{1};
    asm volatile("1: wrmsr\n\t"
                 "xorl %0, %0\n\t"
                 "2:\n\t" HV_FIXUP("1b", "2b", "2b")
                 : "+r"(failed)
                 : "c"(msr), "a"(static_cast<std::uint32_t>(value)),
                   "d"(static_cast<std::uint32_t>(value >> 32))
                 : "cc", "memory");
    if (failed != 0)
        return Error::not_supported;
    return Done{};
}

}  // namespace hv::x86
