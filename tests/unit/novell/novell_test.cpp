// SPDX-License-Identifier: MIT
//
// novell.hvx, loaded and asked what a guest would ask, of every leaf, MSR and call.
#include <gtest/gtest.h>

#include "module_under_test.hpp"
#include "novell_defs.hpp"

namespace hv::test {
namespace {

using namespace novell;

constexpr std::uint64_t ram_bytes{0x10'0000};
constexpr std::uint64_t page_address{0x5000};
constexpr std::uint64_t input_address{0x8000};
constexpr std::uint64_t guest_identity{0x8100'0000'0001'0000};

class NovellModule : public ::testing::Test {
protected:
    NovellModule()
    {
        host_.add_ram(0, ram_bytes);
        host_.vcpu_count = 2;
        EXPECT_TRUE(module_.create());
        base_ = module_.cpuid(block + leaf_version).ebx;
    }
    void enable()
    {
        ASSERT_TRUE(module_.write_msr(base_ + msr_guest_id, guest_identity));
        ASSERT_TRUE(module_.write_msr(base_ + msr_hypercall, page_address | hypercall_enable));
    }
    abi::HypercallFrame frame_of(std::uint64_t control, std::uint64_t input)
    {
        abi::HypercallFrame frame{};
        frame.mode = abi::GuestMode::long_64;
        frame.general[0] = call_tag;
        frame.general[1] = control;
        frame.general[2] = input;
        return frame;
    }
    std::uint64_t call(std::uint64_t control, std::uint64_t input, std::uint32_t vcpu = 0)
    {
        auto frame = frame_of(control, input);
        EXPECT_EQ(module_.hypercall(frame, vcpu).kind, abi::VerdictKind::done);
        return frame.general[0];
    }
    void put(std::initializer_list<std::uint64_t> words)
    {
        std::uint64_t at{input_address};
        for (std::uint64_t word : words) {
            ASSERT_TRUE(host_.copy(at, &word, sizeof word, true));
            at += sizeof word;
        }
    }

    static constexpr std::uint32_t block{0x4000'0000};
    FakeHost host_;
    ModuleUnderTest module_{host_, NOVELL_HVX, 2};
    std::uint32_t base_{};
};

TEST_F(NovellModule, SaysInItsLeavesWhatItIsAndWhereItsMsrsAre)
{
    const auto signature = module_.cpuid(block);
    EXPECT_EQ(signature.eax, block + leaf_last);
    EXPECT_EQ(signature.ebx, abi::table_magic('N', 'o', 'v', 'e'));
    EXPECT_EQ(signature.ecx, abi::table_magic('l', 'l', 'X', 'e'));
    EXPECT_EQ(signature.edx, abi::table_magic('n', 'E', 'x', 't'));
    EXPECT_EQ(module_.cpuid(block + leaf_version).ebx, module_.grant(2).base);
    EXPECT_EQ(module_.cpuid(block + leaf_version).ecx, msr_count);
    EXPECT_EQ(module_.cpuid(block + leaf_features).eax, 0x70u);
}

TEST_F(NovellModule, NumbersVirtualProcessorsAndRefusesToHaveTheNumberWritten)
{
    EXPECT_EQ(module_.read_msr(base_ + msr_vp_index, 0), 0u);
    EXPECT_EQ(module_.read_msr(base_ + msr_vp_index, 1), 1u);
    EXPECT_FALSE(module_.write_msr(base_ + msr_vp_index, 0));
}

TEST_F(NovellModule, EndsInterruptsByAnMsrThatCannotBeRead)
{
    EXPECT_TRUE(module_.write_msr(base_ + msr_eoi, 0));
    EXPECT_EQ(host_.apic[FakeHost::vcpu_handle(0)].count(0xb0), 1u);
    EXPECT_EQ(module_.read_msr(base_ + msr_eoi), std::nullopt);
    EXPECT_FALSE(module_.write_msr(base_ + msr_tpr, 0x100));
    EXPECT_TRUE(module_.write_msr(base_ + msr_tpr, 0x40));
}

TEST_F(NovellModule, RefusesMsrsThatItDoesNotHave)
{
    EXPECT_EQ(module_.read_msr(base_ + 3), std::nullopt);
    EXPECT_FALSE(module_.write_msr(base_ + 0x6f, 0));
}

TEST_F(NovellModule, PlacesTheHypercallPageOnlyUnderAGuestId)
{
    EXPECT_TRUE(module_.write_msr(base_ + msr_hypercall, page_address | hypercall_enable));
    EXPECT_EQ(module_.read_msr(base_ + msr_hypercall), page_address);
    EXPECT_TRUE(host_.hypercall_pages_placed.empty());
    enable();
    ASSERT_EQ(host_.hypercall_pages_placed.count(0), 1u);
    EXPECT_EQ(host_.hypercall_pages_placed[0].gpa, page_address);
    EXPECT_EQ(host_.hypercall_pages_placed[0].how, abi::hypercall_page_overlay);
    EXPECT_EQ(module_.read_msr(base_ + msr_hypercall), page_address | hypercall_enable);
}

TEST_F(NovellModule, TakesTheHypercallPageAwayWithTheGuestIdOrTheEnableBit)
{
    enable();
    EXPECT_TRUE(module_.write_msr(base_ + msr_guest_id, 0));
    EXPECT_TRUE(host_.hypercall_pages_placed.empty());
    EXPECT_EQ(module_.read_msr(base_ + msr_hypercall), page_address);
    enable();
    EXPECT_TRUE(module_.write_msr(base_ + msr_hypercall, page_address));
    EXPECT_TRUE(host_.hypercall_pages_placed.empty());
}

TEST_F(NovellModule, KeepsALockedHypercallPageWhereItIs)
{
    ASSERT_TRUE(module_.write_msr(base_ + msr_guest_id, guest_identity));
    ASSERT_TRUE(module_.write_msr(base_ + msr_hypercall, page_address | hypercall_locked | hypercall_enable));
    EXPECT_TRUE(module_.write_msr(base_ + msr_hypercall, 0x9000 | hypercall_enable));
    EXPECT_EQ(host_.hypercall_pages_placed[0].gpa, page_address);
    EXPECT_EQ(module_.read_msr(base_ + msr_hypercall), page_address | hypercall_locked | hypercall_enable);
}

TEST_F(NovellModule, RefusesReservedBitsOfTheHypercallMsrAndChangesNothing)
{
    enable();
    EXPECT_FALSE(module_.write_msr(base_ + msr_hypercall, page_address | 4));
    EXPECT_FALSE(module_.write_msr(base_ + msr_hypercall, 1ull << 52));
    EXPECT_EQ(module_.read_msr(base_ + msr_hypercall), page_address | hypercall_enable);
}

TEST_F(NovellModule, TagsItsCallsInThePage)
{
    const auto& page = host_.hypercall_pages[0];
    const std::array<std::uint8_t, 12> expected{0x0f, 0xba, 0xf0, 31,   0x0f, 0xba,
                                                0xe8, 30,   0x0f, 0x01, 0xd9, 0xc3};
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), page.begin()));
}

TEST_F(NovellModule, LeavesACallWithoutThePageToOthersAndSwitchesNothing)
{
    auto frame = frame_of(call_switch_address_space | control_fast, 0x7000);
    EXPECT_NE(module_.hypercall(frame).kind, abi::VerdictKind::done);
    EXPECT_EQ(frame.general[0], call_tag);
    EXPECT_EQ(host_.registers.cr3, 0u);
}

TEST_F(NovellModule, LeavesCallsOfOthersAndOfUserCodeAlone)
{
    enable();
    for (const std::uint64_t rax : {0ull, 0x8000'0000ull, 0xc000'0000ull}) {
        auto frame = frame_of(call_switch_address_space | control_fast, 0x7000);
        frame.general[0] = rax;
        EXPECT_EQ(module_.hypercall(frame).kind, abi::VerdictKind::inject);
    }
    auto frame = frame_of(call_switch_address_space | control_fast, 0x7000);
    frame.cpl = 3;
    EXPECT_EQ(module_.hypercall(frame).kind, abi::VerdictKind::inject);
    EXPECT_EQ(host_.registers.cr3, 0u);
}

TEST_F(NovellModule, SwitchesTheAddressSpaceFastAndFromMemoryAndFlushesThatVcpuAlone)
{
    enable();
    EXPECT_EQ(call(call_switch_address_space | control_fast, 0x7000, 1), status_success);
    EXPECT_EQ(host_.registers.cr3, 0x7000u);
    ASSERT_EQ(host_.flushes.size(), 1u);
    EXPECT_EQ(host_.flushes[0].vcpus, 2u);
    EXPECT_EQ(host_.flushes[0].how, abi::flush_non_global);
    put({0xb000});
    EXPECT_EQ(call(call_switch_address_space, input_address), status_success);
    EXPECT_EQ(host_.registers.cr3, 0xb000u);
}

TEST_F(NovellModule, RefusesAnAddressSpaceThatIsNoAddress)
{
    enable();
    EXPECT_EQ(call(call_switch_address_space | control_fast, 1ull << 52), status_invalid_parameter);
    EXPECT_EQ(call(call_switch_address_space | control_fast, 1ull << 63), status_invalid_parameter);
    EXPECT_EQ(host_.registers.cr3, 0u);
    EXPECT_TRUE(host_.flushes.empty());
}

TEST_F(NovellModule, FlushesTheProcessorsNamedOrAll)
{
    enable();
    put({0x7000, flush_all_address_spaces, 0b10});
    EXPECT_EQ(call(call_flush_address_space, input_address), status_success);
    put({0x7000, flush_all_processors | flush_non_global_only, 0});
    EXPECT_EQ(call(call_flush_address_space, input_address), status_success);
    ASSERT_EQ(host_.flushes.size(), 2u);
    EXPECT_EQ(host_.flushes[0].vcpus, 2u);
    EXPECT_EQ(host_.flushes[0].how, abi::flush_all);
    EXPECT_EQ(host_.flushes[1].vcpus, std::nullopt);
    EXPECT_EQ(host_.flushes[1].how, abi::flush_non_global);
}

TEST_F(NovellModule, ReportsEveryRepOfAListAsCompleted)
{
    enable();
    put({0, flush_all_processors, 0, 0x1000, 0x2000, 0x3000});
    const std::uint64_t three{3ull << control_count_shift};
    EXPECT_EQ(call(call_flush_address_list | three, input_address), three | status_success);
    EXPECT_EQ(host_.flushes.size(), 1u);
    const std::uint64_t start{3ull << control_start_shift};
    EXPECT_EQ(call(call_flush_address_list | three | start, input_address), status_invalid_input);
    EXPECT_EQ(call(call_flush_address_list, input_address), status_invalid_input);
    EXPECT_EQ(host_.flushes.size(), 1u);
}

TEST_F(NovellModule, RefusesWhatIsWrongWithACallAndFlushesNothing)
{
    enable();
    put({0, 8, 1});
    EXPECT_EQ(call(call_flush_address_space, input_address), status_invalid_parameter);
    EXPECT_EQ(call(call_flush_address_space, input_address + 4), status_invalid_alignment);
    EXPECT_EQ(call(call_flush_address_space, input_address + 4096 - 16), status_invalid_alignment);
    EXPECT_EQ(call(call_flush_address_space, ram_bytes), status_invalid_parameter);
    EXPECT_EQ(call(call_flush_address_space | control_fast, 0), status_invalid_input);
    EXPECT_EQ(call(call_flush_address_space | 1ull << control_count_shift, input_address),
              status_invalid_input);
    EXPECT_EQ(call(call_flush_address_space | 1ull << 20, input_address), status_invalid_input);
    EXPECT_EQ(call(0, 0), status_invalid_code);
    EXPECT_EQ(call(4, 0), status_invalid_code);
    EXPECT_TRUE(host_.flushes.empty());
}

TEST_F(NovellModule, TakesA32BitCallsWordsFromPairsOfRegisters)
{
    enable();
    abi::HypercallFrame frame{};
    frame.mode = abi::GuestMode::protected_32;
    frame.general[0] = call_tag | control_fast | call_switch_address_space;  // EAX
    frame.general[1] = 0x7000;                                               // ECX
    EXPECT_EQ(module_.hypercall(frame).kind, abi::VerdictKind::done);
    EXPECT_EQ(frame.general[0], status_success);
    EXPECT_EQ(frame.general[2], 0u);
    EXPECT_EQ(host_.registers.cr3, 0x7000u);
    frame.general[0] = call_tag | call_flush_address_list;
    frame.general[2] = 2;  // EDX: two reps
    frame.general[3] = 0;
    frame.general[1] = input_address;
    put({0, flush_all_processors, 0, 0, 0});
    EXPECT_EQ(module_.hypercall(frame).kind, abi::VerdictKind::done);
    EXPECT_EQ(frame.general[0], status_success);
    EXPECT_EQ(frame.general[2], 2u);
}

}  // namespace
}  // namespace hv::test
