// SPDX-License-Identifier: MIT
#include "guest.hpp"

namespace hv::viridian::test {
namespace {

using tlfs::HvStatus;

constexpr std::uint64_t fast{1 << 16};
constexpr std::uint64_t input_page{0x8000};
constexpr std::uint64_t reps(std::uint64_t count, std::uint64_t from = 0)
{
    return count << 32 | from << 48;
}

struct FlushInput {
    std::uint64_t address_space;
    std::uint64_t flags;
    std::uint64_t mask;
};

class ViridianHypercall : public testing::Test {
protected:
    void SetUp() override
    {
        ASSERT_TRUE(guest.create());
        guest.enable_hypercalls();
        guest.put(input_page, FlushInput{0x1000, 0, 0b101});
    }
    void expect_nothing_done()
    {
        EXPECT_TRUE(guest.host.flushes.empty());
        EXPECT_TRUE(guest.host.injected.empty());
        EXPECT_TRUE(guest.host.yielded.empty());
    }

    Guest guest{4};
};

TEST_F(ViridianHypercall, ThatNobodyKnowsIsAnInvalidCode)
{
    for (const std::uint64_t code : {0x0000, 0x0001, 0x0004, 0x0012, 0x0016, 0x0046, 0x005b, 0x005e, 0x8000, 0x8002, 0xffff})
        EXPECT_EQ(guest.call(code), status(HvStatus::HV_STATUS_INVALID_HYPERCALL_CODE)) << code;
    expect_nothing_done();
}

TEST_F(ViridianHypercall, IsNotTakenFromUserModeRealModeOrWithoutTheMark)
{
    abi::HypercallFrame frame{};
    frame.mode = abi::GuestMode::long_64;
    ext::reg(frame, Register::rcx) = tlfs::HvCallNotifyLongSpinWait | fast;
    EXPECT_EQ(guest.module.hypercall(frame).kind, abi::VerdictKind::inject);
    ext::reg(frame, Register::rax) = page_mark;
    frame.cpl = 3;
    EXPECT_EQ(guest.module.hypercall(frame).kind, abi::VerdictKind::inject);
    frame.cpl = 0;
    for (const auto mode : {abi::GuestMode::real, abi::GuestMode::protected_16}) {
        frame.mode = mode;
        EXPECT_EQ(guest.module.hypercall(frame).kind, abi::VerdictKind::inject);
    }
    expect_nothing_done();
}

TEST_F(ViridianHypercall, WithABadInputValueDoesNothing)
{
    const std::uint64_t flush{tlfs::HvCallFlushVirtualAddressSpace};
    const std::uint64_t list{tlfs::HvCallFlushVirtualAddressList};
    for (const std::uint64_t control : std::initializer_list<std::uint64_t>{
             flush | 1ull << 17, flush | 1ull << 27, flush | 1ull << 31, flush | 1ull << 44,
             flush | 1ull << 60, flush | 1ull << 63, flush | reps(1), flush | reps(0, 1), list,
             list | reps(1, 1), list | reps(2, 3)})
        EXPECT_EQ(guest.call(control, input_page).value() & 0xffff,
                  status(HvStatus::HV_STATUS_INVALID_HYPERCALL_INPUT))
            << std::hex << control;
    expect_nothing_done();
}

TEST_F(ViridianHypercall, WithInputThatIsUnalignedCrossesAPageOrIsNowhereDoesNothing)
{
    const std::uint64_t list{tlfs::HvCallFlushVirtualAddressList};
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressSpace, input_page + 4),
              status(HvStatus::HV_STATUS_INVALID_ALIGNMENT));
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressSpace, 0x8ff0),
              status(HvStatus::HV_STATUS_INVALID_ALIGNMENT));
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressSpace, ram_bytes),
              status(HvStatus::HV_STATUS_INVALID_ALIGNMENT));
    EXPECT_EQ(guest.call(list | reps(510), input_page), status(HvStatus::HV_STATUS_INVALID_ALIGNMENT));
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressSpace, ~7ull),
              status(HvStatus::HV_STATUS_INVALID_ALIGNMENT));
    expect_nothing_done();
}

TEST_F(ViridianHypercall, FlushesTheVcpusOfTheMask)
{
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressSpace, input_page), 0u);
    ASSERT_EQ(guest.host.flushes.size(), 1u);
    EXPECT_EQ(guest.host.flushes[0].vcpus, 0b101u);
    EXPECT_EQ(guest.host.flushes[0].how, abi::flush_all);
}

TEST_F(ViridianHypercall, FlushesAllVcpusWhateverTheMask)
{
    guest.put(input_page, FlushInput{0, 0b111, 0});
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressSpace, input_page), 0u);
    ASSERT_EQ(guest.host.flushes.size(), 1u);
    EXPECT_EQ(guest.host.flushes[0].vcpus, std::nullopt);
    EXPECT_EQ(guest.host.flushes[0].how, abi::flush_non_global);
}

TEST_F(ViridianHypercall, FlushesNobodyForAnEmptyMask)
{
    guest.put(input_page, FlushInput{0, 0, 0});
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressSpace, input_page), 0u);
    expect_nothing_done();
}

TEST_F(ViridianHypercall, FlushesAListAndReportsEveryElementDone)
{
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressList | reps(509), input_page), 509ull << 32);
    EXPECT_EQ(ext::reg(guest.frame, Register::rcx), tlfs::HvCallFlushVirtualAddressList | reps(509, 509));
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressList | reps(7, 3), input_page), 7ull << 32);
    EXPECT_EQ(guest.host.flushes.size(), 2u);
}

TEST_F(ViridianHypercall, RefusesEveryFlushFlagThatIsNotDefined)
{
    for (unsigned bit = 2; bit < 64; ++bit) {
        guest.put(input_page, FlushInput{0, 1ull << bit, 1});
        if (bit > 2) {
            EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressSpace, input_page),
                      status(HvStatus::HV_STATUS_INVALID_PARAMETER))
                << bit;
        }
        EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressList | reps(1), input_page),
                  status(HvStatus::HV_STATUS_INVALID_PARAMETER))
            << bit;
    }
    expect_nothing_done();
}

TEST_F(ViridianHypercall, SendsOneVectorToTheVcpusOfTheMask)
{
    EXPECT_EQ(guest.call(tlfs::HvCallSendSyntheticClusterIpi | fast, 0xed, 0b1010), 0u);
    ASSERT_EQ(guest.host.injected.size(), 2u);
    EXPECT_EQ(guest.host.injected[0].vcpu, FakeHost::vcpu_handle(1));
    EXPECT_EQ(guest.host.injected[1].vcpu, FakeHost::vcpu_handle(3));
    EXPECT_EQ(guest.host.injected[1].vector, 0xedu);
    EXPECT_EQ(guest.host.injected[1].how, abi::inject_local_apic);
}

TEST_F(ViridianHypercall, SendsAnIpiThatIsDescribedInMemory)
{
    guest.put(input_page, std::array<std::uint64_t, 2>{0x30, 0b1});
    EXPECT_EQ(guest.call(tlfs::HvCallSendSyntheticClusterIpi, input_page), 0u);
    ASSERT_EQ(guest.host.injected.size(), 1u);
    EXPECT_EQ(guest.host.injected[0].vector, 0x30u);
}

/// A flush reaches those that there are; an IPI with a VP beyond them reaches nobody.
TEST_F(ViridianHypercall, WithAMaskBeyondTheNumberOfVpsReachesNoneThatIsNotThere)
{
    guest.put(input_page, FlushInput{0, 0, ~0ull});
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressSpace, input_page), 0u);
    ASSERT_EQ(guest.host.flushes.size(), 1u);
    EXPECT_EQ(guest.host.flushes[0].vcpus, ~0ull);  // the service takes those of them that there are
    guest.host.flushes.clear();
    for (unsigned vp = 4; vp < 64; ++vp)
        EXPECT_EQ(guest.call(tlfs::HvCallSendSyntheticClusterIpi | fast, 0x30, 1ull << vp | 1),
                  status(HvStatus::HV_STATUS_INVALID_VP_INDEX))
            << vp;
    expect_nothing_done();
}

TEST_F(ViridianHypercall, RefusesIpisWithABadVectorLevelOrTarget)
{
    const auto ipi = [&](std::uint64_t target, std::uint64_t mask) {
        return guest.call(tlfs::HvCallSendSyntheticClusterIpi | fast, target, mask);
    };
    const auto bad_parameter = status(HvStatus::HV_STATUS_INVALID_PARAMETER);
    for (const std::uint64_t target :
         {0x0full, 0x100ull, 0x8000'0030ull, 0x11'0000'0030ull, 0x20'0000'0030ull})
        EXPECT_EQ(ipi(target, 1), bad_parameter) << std::hex << target;
    EXPECT_EQ(ipi(0x30, 0b1'0001), status(HvStatus::HV_STATUS_INVALID_VP_INDEX));
    EXPECT_EQ(ipi(0x30, 1ull << 63), status(HvStatus::HV_STATUS_INVALID_VP_INDEX));
    expect_nothing_done();
    EXPECT_EQ(ipi(0x10, 1), 0u);
    EXPECT_EQ(ipi(0xffff'ff10'0000'00ff, 1), 0u);  // level 0 asked for by name, and padding
    EXPECT_EQ(ipi(0x30, 0), 0u);
    EXPECT_EQ(guest.host.injected.size(), 2u);
}

TEST_F(ViridianHypercall, OfALongSpinWaitLetsOthersRun)
{
    EXPECT_EQ(guest.call(tlfs::HvCallNotifyLongSpinWait | fast, 5, 0, 2), 0u);
    ASSERT_EQ(guest.host.yielded.size(), 1u);
    EXPECT_EQ(guest.host.yielded[0], FakeHost::vcpu_handle(2));
}

TEST_F(ViridianHypercall, ThatAsksForTheExtendedCallsGetsNoneInItsOutput)
{
    const std::uint64_t query{tlfs::HvExtCallQueryCapabilities};
    constexpr std::uint64_t output{0x9000};
    guest.put(output, std::array<std::uint64_t, 2>{~0ull, ~0ull});
    EXPECT_EQ(guest.call(query, 1, output), 0u);  // it has no input, so that its address does not matter
    std::array<std::uint64_t, 2> words{};
    ASSERT_TRUE(guest.host.copy(output, &words, sizeof words, false));
    EXPECT_EQ(words, (std::array<std::uint64_t, 2>{0, ~0ull}));
    for (const std::uint64_t control : std::initializer_list<std::uint64_t>{query | fast, query | 1ull << 17, query | reps(1), query | 1ull << 63})
        EXPECT_EQ(guest.call(control, 0, output), status(HvStatus::HV_STATUS_INVALID_HYPERCALL_INPUT)) << std::hex << control;
    for (const std::uint64_t place : std::initializer_list<std::uint64_t>{output + 1, output + 4, output + 4092, ram_bytes, 1ull << 52, ~7ull})
        EXPECT_EQ(guest.call(query, 0, place), status(HvStatus::HV_STATUS_INVALID_ALIGNMENT)) << std::hex << place;
    EXPECT_EQ(guest.call(query, 0, 0x5000), status(HvStatus::HV_STATUS_INVALID_ALIGNMENT)) << "the hypercall page";
}

TEST_F(ViridianHypercall, WorksFromA32BitCaller)
{
    abi::HypercallFrame frame{};
    frame.mode = abi::GuestMode::protected_32;
    ext::reg(frame, Register::rax) = page_mark | tlfs::HvCallFlushVirtualAddressList;
    ext::reg(frame, Register::rdx) = 4;  // rep count
    ext::reg(frame, Register::rcx) = input_page;
    ASSERT_EQ(guest.module.hypercall(frame).kind, abi::VerdictKind::done);
    EXPECT_EQ(ext::reg(frame, Register::rax), 0u);
    EXPECT_EQ(ext::reg(frame, Register::rdx), 4u);
    EXPECT_EQ(guest.host.flushes.size(), 1u);
}

TEST(ViridianHypercalls, OfAGroupThatIsNotOfferedAreDenied)
{
    Guest guest;
    ASSERT_TRUE(guest.create({"!tlbflush", "!ipi"}));
    guest.enable_hypercalls();
    EXPECT_EQ(guest.call(tlfs::HvCallPostMessage, 0x8000), status(HvStatus::HV_STATUS_ACCESS_DENIED));
    EXPECT_EQ(guest.call(tlfs::HvCallSignalEvent | fast, 1), status(HvStatus::HV_STATUS_ACCESS_DENIED));
    EXPECT_EQ(guest.module.cpuid(0x4000'0004).eax & 0x404, 0u);
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressSpace, 0x8000),
              status(HvStatus::HV_STATUS_ACCESS_DENIED));
    EXPECT_EQ(guest.call(tlfs::HvCallFlushVirtualAddressList | reps(1), 0x8000),
              status(HvStatus::HV_STATUS_ACCESS_DENIED));
    EXPECT_EQ(guest.call(tlfs::HvCallSendSyntheticClusterIpi | fast, 0x30, 1),
              status(HvStatus::HV_STATUS_ACCESS_DENIED));
    EXPECT_EQ(guest.call(tlfs::HvCallNotifyLongSpinWait | fast), 0u);
    EXPECT_TRUE(guest.host.flushes.empty() && guest.host.injected.empty());
}

}  // namespace
}  // namespace hv::viridian::test
