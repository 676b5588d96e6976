// SPDX-License-Identifier: MIT
//
// The one-call emulation: its short cut does what the long way does, and a failure on the way changes
// nothing.
#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

#include "hv/core/emulate/mmio_access.hpp"

using namespace hv;
using namespace hv::core;
using namespace hv::core::emulate;

namespace {

/// Remembers the accesses; reads a fixed value; fails if told so.
struct RecordingPort {
    struct Access {
        bool is_write;
        std::uint64_t address;
        unsigned size;
        std::uint64_t value;
        friend bool operator==(const Access&, const Access&) = default;
    };

    Expected<std::uint64_t> read(GuestLinear address, unsigned size)
    {
        if (fails_to_read)
            return Error::not_found;
        accesses.push_back({false, address.raw(), size, 0});
        return 0xfedc'ba98'7654'3210ull;
    }
    Status write(GuestLinear address, unsigned size, std::uint64_t value)
    {
        if (fails_to_write)
            return Error::permission_denied;
        accesses.push_back({true, address.raw(), size, value});
        return Done{};
    }

    std::vector<Access> accesses{};
    bool fails_to_read{};
    bool fails_to_write{};
};

bool same(const Registers& a, const Registers& b)
{
    return std::memcmp(&a, &b, sizeof a) == 0;
}

Registers random_registers(std::mt19937_64& generator)
{
    Registers registers{};
    for (std::uint64_t& value : registers.general)
        value = generator();
    registers.rip = generator();
    registers.rflags = generator();
    return registers;
}

}  // namespace

TEST(EmulateAccess, ShortCutDoesWhatTheLongWayDoes)
{
    std::mt19937_64 generator{17};
    constexpr std::array<std::uint8_t, 3> opcodes{0x89, 0x8b, 0xc7};
    const Segments segments{};
    unsigned shortened{};
    for (unsigned i = 0; i < 300'000; ++i) {
        std::array<std::uint64_t, 2> words{generator(), generator()};
        std::array<std::byte, 16> bytes;
        std::memcpy(bytes.data(), words.data(), bytes.size());
        const std::uint64_t choice{generator()};
        std::size_t at{};
        if ((choice & 1) != 0)
            bytes[at++] = static_cast<std::byte>(0x40 | (choice >> 8 & 15));
        bytes[at++] = static_cast<std::byte>(opcodes[(choice >> 16) % 3]);
        if ((choice & 6) == 0)
            bytes[at] = static_cast<std::byte>(0x04 | (choice >> 32 & 0xf8));  // a SIB byte
        Registers registers{random_registers(generator)};
        PlainMove move{};
        const std::span<const std::byte> shown{std::span{bytes}.first(15)};
        shortened += find_plain_move(shown, registers, move) ? 1 : 0;
        Registers by_plan{registers};
        RecordingPort port{};
        RecordingPort port_of_plan{};
        const Status status{emulate_access(shown, Mode::bits64, registers, segments, port)};
        const Status status_of_plan{
            emulate_access_by_plan(shown, Mode::bits64, by_plan, segments, port_of_plan)};
        ASSERT_EQ(status.has_value(), status_of_plan.has_value()) << i;
        ASSERT_TRUE(same(registers, by_plan)) << i;
        ASSERT_EQ(port.accesses, port_of_plan.accesses) << i;
    }
    EXPECT_GT(shortened, 100'000u);
}

TEST(EmulateAccess, LeavesShortBytesToTheLongWay)
{
    const std::array bytes{std::byte{0x8b}, std::byte{0x00}};
    std::mt19937_64 generator{1};
    Registers registers{random_registers(generator)};
    const std::uint64_t rip{registers.rip};
    RecordingPort port{};
    EXPECT_TRUE(emulate_access(std::span{bytes}, Mode::bits64, registers, Segments{}, port).has_value());
    EXPECT_EQ(registers.rip, rip + 2);
    EXPECT_EQ(registers.general[rax], 0x7654'3210u);
    EXPECT_EQ(emulate_access(std::span{bytes}.first(1), Mode::bits64, registers, Segments{}, port).error(),
              truncated);
}

TEST(EmulateAccess, ChangesNothingWhenThePortFails)
{
    std::mt19937_64 generator{2};
    const std::vector<std::vector<std::uint8_t>> instructions{
        {0x8b, 0x00}, {0x89, 0x00},       {0xf3, 0xa5},      {0x87, 0x08},
        {0xff, 0x30}, {0x0f, 0xc1, 0x08}, {0x0f, 0xb1, 0x08}};
    for (const auto& instruction : instructions)
        for (const bool read_fails : {false, true}) {
            std::array<std::byte, 15> bytes{};
            for (std::size_t i = 0; i < instruction.size(); ++i)
                bytes[i] = static_cast<std::byte>(instruction[i]);
            const Registers before{random_registers(generator)};
            Registers registers{before};
            RecordingPort port{};
            port.fails_to_read = read_fails;
            port.fails_to_write = !read_fails;
            const Status status{emulate_access(bytes, Mode::bits64, registers, Segments{}, port)};
            if (!status) {
                EXPECT_TRUE(same(before, registers));
            } else {
                EXPECT_EQ(instruction[0] == 0x8b, !read_fails);
            }
        }
}

TEST(EmulateAccess, TakesARepeatedInstructionOneIterationAtATime)
{
    std::array<std::byte, 15> bytes{std::byte{0xf3}, std::byte{0xab}};
    Registers registers{};
    registers.general[rax] = 0x1122'3344;
    registers.general[rcx] = 3;
    registers.general[rdi] = 0x1000;
    registers.rip = 0x40;
    RecordingPort port{};
    for (unsigned iteration = 1; iteration <= 3; ++iteration) {
        EXPECT_EQ(registers.rip, 0x40u);
        ASSERT_TRUE(emulate_access(bytes, Mode::bits64, registers, Segments{}, port).has_value());
        EXPECT_EQ(registers.general[rcx], 3 - iteration);
    }
    EXPECT_EQ(registers.rip, 0x42u);
    EXPECT_EQ(registers.general[rdi], 0x100cu);
    ASSERT_EQ(port.accesses.size(), 3u);
    EXPECT_EQ(port.accesses[2], (RecordingPort::Access{true, 0x1008, 4, 0x1122'3344}));
}
