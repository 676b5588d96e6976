// SPDX-License-Identifier: MIT
//
// The leaves of the interfaces that test guests know, as offers of MSRs; and their hypercall pages.
#include "known_interfaces.hpp"

#include "interfaces.hpp"
#include "machine.hpp"
#include "novell_defs.hpp"

namespace guest {
namespace {

/// Pages of the guest's own that hypercall pages are put over.
alignas(4096) std::uint8_t viridian_page[4096];
alignas(4096) std::uint8_t xen_page[4096];

/// Vendor 0x8100 is open source, and an operating system of its own number [TLFS-6.0b "Reporting the Guest OS
/// Identity"].
constexpr std::uint64_t guest_identity{0x8100'0000'0001'0000};
constexpr std::uint64_t page_enable{1};

std::optional<std::uint32_t> offered(std::uint32_t features, unsigned bit, std::uint32_t msr)
{
    if ((features >> bit & 1) == 0)
        return std::nullopt;
    return msr;
}

}  // namespace

OfferedMsrs viridian_msrs()
{
    const auto block = find_block(viridian_signature);
    if (!block || block->maximum_leaf < block->base + 3)
        return {};
    const std::uint32_t features{cpuid(block->base + 3).eax};
    return {.guest_id = offered(features, 5, 0x4000'0000),
            .hypercall = offered(features, 5, 0x4000'0001),
            .vp_index = offered(features, 6, 0x4000'0002),
            .reference_counter = offered(features, 1, 0x4000'0020),
            .eoi = offered(features, 4, 0x4000'0070)};
}

OfferedMsrs novell_msrs()
{
    using namespace novell;
    const auto block = find_block(novell_signature);
    if (!block || block->maximum_leaf < block->base + leaf_features)
        return {};
    const std::uint32_t base{cpuid(block->base + leaf_version).ebx};
    const std::uint32_t features{cpuid(block->base + leaf_features).eax};
    const auto where = [&](std::uint32_t bit, std::uint32_t offset) -> std::optional<std::uint32_t> {
        if ((features & bit) == 0)
            return std::nullopt;
        return base + offset;
    };
    return {.guest_id = where(feature_hypercall, msr_guest_id),
            .hypercall = where(feature_hypercall, msr_hypercall),
            .vp_index = where(feature_vp_index, msr_vp_index),
            .reference_counter = std::nullopt,
            .eoi = where(feature_apic, msr_eoi)};
}

std::optional<HypercallPage> enable_hypercalls(const OfferedMsrs& msrs)
{
    if (!msrs.guest_id || !msrs.hypercall || !write_msr(*msrs.guest_id, guest_identity))
        return std::nullopt;
    const auto page = reinterpret_cast<std::uint64_t>(viridian_page);
    if (!write_msr(*msrs.hypercall, page | page_enable) || read_msr(*msrs.hypercall) != (page | page_enable))
        return std::nullopt;
    return HypercallPage{page};
}

std::uint64_t xen_call(std::uint64_t page, std::uint64_t number, std::uint64_t first, std::uint64_t second,
                       std::uint64_t third)
{
    constexpr std::uint64_t bytes_per_call{32};
    std::uint64_t result{number};
    if (page == 0)
        asm volatile("vmmcall" : "+a"(result), "+D"(first), "+S"(second), "+d"(third)::"memory");
    else
        asm volatile("call *%[entry]"
                     : "+a"(result), "+D"(first), "+S"(second), "+d"(third)
                     : [entry] "r"(page + number * bytes_per_call)
                     : "memory", "rcx", "r8", "r9", "r10", "r11", "cc");
    return result;
}

std::optional<std::uint64_t> enable_xen_page()
{
    const auto block = find_block(xen_signature);
    if (!block || block->maximum_leaf < block->base + 2)
        return std::nullopt;
    const CpuidResult leaf{cpuid(block->base + 2)};
    const auto page = reinterpret_cast<std::uint64_t>(xen_page);
    if (leaf.eax == 0 || !write_msr(leaf.ebx, page))
        return std::nullopt;
    return page;
}

}  // namespace guest
