// SPDX-License-Identifier: MIT
#include "hv/core/vcpu/code_reader.hpp"

#include <cstring>

namespace hv::core {
namespace {

constexpr std::uint64_t accessed_and_dirty{1 << 5 | 1 << 6};

bool unchanged(const WalkStep& step, unsigned entry_bytes)
{
    std::uint64_t now{};
    if (entry_bytes == 8)
        std::memcpy(&now, step.entry, 8);
    else
        std::memcpy(&now, step.entry, 4);
    return (now & ~accessed_and_dirty) == step.value;
}

}  // namespace

bool CodeReader::still_holds(const Page& page, std::uint64_t generation, const ExecutionContext& context,
                             std::uint64_t linear_page)
{
    if (!page.valid || page.linear_page != linear_page || page.generation != generation ||
        page.cr3 != context.cr3 || page.cr0 != context.cr0 || page.cr4 != context.cr4 || page.efer != context.efer ||
        page.privilege_level != context.privilege_level)
        return false;
    for (unsigned step = 0; step < page.walk.levels; ++step)
        if (!unchanged(page.walk.steps[step], page.walk.entry_bytes))
            return false;
    return true;
}

const std::byte* CodeReader::page_of(const GuestMemory& memory, std::uint64_t generation,
                                     const ExecutionContext& context, std::uint64_t linear, std::uint32_t& fault)
{
    if (still_holds(page_, generation, context, linear & ~page_mask))
        return page_.bytes;
    page_.valid = false;
    const LinearAccess access{.write = false, .user = context.privilege_level == 3, .execute = true};
    const auto walk = walk_guest_tables(memory, context, GuestLinear{linear}, access);
    if (!walk) {
        fault = walk.error_code();
        return nullptr;
    }
    const std::byte* const bytes = memory.page(walk->address, false);
    if (bytes == nullptr)
        return nullptr;
    page_ = {linear & ~page_mask, context.cr0, context.cr3,   context.cr4, context.efer,
             generation,          context.privilege_level, true, bytes,       *walk};
    return bytes;
}

Expected<std::span<const std::byte>> CodeReader::read(const GuestMemory& memory, std::uint64_t nested_generation,
                                                      const ExecutionContext& context, std::uint64_t rip,
                                                      std::uint32_t& fault)
{
    const std::uint64_t linear = context.code_64() ? rip : (context.code_base + rip) & 0xffff'ffff;
    const std::byte* const page = page_of(memory, nested_generation, context, linear, fault);
    if (page == nullptr)
        return Error::out_of_range;
    const std::uint64_t offset = linear & page_mask;
    const std::uint64_t here = page_size - offset;
    if (here >= longest_instruction) [[likely]]
        return std::span{page + offset, static_cast<std::size_t>(here)};
    std::memcpy(across_, page + offset, here);
    std::uint32_t unused{};
    const std::byte* const next = page_of(memory, nested_generation, context, linear + here, unused);
    if (next == nullptr)
        return std::span<const std::byte>{across_, static_cast<std::size_t>(here)};
    std::memcpy(across_ + here, next, longest_instruction);
    return std::span<const std::byte>{across_, static_cast<std::size_t>(here) + longest_instruction};
}

}  // namespace hv::core
