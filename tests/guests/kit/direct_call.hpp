// SPDX-License-Identifier: MIT
//
// A hypercall of Viridian's by the instruction itself, as Graft's hypercall page makes it: for calls that may be an undefined
// opcode, and where there is no page.  Registers: [TLFS-6.0b §3.7]; the mark: extensions/viridian/README.md.
#pragma once

#include <cstdint>
#include <optional>

#include "kit/machine.hpp"

namespace guest {

/// What the page has in EAX, by which a call is told from another interface's.
inline constexpr std::uint64_t viridian_page_mark{0x8000'0000};

/// The call's result value, or nothing where the processor raised an exception.
inline std::optional<std::uint64_t> call_directly(std::uint64_t control, std::uint64_t input = 0, std::uint64_t output = 0)
{
    std::uint64_t result{viridian_page_mark};
    std::uint32_t faulted{};
    register std::uint64_t r8 asm("r8") = output;
    asm volatile(GUEST_FIXUP_BEGIN "vmmcall" GUEST_FIXUP_END
                 : "+a"(result), "+c"(control), "+d"(input), "+r"(r8), [faulted] "+r"(faulted)
                 :
                 : "memory", "r9", "r10", "r11", "cc");
    if (faulted != 0)
        return std::nullopt;
    return result;
}

}  // namespace guest
