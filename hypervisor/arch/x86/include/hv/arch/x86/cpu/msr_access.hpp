// SPDX-License-Identifier: MIT
//
// Access to registers that this processor may not have: a #GP becomes an Error by the exception fixup table.
#pragma once

#include <cstdint>

#include "hv/base/expected.hpp"
#include "hv/x86/msr.hpp"

namespace hv::x86 {

/// Fails with not_supported.
Expected<std::uint64_t> read_msr_safe(std::uint32_t msr);
Status write_msr_safe(std::uint32_t msr, std::uint64_t value);

inline Expected<std::uint64_t> read_msr_safe(Msr msr)
{
    return read_msr_safe(static_cast<std::uint32_t>(msr));
}
inline Status write_msr_safe(Msr msr, std::uint64_t value)
{
    return write_msr_safe(static_cast<std::uint32_t>(msr), value);
}

}  // namespace hv::x86
