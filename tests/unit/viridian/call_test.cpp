// SPDX-License-Identifier: MIT
#include "call.hpp"

#include <gtest/gtest.h>

namespace hv::viridian::test {
namespace {

using R = abi::GeneralRegister;
using tlfs::HvStatus;

constexpr CallForm simple{2, 24, 0};
constexpr CallForm rep{3, 24, 8};

abi::HypercallFrame frame_of(abi::GuestMode mode)
{
    abi::HypercallFrame frame{};
    frame.mode = mode;
    for (std::uint32_t index = 0; index < 16; ++index)
        frame.general[index] = 0x1111'1111ull * (index + 1);
    return frame;
}

TEST(ViridianCall, IsInThreeRegistersOfA64BitCaller)
{
    const auto frame = frame_of(abi::GuestMode::long_64);
    EXPECT_EQ(call_of(frame), (Call{frame.general[1], frame.general[2], frame.general[8]}));
}

TEST(ViridianCall, IsInThreePairsOfA32BitCaller)
{
    auto frame = frame_of(abi::GuestMode::protected_32);
    ext::reg(frame, R::rax) = 0x8001'0002;  // with the page's mark
    ext::reg(frame, R::rdx) = 0x0000'0005;
    ext::reg(frame, R::rbx) = 0x0000'0007;
    ext::reg(frame, R::rcx) = 0x1234'5678;
    ext::reg(frame, R::rdi) = 0x0000'0009;
    ext::reg(frame, R::rsi) = 0x8765'4321;
    const Call call{call_of(frame)};
    EXPECT_EQ(call, (Call{0x0000'0005'0001'0002, 0x7'1234'5678, 0x9'8765'4321}));
    EXPECT_TRUE(call.fast());
    EXPECT_EQ(call.code(), 2u);
    EXPECT_EQ(call.rep_count(), 5u);
}

TEST(ViridianCall, PutsItsResultIntoRaxAndTheStartIndexIntoRcx)
{
    auto frame = frame_of(abi::GuestMode::long_64);
    const auto before = frame;
    const Call call{0x0000'0005'0000'0003, 0, 0};
    put_result(frame, call, {HvStatus::HV_STATUS_SUCCESS, 5});
    EXPECT_EQ(ext::reg(frame, R::rax), 0x0000'0005'0000'0000u);
    EXPECT_EQ(ext::reg(frame, R::rcx), 0x0005'0005'0000'0003u);
    for (const R untouched : {R::rdx, R::rbx, R::rsi, R::rdi, R::r8, R::r9, R::r15})
        EXPECT_EQ(ext::reg(frame, untouched), ext::reg(before, untouched));
}

TEST(ViridianCall, PutsTheResultOfA32BitCallerIntoEdxEax)
{
    auto frame = frame_of(abi::GuestMode::protected_32);
    const auto before = frame;
    put_result(frame, {0x0000'0005'0000'0003, 0, 0}, {HvStatus::HV_STATUS_ACCESS_DENIED, 5});
    EXPECT_EQ(ext::reg(frame, R::rax), 6u);
    EXPECT_EQ(ext::reg(frame, R::rdx), 5u);
    EXPECT_EQ(ext::reg(frame, R::rcx), ext::reg(before, R::rcx));
}

TEST(ViridianCallForm, RefusesEveryReservedBitAndEveryHeaderSize)
{
    const Call good{std::uint64_t{1} << 32 | 3, 0, 0};
    ASSERT_TRUE(rep.allows(good));
    for (unsigned bit = 17; bit < 64; ++bit) {
        if ((bit >= 32 && bit < 44) || (bit >= 48 && bit < 60))
            continue;  // rep count and start index
        EXPECT_FALSE(rep.allows({good.control | std::uint64_t{1} << bit, 0, 0})) << bit;
        EXPECT_FALSE(simple.allows({2 | std::uint64_t{1} << bit, 0, 0})) << bit;
    }
}

TEST(ViridianCallForm, OfARepCallNeedsACountAboveTheStartIndex)
{
    const auto control = [](std::uint64_t count, std::uint64_t start) {
        return Call{3 | count << 32 | start << 48, 0, 0};
    };
    EXPECT_FALSE(rep.allows(control(0, 0)));
    EXPECT_TRUE(rep.allows(control(1, 0)));
    EXPECT_FALSE(rep.allows(control(1, 1)));
    EXPECT_TRUE(rep.allows(control(4095, 4094)));
    EXPECT_FALSE(rep.allows(control(4094, 4095)));
}

TEST(ViridianCallForm, OfASimpleCallHasNoReps)
{
    EXPECT_TRUE(simple.allows({2, 0, 0}));
    EXPECT_FALSE(simple.allows({2 | std::uint64_t{1} << 32, 0, 0}));
    EXPECT_FALSE(simple.allows({2 | std::uint64_t{1} << 48, 0, 0}));
}

TEST(ViridianCallForm, WantsItsInputAlignedAndInOnePage)
{
    EXPECT_TRUE(is_placed_well(0x1000, 4096));
    EXPECT_FALSE(is_placed_well(0x1008, 4096));
    EXPECT_TRUE(is_placed_well(0x1fe8, 24));
    EXPECT_FALSE(is_placed_well(0x1ff0, 24));
    for (unsigned offset = 1; offset < 8; ++offset)
        EXPECT_FALSE(is_placed_well(0x1000 + offset, 8));
    EXPECT_EQ(rep.input_bytes({3 | std::uint64_t{509} << 32, 0, 0}), 4096u);
}

}  // namespace
}  // namespace hv::viridian::test
