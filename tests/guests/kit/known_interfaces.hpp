// SPDX-License-Identifier: MIT
//
// What the interfaces that a test guest may find have in common, as far as it is measured and exercised:
// which MSRs and which hypercall page they offer.  Read from their leaves, never from a name alone.
// Specification: [TLFS-6.0b §2.4, §3.13] for Viridian's; extensions/novell/README.md; Xen's
// public/arch-x86/cpuid.h.
#pragma once

#include <cstdint>
#include <optional>

namespace guest {

/// Calls made by a hypercall page: control, input and output as Viridian's pages take them in RCX, RDX and
/// R8.
class HypercallPage {
public:
    constexpr explicit HypercallPage(std::uint64_t address) : address_{address} {}

    [[nodiscard]] std::uint64_t call(std::uint64_t control, std::uint64_t input = 0,
                                     std::uint64_t output = 0) const
    {
        std::uint64_t result;
        register std::uint64_t r8 asm("r8") = output;
        asm volatile("call *%[page]"
                     : "=a"(result), "+c"(control), "+d"(input), "+r"(r8)
                     : [page] "r"(address_)
                     : "memory", "r9", "r10", "r11", "cc");
        return result;
    }

private:
    std::uint64_t address_;
};

/// Numbers of MSRs that the hypervisor's leaves offer, where they do.
struct OfferedMsrs {
    std::optional<std::uint32_t> guest_id, hypercall, vp_index, reference_counter, eoi;
};

OfferedMsrs viridian_msrs();
OfferedMsrs novell_msrs();

/// Says who the guest is and has the page put at a page of the guest's own; nothing where it is not offered
/// or refused.
std::optional<HypercallPage> enable_hypercalls(const OfferedMsrs& msrs);

/// Xen's calling convention in 64-bit mode: by a page, or by the instruction itself where `page` is 0.
std::uint64_t xen_call(std::uint64_t page, std::uint64_t number, std::uint64_t first = 0,
                       std::uint64_t second = 0, std::uint64_t third = 0);

/// The page of Xen's, put where the guest wants it by the MSR that the leaf names; nothing where it is not
/// offered.
std::optional<std::uint64_t> enable_xen_page();

}  // namespace guest
