// SPDX-License-Identifier: MIT
//
// The walker against the model: random tables in all formats, every kind of access, and what the walk says about the
// entries that it read.  The same cases in every run.
#include <cstring>
#include <random>

#include "guest_fixture.hpp"
#include "guest_walk_model.hpp"

using namespace hv;
using namespace hv::test;

namespace {

constexpr unsigned table_pages{12};
constexpr std::uint64_t ram_bytes{4 * mib};

class GuestWalkRandom : public GuestTest, public testing::WithParamInterface<unsigned> {
protected:
    GuestWalkRandom() { EXPECT_TRUE(create(ram_bytes)); }

    std::uint64_t pick(std::uint64_t below) { return engine() % below; }
    bool chance(unsigned percent) { return pick(100) < percent; }

    /// An entry as tests want them: mostly present, mostly to another table, all other bits by chance.
    std::uint64_t random_entry(bool wide)
    {
        std::uint64_t entry = engine() & (wide ? 0x0000'0000'0000'0fe6 : 0xfe6);
        entry |= chance(92) ? 1 : 0;
        entry |= chance(85) ? 6 : 0;
        entry &= chance(70) ? ~0x80ull : ~0ull;
        if (chance(5))
            entry |= wide ? engine() & 0x000f'ffff'ffff'f000 : engine() & 0xffff'f000;  // anywhere
        else
            entry |= pick(table_pages) * page_size;
        if ((entry & 0x80) != 0 && chance(80))  // aligned as some large page
            entry &= ~(chance(50) ? 0x1f'e000ull : 0x3fff'e000ull) & (wide ? ~0ull : ~0x20'0000ull);
        if (wide && chance(2))
            entry |= 1ull << (48 + pick(4));
        return wide && chance(12) ? entry | 1ull << 63 : entry;
    }
    void fill_tables(bool wide)
    {
        for (std::uint64_t page = 0; page < table_pages; ++page)
            for (std::uint64_t offset = 0; offset < page_size; offset += wide ? 8 : 4)
                if (wide)
                    put(page * page_size + offset, random_entry(true));
                else
                    put32(page * page_size + offset, static_cast<std::uint32_t>(random_entry(false)));
    }
    ExecutionContext random_context(unsigned format)
    {
        ExecutionContext context{};
        context.cr0 = 0x8000'0001 | (chance(50) ? 1u << 16 : 0);
        context.cr3 = pick(table_pages) * page_size + (format == 1 ? pick(128) * 32 : pick(4) * 8);
        context.cr4 = (chance(50) ? 1u << 20 : 0) | (format == 0 ? (chance(50) ? 1u << 4 : 0) : 1u << 5);
        context.efer = (format == 2 ? 0x500 : 0) | (chance(70) ? 0x800 : 0);
        return context;
    }
    std::uint64_t random_linear(unsigned format)
    {
        if (format != 2)
            return engine() & (chance(90) ? 0xffff'ffff : ~0ull);
        const std::uint64_t linear = engine() & 0x0000'ffff'ffff'ffff;
        return chance(90) ? static_cast<std::uint64_t>(static_cast<std::int64_t>(linear << 16) >> 16) : engine();
    }
    [[nodiscard]] std::optional<std::uint64_t> model_memory(std::uint64_t address, unsigned bytes) const
    {
        std::uint64_t value{};
        if (!memory->guest().read(GuestPhysical{address}, std::as_writable_bytes(std::span{&value, 1}).first(bytes)))
            return std::nullopt;
        return value;
    }

    std::mt19937_64 engine{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Formats, GuestWalkRandom, testing::Values(0u, 1u, 2u));

/// Every step is the entry where the model would find it, and its value without the bits that the processor sets.
void expect_true_steps(const LinearTranslation& walk)
{
    for (unsigned step = 0; step < walk.levels; ++step) {
        std::uint64_t now{};
        std::memcpy(&now, walk.steps[step].entry, walk.entry_bytes);
        ASSERT_EQ(now & ~0x60ull, walk.steps[step].value);
    }
}

}  // namespace

TEST_P(GuestWalkRandom, AgreesWithTheModel)
{
    const unsigned format = GetParam();
    unsigned mapped{};
    unsigned refused[32]{};
    for (unsigned round = 0; round < 12; ++round) {
        fill_tables(format != 0);
        for (unsigned test = 0; test < 8'000; ++test) {
            const ExecutionContext context = random_context(format);
            const std::uint64_t linear = random_linear(format);
            const bool execute = chance(33);
            const LinearAccess access{.write = !execute && chance(50), .user = chance(50), .execute = execute};
            const auto walk = walk_guest_tables(memory->guest(), context, GuestLinear{linear}, access);
            const ModelAnswer model = model_walk([this](auto address, auto bytes) { return model_memory(address, bytes); },
                                                 context, linear, access);
            ASSERT_EQ(static_cast<bool>(walk), model.address.has_value())
                << std::hex << linear << " cr3 " << context.cr3 << " round " << round << " test " << test;
            if (!walk) {
                ASSERT_EQ(walk.error_code(), model.error_code) << std::hex << linear << ' ' << test;
                ++refused[walk.error_code()];
                continue;
            }
            ++mapped;
            ASSERT_EQ(walk->address.raw(), *model.address) << std::hex << linear;
            ASSERT_EQ(walk->entry_bytes, format == 0 ? 4 : 8);
            ASSERT_EQ(walk->first_marked, format == 1 ? 1 : 0);
            expect_true_steps(*walk);
        }
    }
    EXPECT_GT(mapped, 20'000u) << "the cases are not worth much";
    for (const unsigned code : {0u, 1u | 2u, 1u | 4u, 1u | 2u | 4u, 4u, 2u})
        EXPECT_GT(refused[code], 100u) << code;
    EXPECT_GT(refused[1 | 8] + refused[1 | 2 | 8] + refused[1 | 4 | 8], format == 0 ? 10u : 1'000u);
}
