// SPDX-License-Identifier: MIT
//
// Lengths of intercepted instructions: the short cut and the long way agree, prefixes count, and bytes that
// became another instruction are noticed.
#include <array>
#include <gtest/gtest.h>
#include <random>
#include <vector>

#include "hv/core/emulate/intercepted.hpp"

using namespace hv;
using namespace hv::core::emulate;

namespace {

constexpr std::array modes{Mode::bits16, Mode::bits32, Mode::bits64};

struct Sample {
    Intercepted which;
    std::vector<std::uint8_t> bytes;
};

const std::vector<Sample>& samples()
{
    using I = Intercepted;
    static const std::vector<Sample> all{
        {I::cpuid, {0x0f, 0xa2}},
        {I::rdmsr, {0x0f, 0x32}},
        {I::wrmsr, {0x0f, 0x30}},
        {I::hlt, {0xf4}},
        {I::vmmcall, {0x0f, 0x01, 0xd9}},
        {I::rdtsc, {0x0f, 0x31}},
        {I::rdtscp, {0x0f, 0x01, 0xf9}},
        {I::rdpmc, {0x0f, 0x33}},
        {I::invlpg, {0x0f, 0x01, 0x38}},
        {I::invd, {0x0f, 0x08}},
        {I::wbinvd, {0x0f, 0x09}},
        {I::xsetbv, {0x0f, 0x01, 0xd1}},
        {I::read_cr, {0x0f, 0x20, 0xc3}},
        {I::write_cr, {0x0f, 0x22, 0xd8}},
        {I::read_dr, {0x0f, 0x21, 0xf8}},
        {I::write_dr, {0x0f, 0x23, 0xf8}},
        {I::clts, {0x0f, 0x06}},
        {I::lmsw, {0x0f, 0x01, 0xf0}},
        {I::smsw, {0x0f, 0x01, 0xe3}},
        {I::pause, {0xf3, 0x90}},
        {I::monitor, {0x0f, 0x01, 0xc8}},
        {I::mwait, {0x0f, 0x01, 0xc9}},
        {I::monitorx, {0x0f, 0x01, 0xfa}},
        {I::mwaitx, {0x0f, 0x01, 0xfb}},
        {I::rdpru, {0x0f, 0x01, 0xfd}},
        {I::invlpga, {0x0f, 0x01, 0xdf}},
        {I::invlpgb, {0x0f, 0x01, 0xfe}},
        {I::tlbsync, {0x0f, 0x01, 0xff}},
        {I::invpcid, {0x66, 0x0f, 0x38, 0x82, 0x08}},
        {I::vmrun, {0x0f, 0x01, 0xd8}},
        {I::vmload, {0x0f, 0x01, 0xda}},
        {I::vmsave, {0x0f, 0x01, 0xdb}},
        {I::stgi, {0x0f, 0x01, 0xdc}},
        {I::clgi, {0x0f, 0x01, 0xdd}},
        {I::skinit, {0x0f, 0x01, 0xde}},
        {I::sgdt, {0x0f, 0x01, 0x00}},
        {I::sidt, {0x0f, 0x01, 0x08}},
        {I::lgdt, {0x0f, 0x01, 0x10}},
        {I::lidt, {0x0f, 0x01, 0x18}},
        {I::sldt, {0x0f, 0x00, 0xc0}},
        {I::str, {0x0f, 0x00, 0xc8}},
        {I::lldt, {0x0f, 0x00, 0xd0}},
        {I::ltr, {0x0f, 0x00, 0xd8}},
        {I::pushf, {0x9c}},
        {I::popf, {0x9d}},
        {I::iret, {0xcf}},
        {I::rsm, {0x0f, 0xaa}},
        {I::int_n, {0xcd, 0x80}},
        {I::int3, {0xcc}},
        {I::into, {0xce}},
        {I::icebp, {0xf1}},
        {I::in, {0xe4, 0x60}},
        {I::out, {0xee}},
        {I::ins, {0x6c}},
        {I::outs, {0x6f}},
    };
    return all;
}

/// The sample with prefixes before it and other code behind it.
std::vector<std::byte> placed(const Sample& sample, std::initializer_list<unsigned> prefixes,
                              std::size_t size = 15)
{
    std::vector<std::byte> bytes;
    for (const unsigned byte : prefixes)
        bytes.push_back(static_cast<std::byte>(byte));
    for (const std::uint8_t byte : sample.bytes)
        bytes.push_back(static_cast<std::byte>(byte));
    bytes.resize(std::max(bytes.size(), size), std::byte{0x90});
    return bytes;
}

bool exists_in(const Sample& sample, Mode mode)
{
    return sample.which != Intercepted::into || mode != Mode::bits64;
}

}  // namespace

TEST(InstructionLength, IsRightForEveryInterceptedInstruction)
{
    EXPECT_EQ(samples().size(), static_cast<std::size_t>(Intercepted::end));
    for (const Mode mode : modes)
        for (const Sample& sample : samples()) {
            if (!exists_in(sample, mode))
                continue;
            const auto length = instruction_length(sample.which, placed(sample, {}), mode);
            ASSERT_TRUE(length.has_value()) << static_cast<int>(sample.which);
            EXPECT_EQ(length.value(), sample.bytes.size());
            const auto at_the_end = instruction_length(sample.which, placed(sample, {}, 0), mode);
            ASSERT_TRUE(at_the_end.has_value());
            EXPECT_EQ(at_the_end.value(), sample.bytes.size());
        }
}

TEST(InstructionLength, CountsPrefixes)
{
    for (const Sample& sample : samples()) {
        const auto length = instruction_length(sample.which, placed(sample, {0x2e, 0x67}), Mode::bits64);
        if (exists_in(sample, Mode::bits64)) {
            EXPECT_EQ(length.value(), sample.bytes.size() + 2);
        }
    }
    const Sample cpuid{Intercepted::cpuid, {0x0f, 0xa2}};
    EXPECT_EQ(instruction_length(Intercepted::cpuid, placed(cpuid, {0xf3, 0x66, 0x48}), Mode::bits64).value(),
              5u);
    EXPECT_EQ(instruction_length(Intercepted::cpuid, placed(cpuid, {0xf0}), Mode::bits64).error(),
              undefined_opcode);
}

TEST(InstructionLength, NoticesAnotherInstruction)
{
    for (const Sample& expected : samples())
        for (const Sample& found : samples())
            if (expected.which != found.which && exists_in(found, Mode::bits64)) {
                EXPECT_EQ(instruction_length(expected.which, placed(found, {}), Mode::bits64).error(),
                          Error::conflict)
                    << static_cast<int>(expected.which) << " " << static_cast<int>(found.which);
            }
    const Sample nop{Intercepted::pause, {0x90}};
    EXPECT_EQ(instruction_length(Intercepted::pause, placed(nop, {}), Mode::bits64).error(), Error::conflict);
    EXPECT_EQ(instruction_length(Intercepted::pause, placed(nop, {0xf3, 0x41}), Mode::bits64).error(),
              Error::conflict);
    const Sample invlpg{Intercepted::invlpg, {0x0f, 0x01, 0x3c, 0x25, 1, 2, 3, 4}};
    EXPECT_EQ(instruction_length(Intercepted::invlpg, placed(invlpg, {}), Mode::bits64).value(), 8u);
}

TEST(InstructionLength, SaysThatMoreBytesAreNeeded)
{
    for (const Sample& sample : samples())
        for (std::size_t shown = 0; shown < sample.bytes.size(); ++shown) {
            const auto bytes = placed(sample, {});
            EXPECT_EQ(instruction_length(sample.which, std::span{bytes}.first(shown), Mode::bits32).error(),
                      truncated);
        }
}

TEST(InstructionLength, TakesNoShortCutThatTheDecoderWouldNotTake)
{
    std::mt19937_64 generator{11};
    for (const Mode mode : modes)
        for (unsigned i = 0; i < 300'000; ++i) {
            const auto which =
                static_cast<Intercepted>(generator() % static_cast<unsigned>(Intercepted::end));
            const auto& usual = usual_encodings[static_cast<unsigned>(which)];
            std::array<std::uint64_t, 2> words{generator(), generator()};
            words[0] = (words[0] & ~std::uint64_t{usual.mask}) | usual.bytes;
            const std::span<const std::byte> bytes{std::as_bytes(std::span{words}).first(15)};
            const auto slow = decode_intercepted(which, bytes, mode);
            const auto fast = instruction_length(which, bytes, mode);
            if (slow) {
                ASSERT_EQ(fast.value(), slow.value().length);
            } else if (fast) {  // a CR that does not exist: MOV has faulted before it was intercepted
                ASSERT_TRUE(which == Intercepted::read_cr || which == Intercepted::write_cr);
            }
        }
}
