// SPDX-License-Identifier: MIT
#include "guest_walk_model.hpp"

#include <vector>

namespace hv::test {
namespace {

struct Outcome {
    enum { mapped, not_present, reserved } kind;
    std::uint64_t address{};
    std::vector<std::uint64_t> rights{};  ///< the entries whose R/W, U/S and XD count
};

constexpr bool bit(std::uint64_t value, unsigned number) { return (value >> number & 1) != 0; }

Outcome legacy(const ModelMemory& memory, const core::ExecutionContext& context, std::uint64_t linear)
{
    const auto directory = memory((context.cr3 & 0xfffff000) + 4 * (linear >> 22), 4);
    if (!directory || !bit(*directory, 0))
        return {Outcome::not_present};
    if (bit(*directory, 7) && bit(context.cr4, 4) && bit(*directory, 21))
        return {Outcome::reserved};
    if (bit(*directory, 7) && bit(context.cr4, 4))
        return {Outcome::mapped, (*directory >> 22 << 22) + ((*directory >> 13 & 0xff) << 32) + (linear & 0x3fffff),
                {*directory}};
    const auto table = memory((*directory & 0xfffff000) + 4 * (linear >> 12 & 0x3ff), 4);
    if (!table || !bit(*table, 0))
        return {Outcome::not_present};
    return {Outcome::mapped, (*table & 0xfffff000) + (linear & 0xfff), {*directory, *table}};
}

constexpr std::uint64_t frame(std::uint64_t entry, unsigned lowest)
{
    return entry & 0x000fffffffffffff & (~0ull << lowest);
}

/// `below` is the lowest bit of a page's address; the tests' processor has 48 bits of it.
bool has_reserved(std::uint64_t entry, const core::ExecutionContext& context, unsigned below = 12)
{
    for (unsigned number = 13; number < below; ++number)
        if (bit(entry, number))
            return true;
    return (entry >> 48 & 0xf) != 0 || (bit(entry, 63) && !bit(context.efer, 11));
}

/// From a page directory with 64-bit entries on.
Outcome from_directory(const ModelMemory& memory, const core::ExecutionContext& context, std::uint64_t base,
                       std::uint64_t linear, std::vector<std::uint64_t> above)
{
    const auto directory = memory(base + 8 * (linear >> 21 & 0x1ff), 8);
    if (!directory || !bit(*directory, 0))
        return {Outcome::not_present};
    above.push_back(*directory);
    if (has_reserved(*directory, context, bit(*directory, 7) ? 21 : 12))
        return {Outcome::reserved};
    if (bit(*directory, 7))
        return {Outcome::mapped, frame(*directory, 21) + (linear & 0x1fffff), above};
    const auto table = memory(frame(*directory, 12) + 8 * (linear >> 12 & 0x1ff), 8);
    if (!table || !bit(*table, 0))
        return {Outcome::not_present};
    above.push_back(*table);
    if (has_reserved(*table, context))
        return {Outcome::reserved};
    return {Outcome::mapped, frame(*table, 12) + (linear & 0xfff), above};
}

Outcome extended(const ModelMemory& memory, const core::ExecutionContext& context, std::uint64_t linear)
{
    const auto pointer = memory((context.cr3 & 0xffffffe0) + 8 * (linear >> 30), 8);
    if (!pointer || !bit(*pointer, 0))
        return {Outcome::not_present};
    return from_directory(memory, context, frame(*pointer, 12), linear, {});
}

Outcome four_level(const ModelMemory& memory, const core::ExecutionContext& context, std::uint64_t linear)
{
    const std::uint64_t upper = linear >> 47;
    if (upper != 0 && upper != 0x1ffff)
        return {Outcome::not_present};
    const auto top = memory(frame(context.cr3, 12) + 8 * (linear >> 39 & 0x1ff), 8);
    if (!top || !bit(*top, 0))
        return {Outcome::not_present};
    if (bit(*top, 7) || has_reserved(*top, context))
        return {Outcome::reserved};
    const auto pointer = memory(frame(*top, 12) + 8 * (linear >> 30 & 0x1ff), 8);
    if (!pointer || !bit(*pointer, 0))
        return {Outcome::not_present};
    if (has_reserved(*pointer, context, bit(*pointer, 7) ? 30 : 12))
        return {Outcome::reserved};
    if (bit(*pointer, 7))
        return {Outcome::mapped, frame(*pointer, 30) + (linear & 0x3fffffff), {*top, *pointer}};
    return from_directory(memory, context, frame(*pointer, 12), linear, {*top, *pointer});
}

bool permitted(const Outcome& outcome, const core::ExecutionContext& context, core::LinearAccess access, bool wide)
{
    bool writable{true};
    bool user{true};
    bool no_execute{false};
    for (const std::uint64_t entry : outcome.rights) {
        writable &= bit(entry, 1);
        user &= bit(entry, 2);
        no_execute |= wide && bit(entry, 63) && bit(context.efer, 11);
    }
    const bool write_protect = bit(context.cr0, 16);
    const bool smep = bit(context.cr4, 20);
    if (access.user)
        return user && !(access.write && !writable) && !(access.execute && no_execute);
    if (access.write && write_protect && !writable)
        return false;
    return !(access.execute && (no_execute || (smep && user)));
}

}  // namespace

ModelAnswer model_walk(const ModelMemory& memory, const core::ExecutionContext& context, std::uint64_t linear,
                       core::LinearAccess access)
{
    if (!bit(context.cr0, 31))
        return {linear & 0xffffffff};
    const bool long_mode = bit(context.efer, 10);
    const bool wide = long_mode || bit(context.cr4, 5);
    const Outcome outcome = long_mode ? four_level(memory, context, linear)
                            : wide    ? extended(memory, context, linear & 0xffffffff)
                                      : legacy(memory, context, linear & 0xffffffff);
    if (outcome.kind == Outcome::mapped && permitted(outcome, context, access, wide))
        return {outcome.address};
    std::uint32_t code{};
    code |= outcome.kind == Outcome::not_present ? 0 : 1;
    code |= access.write ? 2 : 0;
    code |= access.user ? 4 : 0;
    code |= outcome.kind == Outcome::reserved ? 8 : 0;
    code |= access.execute && (bit(context.cr4, 20) || (bit(context.cr4, 5) && bit(context.efer, 11))) ? 0x10 : 0;
    return {std::nullopt, code};
}

}  // namespace hv::test
