// SPDX-License-Identifier: MIT
//
// One loop for all formats: a format says how many levels there are, how many bits each takes, how wide an entry is and
// at which levels it may be a page.
#include "hv/core/memory/guest_walk.hpp"

#include <atomic>
#include <cstring>

namespace hv::core {
namespace {

constexpr std::uint64_t entry_present{1 << 0};
constexpr std::uint64_t entry_writable{1 << 1};
constexpr std::uint64_t entry_user{1 << 2};
constexpr std::uint64_t entry_accessed{1 << 5};
constexpr std::uint64_t entry_dirty{1 << 6};
constexpr std::uint64_t entry_large{1 << 7};
constexpr std::uint64_t entry_no_execute{1ull << 63};
constexpr std::uint64_t long_address_mask{0x000f'ffff'ffff'f000};

constexpr std::uint64_t cr0_write_protect{1 << 16};
constexpr std::uint64_t cr4_page_size_extension{1 << 4};
constexpr std::uint64_t cr4_physical_address_extension{1 << 5};
constexpr std::uint64_t cr4_smep{1 << 20};
constexpr std::uint64_t efer_no_execute{1 << 11};

// Page-fault error code [SDM3-083 §4.7].
constexpr std::uint32_t fault_present{1 << 0};
constexpr std::uint32_t fault_write{1 << 1};
constexpr std::uint32_t fault_user{1 << 2};
constexpr std::uint32_t fault_reserved{1 << 3};
constexpr std::uint32_t fault_fetch{1 << 4};

struct Format {
    std::uint8_t levels;
    std::uint8_t index_bits;   ///< of every level but the topmost of PAE, which has two
    std::uint8_t entry_bytes;
    std::uint64_t root_mask;
};
constexpr Format legacy{2, 10, 4, 0xffff'f000};
constexpr Format extended{3, 9, 8, 0xffff'ffe0};
constexpr Format four_level{4, 9, 8, long_address_mask};

constexpr const Format& format_of(const ExecutionContext& context)
{
    if (context.long_mode_active())
        return four_level;
    return (context.cr4 & cr4_physical_address_extension) != 0 ? extended : legacy;
}

struct Rights {
    bool writable{true};
    bool user{true};
    bool executable{true};
};

PageFault fault(const ExecutionContext& context, LinearAccess access, std::uint32_t why)
{
    const bool no_execute = (context.efer & efer_no_execute) != 0 && (context.cr4 & cr4_physical_address_extension) != 0;
    const bool fetch = access.execute && (no_execute || (context.cr4 & cr4_smep) != 0);
    return {why | (access.write ? fault_write : 0) | (access.user ? fault_user : 0) | (fetch ? fault_fetch : 0)};
}

/// SMAP is not applied: EFLAGS.AC belongs to the instruction, and those who copy for the guest act with its consent.
bool allowed(const ExecutionContext& context, Rights rights, LinearAccess access)
{
    if (access.user && !rights.user)
        return false;
    if (access.write && !rights.writable && (access.user || (context.cr0 & cr0_write_protect) != 0))
        return false;
    if (!access.execute)
        return true;
    if (!rights.executable && (context.efer & efer_no_execute) != 0)
        return false;
    return access.user || !rights.user || (context.cr4 & cr4_smep) == 0;
}

std::uint64_t load_entry(const std::byte* entry, unsigned bytes)
{
    std::uint64_t value{};
    std::memcpy(&value, entry, bytes);
    return value;
}

/// The guest-physical base of a large page at `level` (counted from 1, the level of 4 KiB pages).
std::uint64_t large_base(const Format& format, std::uint64_t entry, unsigned shift)
{
    if (format.entry_bytes == 4)  // a 4 MiB page, with bits 39:32 in 20:13 [SDM3-083 §4.3]
        return (entry & 0xffc0'0000) | (entry >> 13 & 0xff) << 32;
    return entry & long_address_mask & (~0ull << shift);
}

bool may_be_large(const Format& format, unsigned level, const ExecutionContext& context)
{
    if (format.entry_bytes == 4)
        return level == 2 && (context.cr4 & cr4_page_size_extension) != 0;
    return level == 2 || (level == 3 && format.levels == 4);
}

/// Bits of an entry that must be clear: of the address, what the processor has not got and what a large page is aligned to;
/// XD where it is off; the large bit at the topmost level [SDM3-083 §4.3, §4.4.2, §4.5].
std::uint64_t reserved_bits(const Format& format, const ExecutionContext& context, std::uint64_t beyond, unsigned level,
                            bool large, unsigned shift)
{
    constexpr std::uint64_t page_attribute_bit{1 << 12};
    if (format.entry_bytes == 4)
        return large ? 1u << 21 | (beyond >> 32 & 0xff) << 13 : 0;
    std::uint64_t bits = beyond;
    if ((context.efer & efer_no_execute) == 0)
        bits |= entry_no_execute;
    if (large)
        bits |= ((1ull << shift) - 1) & long_address_mask & ~page_attribute_bit;
    return level == 4 ? bits | entry_large : bits;
}

bool canonical(std::uint64_t address)
{
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(address << 16) >> 16) == address;
}

}  // namespace

WalkResult walk_guest_tables(const GuestMemory& memory, const ExecutionContext& context, GuestLinear address,
                             LinearAccess access)
{
    LinearTranslation result{};
    if (!context.paging()) {
        result.address = GuestPhysical{address.raw() & 0xffff'ffff};
        return result;
    }
    const Format& format = format_of(context);
    if (format.levels == 4 && !canonical(address.raw()))
        return fault(context, access, 0);
    const std::uint64_t linear = format.levels == 4 ? address.raw() : address.raw() & 0xffff'ffff;
    result.entry_bytes = format.entry_bytes;
    result.first_marked = format.levels == 3 ? 1 : 0;
    Rights rights{};
    std::uint64_t table = context.cr3 & format.root_mask;
    const std::uint64_t beyond = long_address_mask & ~memory.address_mask();
    for (unsigned level = format.levels; level > 0; --level) {
        const unsigned shift = 12 + (level - 1) * format.index_bits;
        const std::uint64_t index = linear >> shift & ((1u << format.index_bits) - 1);
        const GuestPhysical at{table + index * format.entry_bytes};
        const std::byte* const page = memory.page(at, false);
        if (page == nullptr)
            return fault(context, access, 0);
        const std::byte* const entry = page + at.page_offset();
        const std::uint64_t value = load_entry(entry, format.entry_bytes);
        if ((value & entry_present) == 0)
            return fault(context, access, 0);
        result.steps[result.levels++] = {entry, value & ~(entry_accessed | entry_dirty)};
        const bool rights_here = !(format.levels == 3 && level == 3);  // PAE's top level has none
        const bool large = (value & entry_large) != 0 && may_be_large(format, level, context);
        if (rights_here && (value & reserved_bits(format, context, beyond, level, large, shift)) != 0)
            return fault(context, access, fault_present | fault_reserved);
        if (rights_here) {
            rights.writable = rights.writable && (value & entry_writable) != 0;
            rights.user = rights.user && (value & entry_user) != 0;
            rights.executable = rights.executable && (format.entry_bytes == 4 || (value & entry_no_execute) == 0);
        }
        if (level == 1 || large) {
            if (!allowed(context, rights, access))
                return fault(context, access, fault_present);
            const std::uint64_t base = level == 1 ? value & (format.entry_bytes == 4 ? 0xffff'f000 : long_address_mask)
                                                  : large_base(format, value, shift);
            result.address = GuestPhysical{base | (linear & ((1ull << shift) - 1))};
            return result;
        }
        table = value & (format.entry_bytes == 4 ? 0xffff'f000 : long_address_mask);
    }
    return fault(context, access, 0);
}

void mark_accessed(const LinearTranslation& translation, bool write)
{
    for (unsigned step = translation.first_marked; step < translation.levels; ++step) {
        const bool last = step + 1 == translation.levels;
        const auto bits = static_cast<std::uint8_t>(entry_accessed | (last && write ? entry_dirty : 0));
        auto* const low = const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(translation.steps[step].entry));
        if ((*low & bits) != bits)
            std::atomic_ref{*low}.fetch_or(bits, std::memory_order_relaxed);
    }
}

}  // namespace hv::core
