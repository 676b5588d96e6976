// SPDX-License-Identifier: MIT
//
// The reader of instruction bytes against one that remembers nothing: whatever happens to page tables, registers and the
// nested map between two reads, both see the same bytes.
#include "hv/core/vcpu/code_reader.hpp"

#include <algorithm>
#include <cstring>
#include <random>

#include "machine_fixture.hpp"

using namespace hv;
using namespace hv::test;

namespace {

class CodeReaderTest : public VcpuTest {
protected:
    [[nodiscard]] std::vector<std::byte> read(CodeReader& reader, const ExecutionContext& context, std::uint64_t rip)
    {
        error = 0;
        const NestedMap& map = domain->memory.map();
        const auto bytes = reader.read(domain->memory.guest(), map.generation().load(), context, rip, error);
        if (!bytes)
            return {};
        const std::size_t length = std::min<std::size_t>(bytes.value().size(), longest_instruction);
        return {bytes.value().begin(), bytes.value().begin() + static_cast<std::ptrdiff_t>(length)};
    }
    [[nodiscard]] ExecutionContext context() const
    {
        ExecutionContext result{};
        machine().hvm.read_context(vcpu(), result);
        return result;
    }
    void expect_same(const ExecutionContext& with, std::uint64_t rip, unsigned step)
    {
        const auto remembered = read(kept, with, rip);
        const std::uint32_t its_error{error};
        CodeReader fresh;
        ASSERT_EQ(remembered, read(fresh, with, rip)) << std::hex << rip << " at step " << std::dec << step;
        ASSERT_EQ(its_error, error) << step;
        found += remembered.empty() ? 0 : 1;
    }

    CodeReader kept;
    std::uint32_t error{};
    unsigned found{};
};

}  // namespace

TEST_F(CodeReaderTest, SeesAnEntryThatChangedAtEveryLevelAndWhatTheGuestWroteThere)
{
    long_mode();
    code({0x11}, 0x4'0000);
    code({0x22}, 0x5'0000);
    const ExecutionContext now = context();
    EXPECT_EQ(read(kept, now, 0x4'0000).at(0), std::byte{0x11});
    code({0x12}, 0x4'0000);
    EXPECT_EQ(read(kept, now, 0x4'0000).at(0), std::byte{0x12});
    put<std::uint64_t>(0x1'3000 + 8 * 0x40, 0x5'0007);
    EXPECT_EQ(read(kept, now, 0x4'0000).at(0), std::byte{0x22});
    put<std::uint64_t>(0x1'4000 + 8 * 0x40, 0x4'0007);  // another page table
    put<std::uint64_t>(0x1'2000, 0x1'4007);
    EXPECT_EQ(read(kept, now, 0x4'0000).at(0), std::byte{0x12});
    put<std::uint64_t>(0x1'1000, 0);
    EXPECT_TRUE(read(kept, now, 0x4'0000).empty());
    put<std::uint64_t>(0x1'1000, 0x1'2007);
    EXPECT_EQ(read(kept, now, 0x4'0000).at(0), std::byte{0x12});
}

TEST_F(CodeReaderTest, SeesAPageThatTheHypervisorLaidOverTheCode)
{
    code({0x11}, 0x4'0000);
    const ExecutionContext now = context();
    EXPECT_EQ(read(kept, now, 0x4'0000).at(0), std::byte{0x11});
    const auto frame = frames.allocate(0, ledger);
    ASSERT_TRUE(frame);
    *static_cast<std::byte*>(platform::to_pointer(frame.value())) = std::byte{0x99};
    ASSERT_TRUE(domain->memory.map().replace(GuestPhysical{0x4'0000}, frame.value(), page_size, access_read_execute));
    EXPECT_EQ(read(kept, now, 0x4'0000).at(0), std::byte{0x99});
    const HostPhysical own = domain->memory.ram_page(GuestPhysical{0x4'0000}).value();
    ASSERT_TRUE(domain->memory.map().replace(GuestPhysical{0x4'0000}, own, page_size, access_all));
    EXPECT_EQ(read(kept, now, 0x4'0000).at(0), std::byte{0x11});
    frames.release(frame.value(), 0, ledger);
}

TEST_F(CodeReaderTest, ForgetsWithPrivilegeAndControlRegisters)
{
    long_mode();
    put<std::uint64_t>(0x1'3000 + 8 * 0x40, 0x4'0003);  // the supervisor's
    ExecutionContext now = context();
    EXPECT_FALSE(read(kept, now, 0x4'0000).empty());
    now.privilege_level = 3;
    EXPECT_TRUE(read(kept, now, 0x4'0000).empty());
    EXPECT_EQ(error, 5u);
    now.privilege_level = 0;
    put<std::uint64_t>(0x1'3000 + 8 * 0x40, 0x4'0007);
    EXPECT_FALSE(read(kept, now, 0x4'0000).empty());
    now.cr4 |= 1 << 20;  // SMEP
    EXPECT_TRUE(read(kept, now, 0x4'0000).empty());
}

TEST_F(CodeReaderTest, KnowsASiteOnlyWhileAllThatLeadsThereIsAsItWas)
{
    long_mode();
    code({0x0f, 0xa2, 0x90, 0x90}, 0x4'0000);
    vcpu().registers.rip = 0x4'0000;
    vcpu().entered_generation.store(domain->memory.map().generation().load());
    const auto first_byte = [&] { return std::to_integer<unsigned>(*kept.known(vcpu())); };
    EXPECT_EQ(first_byte(), 0u) << "nothing is noted yet";
    EXPECT_EQ(read(kept, context(), 0x4'0000).at(0), std::byte{0x0f});
    kept.remember(vcpu(), context());
    EXPECT_EQ(first_byte(), 0x0fu);
    code({0x66, 0x0f, 0xa2}, 0x4'0000);
    EXPECT_EQ(first_byte(), 0x66u) << "the bytes are looked at in place";

    for (const std::uint64_t entry : {0x1'0000ull, 0x1'1000ull, 0x1'2000ull, 0x1'3000ull + 8 * 0x40}) {
        const auto before = get<std::uint64_t>(entry);
        put<std::uint64_t>(entry, before ^ 0x10'0000);
        EXPECT_EQ(first_byte(), 0u) << std::hex << entry;
        put<std::uint64_t>(entry, before ^ 0x60);
        EXPECT_EQ(first_byte(), 0x66u) << "the processor sets accessed and dirty bits: " << std::hex << entry;
        put<std::uint64_t>(entry, before);
        EXPECT_EQ(first_byte(), 0x66u);
    }
    const auto changes = [&](auto& what, auto to) {
        const auto before = what;
        what = to;
        EXPECT_EQ(first_byte(), 0u);
        what = before;
        EXPECT_EQ(first_byte(), 0x66u);
    };
    changes(guest().system.cr3, 0x1'8000ull);
    changes(guest().system.efer, 0ull);
    changes(guest().system.segments[segment_cs].attributes, std::uint16_t{0xc9b});
    changes(vcpu().registers.rip, 0x4'0000ull + 0x1000);
    vcpu().entered_generation.fetch_add(1);
    EXPECT_EQ(first_byte(), 0u) << "a frame may be another's by now";
}

TEST_F(CodeReaderTest, GivesOnlyTheBytesBeforeAPageThatIsNotThere)
{
    long_mode();
    put<std::uint64_t>(0x1'3000 + 8 * 0x41, 0);
    const ExecutionContext now = context();
    EXPECT_EQ(read(kept, now, 0x4'0ffb).size(), 5u);
    EXPECT_EQ(read(kept, now, 0x4'0ff1).size(), 15u);
    EXPECT_TRUE(read(kept, now, 0x4'1000).empty());
    put<std::uint64_t>(0x1'3000 + 8 * 0x41, 0x4'1007);
    EXPECT_EQ(read(kept, now, 0x4'0ffb).size(), 15u);
}

TEST_F(CodeReaderTest, AgreesWithOneThatRemembersNothingWhateverHappensInBetween)
{
    for (const bool wide : {true, false}) {
        std::mt19937_64 random{wide ? 1u : 2u};
        kept = CodeReader{};
        found = 0;
        for (std::uint64_t page = 0x4'0000; page < 0x4'8000; page += 8)
            put<std::uint64_t>(page, random());
        if (wide) {
            long_mode();
        } else {
            flat(code_32);
            guest().system.cr0 = 0x8001'0001;
            guest().system.cr3 = 0x1'0000;
            put<std::uint32_t>(0x1'0000, 0x1'3007);
            for (std::uint32_t page = 0; page < 512; ++page)
                put<std::uint32_t>(0x1'3000 + 4 * page, page << 12 | 7);
        }
        const unsigned entry_bytes = wide ? 8 : 4;
        ExecutionContext now = context();
        for (unsigned step = 0; step < 20'000; ++step) {
            const std::uint64_t entry = 0x1'3000 + entry_bytes * (0x40 + random() % 8);
            switch (random() % 8) {
            case 0: put<std::uint8_t>(entry + 1, static_cast<std::uint8_t>(random() % 8 << 4)); break;
            case 1: put<std::uint8_t>(entry, static_cast<std::uint8_t>(random() % 8)); break;
            case 2: put<std::uint8_t>(entry, static_cast<std::uint8_t>(7 | (random() & 0x60))); break;
            case 3: now.privilege_level = random() % 2 == 0 ? 0 : 3; break;
            case 4: put<std::uint8_t>(0x4'0000 + random() % 0x8000, static_cast<std::uint8_t>(random())); break;
            default: break;  // nothing happens: what is remembered is used
            }
            const std::uint64_t page = 0x4'0000 + random() % 8 * page_size;
            ASSERT_NO_FATAL_FAILURE(expect_same(now, page + (random() % 2 == 0 ? 0xff0 + random() % 16 : random() % 64), step));
        }
        EXPECT_GT(found, 5'000u);
    }
}
