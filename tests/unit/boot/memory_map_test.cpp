// SPDX-License-Identifier: MIT
#include "hv/core/boot/memory_map.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

using namespace hv;
using namespace hv::core;

namespace {

constexpr std::uint64_t mebibyte{1ull << 20};
constexpr HostPhysical four_gibibytes{4ull << 30};

E820Entry entry(std::uint64_t begin, std::uint64_t end, E820Type type = E820Type::ram)
{
    return {begin, end - begin, type};
}
HostRange range(std::uint64_t begin, std::uint64_t end)
{
    return {HostPhysical{begin}, end - begin};
}

MemoryMap map_of(std::vector<E820Entry> raw)
{
    auto map = normalize_memory_map(raw);
    EXPECT_TRUE(map);
    return map.value();
}

/// What a PC of 2 GiB looks like.
MemoryMap pc_map()
{
    return map_of({entry(0, 0x9fc00), entry(0x9fc00, 0xa0000, E820Type::reserved),
                   entry(0xf0000, 0x100000, E820Type::reserved), entry(0x100000, 0x7ffe0000),
                   entry(0x7ffe0000, 0x80000000, E820Type::acpi_tables),
                   entry(0xfffc0000, 0x100000000, E820Type::reserved), entry(0x100000000, 0x140000000)});
}

std::string show(const MemoryMap& map)
{
    std::string text;
    for (const E820Entry& item : map) {
        char line[80];
        std::snprintf(line, sizeof line, "%llx-%llx:%u ", static_cast<unsigned long long>(item.begin),
                      static_cast<unsigned long long>(item.begin + item.bytes),
                      static_cast<unsigned>(item.type));
        text += line;
    }
    return text;
}
std::string show(const HostRanges& ranges)
{
    std::string text;
    for (const HostRange& item : ranges) {
        char line[80];
        std::snprintf(line, sizeof line, "%llx-%llx ", static_cast<unsigned long long>(item.begin.raw()),
                      static_cast<unsigned long long>(item.begin.raw() + item.bytes));
        text += line;
    }
    return text;
}

}  // namespace

TEST(MemoryMap, IsPutInOrderAndJoined)
{
    EXPECT_EQ(show(map_of({entry(0x3000, 0x4000), entry(0x1000, 0x2000), entry(0x2000, 0x3000),
                           entry(0x9000, 0x9000)})),
              "1000-4000:1 ");
}

TEST(MemoryMap, TheMoreRestrictiveTypeWinsWhereEntriesOverlap)
{
    EXPECT_EQ(show(map_of({entry(0x1000, 0x9000), entry(0x3000, 0x4000, E820Type::reserved),
                           entry(0x3800, 0x5000, E820Type::acpi_tables)})),
              "1000-3000:1 3000-4000:2 4000-5000:3 5000-9000:1 ");
}

TEST(MemoryMap, UnknownTypesAreReservedAndWhatWrapsIsCut)
{
    EXPECT_EQ(show(map_of({entry(0x1000, 0x2000, static_cast<E820Type>(0)),
                           entry(0x2000, 0x3000, static_cast<E820Type>(77)),
                           {0x5000, ~0ull, E820Type::ram}})),
              "1000-3000:2 5000-fffffffffffff000:1 ");
}

TEST(MemoryMap, SaysWhenItIsTooLong)
{
    std::vector<E820Entry> raw;
    for (std::uint64_t index = 0; index < maximum_memory_entries; ++index)
        raw.push_back(entry(index * 0x2000, index * 0x2000 + 0x1000));
    EXPECT_TRUE(normalize_memory_map(raw));
    raw.push_back(entry(0x1000000, 0x1001000));
    EXPECT_EQ(normalize_memory_map(raw).error(), Error::limit_reached);
}

TEST(MemoryMap, KnowsWhatIsRam)
{
    const MemoryMap map = pc_map();
    EXPECT_TRUE(is_ram(map, range(0x100000, 0x7ffe0000)));
    EXPECT_FALSE(is_ram(map, range(0x100000, 0x7ffe0001)));
    EXPECT_FALSE(is_ram(map, range(0x9f000, 0xa0000)));
    EXPECT_FALSE(is_ram(map, {HostPhysical{0x200000}, ~0ull}));
    EXPECT_EQ(ram_bytes(map), 0x9fc00 + 0x7fee0000 + 0x40000000ull);
}

TEST(MemorySplit, GivesTheLowestRamToTheControlDomainAndTheRestToTheAllocator)
{
    const HostRange reserved[]{range(0x200000, 0x300000), range(0x9e000, 0x9f000)};
    const auto split = split_memory(pc_map(), reserved, 64 * mebibyte);
    ASSERT_TRUE(split);
    // 64 MiB are 0x9e000 below 640 KiB, 0x100000 below the image, and the rest above it.
    EXPECT_EQ(show(split.value().control_domain),
              "0-9e000:1 9e000-a0000:2 f0000-100000:2 100000-200000:1 200000-300000:2 300000-4162000:1 "
              "4162000-7ffe0000:2 7ffe0000-80000000:3 fffc0000-140000000:2 ");
    EXPECT_EQ(show(split.value().allocator), "4162000-7ffe0000 100000000-140000000 ");
    EXPECT_EQ(ram_bytes(split.value().control_domain), 64 * mebibyte);
}

TEST(MemorySplit, TakesWholePagesOnlyAndRoundsWhatIsReservedOutward)
{
    const HostRange reserved[]{range(0x5800, 0x5900)};
    const auto split = split_memory(map_of({entry(0x1234, 0x20100)}), reserved, 0x4000);
    ASSERT_TRUE(split);
    EXPECT_EQ(show(split.value().control_domain),
              "1234-2000:2 2000-5000:1 5000-6000:2 6000-7000:1 7000-20100:2 ");
    EXPECT_EQ(show(split.value().allocator), "7000-20000 ");
}

TEST(MemorySplit, SaysWhenThereIsNotThatMuch)
{
    EXPECT_EQ(split_memory(pc_map(), {}, 4096 * mebibyte).error(), Error::no_memory);
    EXPECT_EQ(split_memory(MemoryMap{}, {}, 64 * mebibyte).error(), Error::no_memory);
}

TEST(ModuleMoves, OnlyModulesInTheControlDomainsRamAreMoved)
{
    auto split = split_memory(pc_map(), {}, 64 * mebibyte);
    ASSERT_TRUE(split);
    const HostRange modules[]{range(0x1000000, 0x1004800), range(0x70000000, 0x70000100),
                              range(0x4060000, 0x4200000), range(0, 0)};
    const auto moves = plan_module_moves(split.value(), modules, four_gibibytes);
    ASSERT_TRUE(moves);
    ASSERT_EQ(moves.value().size(), 2);
    EXPECT_EQ(moves.value()[0].index, 0);
    EXPECT_EQ(moves.value()[0].to, HostPhysical{0x7ffe0000 - 0x5000});
    EXPECT_EQ(moves.value()[1].index, 2);
    EXPECT_EQ(moves.value()[1].to, HostPhysical{0x7ffe0000 - 0x5000 - 0x1a0000});
    EXPECT_EQ(show(split.value().allocator), "4200000-70000000 70001000-7fe3b000 100000000-140000000 ");
}

TEST(ModuleMoves, ChangeNothingWhenThereIsNoRoom)
{
    auto split = split_memory(map_of({entry(0x100000, 0x200000)}), {}, 0xf0000);
    ASSERT_TRUE(split);
    const std::string before = show(split.value().allocator);
    const HostRange modules[]{range(0x100000, 0x120000)};
    EXPECT_EQ(plan_module_moves(split.value(), modules, four_gibibytes).error(), Error::no_memory);
    EXPECT_EQ(show(split.value().allocator), before);
}

TEST(LowPage, IsTheHighestFreeOneBelow512KiB)
{
    const MemoryMap map = pc_map();
    EXPECT_EQ(find_low_page(map, {}).value(), HostPhysical{0x7f000});
    const HostRange taken[]{range(0x7e800, 0x7f001)};
    EXPECT_EQ(find_low_page(map, taken).value(), HostPhysical{0x7d000});
    EXPECT_EQ(find_low_page(map_of({entry(0x100000, 0x200000)}), {}).error(), Error::no_memory);
    EXPECT_EQ(find_low_page(map_of({entry(0, 0x1000)}), {}).error(), Error::no_memory);  // never page 0
}

/// For random maps: every page of RAM has exactly one owner, and nobody owns what is reserved or a module.
TEST(MemorySplit, GivesEveryPageOneOwner)
{
    std::mt19937_64 random{7};
    constexpr std::uint64_t pages{512};
    for (int round = 0; round < 300; ++round) {
        std::vector<E820Entry> raw;
        for (int count = 0; count < 6; ++count) {
            const std::uint64_t begin =
                random() % pages * page_size + (random() % 4 == 0 ? random() % page_size : 0);
            raw.push_back({begin, random() % (200 * page_size),
                           random() % 3 == 0 ? E820Type::reserved : E820Type::ram});
        }
        const MemoryMap map = map_of(raw);
        std::vector<HostRange> reserved;
        std::vector<HostRange> modules;
        for (int count = 0; count < 3; ++count) {
            reserved.push_back({HostPhysical{random() % (pages * page_size)}, random() % (9 * page_size)});
            modules.push_back({HostPhysical{random() % pages * page_size}, random() % (9 * page_size)});
        }
        const auto split = split_memory(map, reserved, random() % 200 * page_size);
        if (!split)
            continue;
        MemorySplit planned = split.value();
        const auto moves = plan_module_moves(planned, modules, four_gibibytes);
        for (std::uint64_t page = 0; page < pages + 220; ++page) {
            const HostRange here{HostPhysical{page * page_size}, page_size};
            const auto overlaps = [&](const HostRange& other) { return other.overlaps(here); };
            const bool controls = is_ram(split.value().control_domain, here);
            int owners = controls ? 1 : 0;
            for (const HostRange& free : split.value().allocator)
                owners += free.contains(here.begin, page_size) ? 1 : 0;
            const bool is_reserved = std::any_of(reserved.begin(), reserved.end(), overlaps);
            ASSERT_EQ(owners, is_ram(map, here) && !is_reserved ? 1 : 0) << show(map) << page;
            if (!moves)
                continue;
            const bool has_module = std::any_of(modules.begin(), modules.end(), overlaps);
            for (const HostRange& free : planned.allocator)
                ASSERT_FALSE(has_module && free.overlaps(here));
            for (const ModuleMove& move : moves.value()) {
                const HostRange place{move.to, modules[move.index].bytes};
                ASSERT_FALSE(place.overlaps(here) && (controls || has_module));
                for (const HostRange& free : planned.allocator)
                    ASSERT_FALSE(free.overlaps(place));
            }
        }
    }
}
