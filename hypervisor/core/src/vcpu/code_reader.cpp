// SPDX-License-Identifier: MIT
#include "hv/core/vcpu/code_reader.hpp"

namespace hv::core {

/// Entries of four bytes are noted with the other half of their eight; one that is not what the walk saw any more is not
/// noted at all.
bool CodeReader::note_steps(Page& page, const LinearTranslation& walk)
{
    const bool narrow = walk.entry_bytes == 4;
    page.entry_mask = narrow ? ~(accessed_and_dirty | accessed_and_dirty << 32) : ~accessed_and_dirty;
    for (unsigned step = 0; step < walk.levels; ++step) {
        const auto at = reinterpret_cast<std::uintptr_t>(walk.steps[step].entry);
        page.entries[step] = reinterpret_cast<const void*>(at & ~std::uintptr_t{7});
        page.values[step] = load(page.entries[step]);
        const std::uint64_t own = narrow ? page.values[step] >> (at % 8 * 8) & 0xffff'ffff : page.values[step];
        if ((own & ~accessed_and_dirty) != walk.steps[step].value)
            return false;
    }
    return true;
}

const std::byte* CodeReader::page_of(const GuestMemory& memory, std::uint64_t generation,
                                     const ExecutionContext& context, std::uint64_t linear, std::uint32_t& fault)
{
    Page& page = pages_[linear / page_size % kept_pages];
    if (still_holds(page, generation, context, linear & ~page_mask))
        return page.bytes;
    page = {};
    const LinearAccess access{.write = false, .user = context.privilege_level == 3, .execute = true};
    const auto walk = walk_guest_tables(memory, context, GuestLinear{linear}, access);
    if (!walk) {
        fault = walk.error_code();
        return nullptr;
    }
    const std::byte* const bytes = memory.page(walk->address, false);
    if (bytes == nullptr)
        return nullptr;
    page = {.linear_page = linear & ~page_mask,
            .cr0 = context.cr0,
            .cr3 = context.cr3,
            .cr4 = context.cr4,
            .efer = context.efer,
            .generation = generation,
            .privilege_level = context.privilege_level,
            .bytes = bytes};
    if (!note_steps(page, *walk))
        page.linear_page = no_page;
    return bytes;
}

Expected<std::span<const std::byte>> CodeReader::read(const GuestMemory& memory, std::uint64_t nested_generation,
                                                      const ExecutionContext& context, std::uint64_t rip,
                                                      std::uint32_t& fault)
{
    const std::uint64_t linear = linear_of(context, rip);
    const std::byte* const page = page_of(memory, nested_generation, context, linear, fault);
    if (page == nullptr)
        return Error::out_of_range;
    const std::uint64_t offset = linear & page_mask;
    const std::uint64_t here = page_size - offset;
    if (here >= longest_instruction) [[likely]]
        return std::span{page + offset, static_cast<std::size_t>(here)};
    __builtin_memcpy(across_, page + offset, here);
    std::uint32_t unused{};
    const std::byte* const next = page_of(memory, nested_generation, context, linear + here, unused);
    if (next == nullptr)
        return std::span<const std::byte>{across_, static_cast<std::size_t>(here)};
    __builtin_memcpy(across_ + here, next, longest_instruction);
    return std::span<const std::byte>{across_, static_cast<std::size_t>(here) + longest_instruction};
}

void CodeReader::remember(const VcpuContext& vcpu, const ExecutionContext& context)
{
    const std::uint64_t rip = vcpu.registers.rip;
    const Page& page = page_for(rip);
    const std::uint64_t generation = vcpu.entered_generation.load(std::memory_order_relaxed);
    if (!context.code_64() || (rip & page_mask) > page_size - longest_instruction ||
        page.linear_page != (rip & ~page_mask) || page.cr3 != context.cr3 || page.generation != generation)
        return;
    Site& site = sites_[rip % kept_sites];
    site.rip = rip;
    site.cr3 = context.cr3;
    site.efer = *vcpu.live.efer;
    site.code_segment = load(vcpu.live.code_segment);
    site.generation = generation;
    site.bytes = page.bytes + (rip & page_mask);
#pragma GCC unroll 4
    for (unsigned step = 0; step < maximum_steps; ++step) {
        site.entries[step] = page.entries[step];
        site.values[step] = page.values[step];
    }
}

}  // namespace hv::core
