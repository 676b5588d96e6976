// SPDX-License-Identifier: MIT
//
// Reads the bytes of the instruction that a guest is about to execute.  Walking its page tables for each exit would cost
// more than the rest of the exit, so the last walk is kept together with the entries that it read: if those still hold the
// same values the translation is the same, without a flush protocol and without a stale answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/base/expected.hpp"
#include "hv/core/hvm/system_registers.hpp"
#include "hv/core/memory/guest_memory.hpp"
#include "hv/core/memory/guest_walk.hpp"

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

private:
    struct Page {
        std::uint64_t linear_page;
        std::uint64_t cr0, cr3, cr4, efer;
        std::uint64_t generation;
        std::uint8_t privilege_level;
        bool valid;
        const std::byte* bytes;
        LinearTranslation walk;
    };
    static bool still_holds(const Page& page, std::uint64_t generation, const ExecutionContext& context,
                            std::uint64_t linear_page);
    const std::byte* page_of(const GuestMemory& memory, std::uint64_t generation, const ExecutionContext& context,
                             std::uint64_t linear, std::uint32_t& fault);

    Page page_{};
    std::byte across_[2 * longest_instruction]{};
};

}  // namespace hv::core
