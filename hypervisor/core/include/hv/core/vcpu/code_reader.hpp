// SPDX-License-Identifier: MIT
//
// Reads the bytes of the instruction that a guest is about to execute.  Walking its page tables for each exit would cost
// more than the rest of the exit, so the last walks are kept together with the entries that they read: if those still hold the
// same values the translation is the same, without a flush protocol and without a stale answer.
//
// They are kept twice.  A Page serves whatever lies in it, in every mode.  A Site is one instruction of 64-bit code that made
// an exit before, and is found in some forty instructions.  It needs no more than RIP, CR3, EFER and CS to be as they were:
// in 64-bit mode they and the entries decide the translation.  Whether it is *allowed* CR0, CR4 and the privilege level decide
// too, but the processor has just executed the instruction there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/base/expected.hpp"
#include "hv/core/hvm/system_registers.hpp"
#include "hv/core/memory/guest_memory.hpp"
#include "hv/core/memory/guest_walk.hpp"
#include "hv/core/hvm/backend.hpp"

namespace hv::core {

inline constexpr std::size_t longest_instruction{15};

class CodeReader {
public:
    /// The bytes at `rip`: at least longest_instruction, unless the page behind them is not readable.  They lie in guest
    /// memory or in this object, and the guest may change them: copy what is decided upon.  Fails with the page fault's
    /// error code in `fault` (out_of_range) when not even the first byte can be read.
    Expected<std::span<const std::byte>> read(const GuestMemory& memory, std::uint64_t nested_generation,
                                              const ExecutionContext& context, std::uint64_t rip,
                                              std::uint32_t& fault);

    /// The same for most exits at a fraction of the cost: longest_instruction bytes at `rip` where they lie in a page that
    /// was read before and whose translation still holds; null: read() tells.
    [[nodiscard]] const std::byte* recall(std::uint64_t nested_generation, const ExecutionContext& context,
                                          std::uint64_t rip) const
    {
        const std::uint64_t linear = linear_of(context, rip);
        const std::uint64_t offset = linear & page_mask;
        const Page& page = page_for(linear);
        if (offset > page_size - longest_instruction || !still_holds(page, nested_generation, context, linear - offset))
            return nullptr;
        return page.bytes + offset;
    }

    /// The same at a fraction of that: four bytes or more of the instruction that made this exit, where remember() has noted
    /// its site and everything still holds; else zeros, which are no instruction that makes an exit: recall() tells.  What was noted is of the nested generation of an entry, and
    /// good for the exit after an entry with the same: nobody reuses a frame before all have entered with a newer one.
    [[nodiscard]] const std::byte* known(const VcpuContext& vcpu) const
    {
        const Site& site = sites_[vcpu.registers.rip % kept_sites];
        const std::uint64_t differences =
            (site.rip ^ vcpu.registers.rip) | (site.cr3 ^ *vcpu.live.cr3) | (site.efer ^ *vcpu.live.efer) |
            (site.code_segment ^ load(vcpu.live.code_segment)) |
            (site.generation ^ vcpu.entered_generation.load(std::memory_order_relaxed));
        if (differences != 0) [[unlikely]]
            return no_bytes;
        std::uint64_t changes{};
#pragma GCC unroll 4
        for (unsigned step = 0; step < maximum_steps; ++step)
            changes |= load(site.entries[step]) ^ site.values[step];
        return (changes & ~accessed_and_dirty) == 0 ? site.bytes : no_bytes;
    }
    /// Notes the site of the instruction that made this exit, after recall() or read() has found its page.
    void remember(const VcpuContext& vcpu, const ExecutionContext& context);

private:
    static constexpr std::size_t kept_sites{32};
    static constexpr std::size_t kept_pages{4};  ///< a loop, what it calls and an interrupt handler
    static constexpr unsigned maximum_steps{4};
    static constexpr std::uint64_t no_page{1};
    static constexpr std::uint64_t accessed_and_dirty{1 << 5 | 1 << 6};
    static constexpr std::uint64_t nothing{};  ///< what steps that a walk has not taken point to
    static constexpr std::byte no_bytes[8]{};

    struct Page {
        std::uint64_t linear_page{no_page};
        std::uint64_t cr0{}, cr3{}, cr4{}, efer{};
        std::uint64_t generation{};
        std::uint64_t privilege_level{};
        const std::byte* bytes{};
        const void* entries[maximum_steps]{&nothing, &nothing, &nothing, &nothing};
        std::uint64_t values[maximum_steps]{};  ///< of the entries, accessed and dirty bits aside
        std::uint64_t entry_mask{};             ///< the bits of an entry that must be as they were
    };
    struct alignas(128) Site {
        std::uint64_t rip{};
        std::uint64_t cr3{};
        std::uint64_t efer{};  ///< 0: nothing is noted here
        std::uint64_t code_segment{};
        std::uint64_t generation{};
        const std::byte* bytes{no_bytes};
        const void* entries[maximum_steps]{&nothing, &nothing, &nothing, &nothing};
        std::uint64_t values[maximum_steps]{};
    };
    static std::uint64_t linear_of(const ExecutionContext& context, std::uint64_t rip)
    {
        return context.code_64() ? rip : (context.code_base + rip) & 0xffff'ffff;
    }
    [[nodiscard]] const Page& page_for(std::uint64_t linear) const { return pages_[linear / page_size % kept_pages]; }

    /// Entries of four bytes are looked at with their neighbour in the same eight: a change there only costs a walk.
    static bool still_holds(const Page& page, std::uint64_t generation, const ExecutionContext& context,
                            std::uint64_t linear_page)
    {
        const std::uint64_t differences =
            (page.linear_page ^ linear_page) | (page.generation ^ generation) | (page.cr3 ^ context.cr3) |
            (page.cr0 ^ context.cr0) | (page.cr4 ^ context.cr4) | (page.efer ^ context.efer) |
            (page.privilege_level ^ context.privilege_level);
        if (differences != 0)
            return false;
        std::uint64_t changes{};
#pragma GCC unroll 4
        for (unsigned step = 0; step < maximum_steps; ++step)
            changes |= load(page.entries[step]) ^ page.values[step];
        return (changes & page.entry_mask) == 0;
    }
    static std::uint64_t load(const void* entry)
    {
        std::uint64_t value;
        __builtin_memcpy(&value, entry, sizeof value);  // a load; freestanding std::memcpy would be a call
        return value;
    }

    static bool note_steps(Page& page, const LinearTranslation& walk);
    const std::byte* page_of(const GuestMemory& memory, std::uint64_t generation, const ExecutionContext& context,
                             std::uint64_t linear, std::uint32_t& fault);

    Site sites_[kept_sites]{};
    Page pages_[kept_pages]{};
    std::byte across_[2 * longest_instruction]{};
};

}  // namespace hv::core
