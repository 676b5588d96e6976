// SPDX-License-Identifier: MIT
//
// The guest's local APIC in both of its modes, as far as the test guests use it [APM2-3.41 §16.3], [SDM3-083
// §11.12].
#pragma once

#include <cstdint>

#include "hv/x86/local_apic.hpp"

namespace guest {

/// True where CPUID offers x2APIC mode.
bool has_x2apic();

/// Software-enables the APIC with spurious vector 255.
void enable_xapic();
void enter_x2apic();

/// A register by its MMIO offset, in the current mode.
std::uint32_t apic_read(hv::x86::ApicRegister which);
void apic_write(hv::x86::ApicRegister which, std::uint32_t value);

}  // namespace guest
