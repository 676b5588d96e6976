// SPDX-License-Identifier: MIT
//
// The synthetic interrupt controller: pages, sources, and messages that wait for their slots.  The messages are those of timers that
// the test fires.
#include <cstring>

#include "guest.hpp"
#include "tlfs_synic.hpp"

namespace hv::viridian::test {
namespace {

using namespace tlfs;

constexpr std::uint64_t simp{0x6000};
constexpr std::uint64_t siefp{0x7000};
constexpr std::uint32_t sint2{HV_X64_MSR_SINT0 + 2};
constexpr std::uint64_t vector{0xf3};
constexpr std::uint64_t auto_eoi{1ull << 17};
constexpr std::uint64_t masked{1ull << 16};
constexpr std::uint64_t polling{1ull << 18};

class ViridianSynic : public testing::Test {
protected:
    ViridianSynic() { EXPECT_TRUE(guest.create()); }

    bool write(std::uint32_t msr, std::uint64_t value, std::uint32_t vcpu = 0)
    {
        return guest.module.write_msr(msr, value, vcpu);
    }
    std::optional<std::uint64_t> read(std::uint32_t msr, std::uint32_t vcpu = 0) { return guest.module.read_msr(msr, vcpu); }
    /// As a guest sets it up: SINT2 with a vector, the page of messages, the controller.
    void enable(std::uint64_t sint = vector)
    {
        ASSERT_TRUE(write(HV_X64_MSR_SIMP, simp | 1));
        ASSERT_TRUE(write(sint2, sint));
        ASSERT_TRUE(write(HV_X64_MSR_SCONTROL, 1));
    }
    /// A one-shot timer in message mode that has come to `count`.
    void expire(std::uint32_t timer, std::uint64_t count, std::uint64_t sint = 2, std::uint32_t vcpu = 0)
    {
        const std::uint32_t msr{HV_X64_MSR_STIMER0_CONFIG + 2 * timer};
        ASSERT_TRUE(write(msr + 1, count, vcpu));
        ASSERT_TRUE(write(msr, sint << 16 | 1, vcpu));
        for (auto& [handle, one] : guest.host.timers)
            if (one.vcpu == FakeHost::vcpu_handle(vcpu) && one.cookie == timer) {
                guest.module.fire(handle);
                return;
            }
        FAIL() << "timer " << timer << " is not there";
    }
    TimerMessage message(std::uint32_t sint = 2, std::uint64_t page = simp)
    {
        TimerMessage found{};
        EXPECT_TRUE(guest.host.copy(page + sint * message_bytes, &found, sizeof found, false));
        return found;
    }
    /// What a guest does when it has read one: true where it must say so.
    bool empty_slot(std::uint32_t sint = 2)
    {
        guest.put(simp + sint * message_bytes, std::uint32_t{message_none});
        return (message(sint).header.flags & message_pending) != 0;
    }
    std::uint32_t watched(std::uint32_t of = vector, std::uint32_t vcpu = 0)
    {
        auto& vectors = guest.host.watched[FakeHost::vcpu_handle(vcpu)];
        const auto found = vectors.find(of);
        return found == vectors.end() ? 0 : found->second;
    }

    Guest guest{2};
};

TEST_F(ViridianSynic, PagesAreOneVcpusAlone)
{
    ASSERT_TRUE(write(HV_X64_MSR_SIMP, simp | 1, 0));
    ASSERT_TRUE(write(HV_X64_MSR_SIEFP, siefp | 1, 0));
    ASSERT_TRUE(write(HV_X64_MSR_SIMP, 0x8001, 1));
    EXPECT_EQ(read(HV_X64_MSR_SIMP, 0), simp | 1);
    EXPECT_EQ(read(HV_X64_MSR_SIEFP, 0), siefp | 1);
    EXPECT_EQ(read(HV_X64_MSR_SIMP, 1), 0x8001u);
    EXPECT_EQ(read(HV_X64_MSR_SIEFP, 1), 0u);
    EXPECT_EQ(guest.host.pages.size(), 3u);
}

TEST_F(ViridianSynic, PagesKeepTheirBytesWhileTheyAreOffAndWhenTheyMove)
{
    ASSERT_TRUE(write(HV_X64_MSR_SIMP, simp | 1));
    guest.put(simp + 8, std::uint64_t{77});
    ASSERT_TRUE(write(HV_X64_MSR_SIMP, simp));
    EXPECT_EQ(guest.host.guest_u64(simp + 8), 0u);  // the guest's own page
    ASSERT_TRUE(write(HV_X64_MSR_SIMP, 0x9001));
    EXPECT_EQ(guest.host.guest_u64(0x9008), 77u);
    EXPECT_EQ(guest.host.pages.size(), 1u);
}

TEST_F(ViridianSynic, PagesOverAnotherOverlayAreRefusedAndChangeNothing)
{
    ASSERT_TRUE(write(HV_X64_MSR_SIMP, simp | 1));
    EXPECT_FALSE(write(HV_X64_MSR_SIEFP, simp | 1));
    EXPECT_EQ(read(HV_X64_MSR_SIEFP), 0u);
    EXPECT_EQ(guest.host.pages.size(), 1u);
}

TEST_F(ViridianSynic, SourcesNeedALegalVectorToInterrupt)
{
    for (std::uint64_t low = 0; low < 256; ++low)
        for (const std::uint64_t flags : {std::uint64_t{0}, masked, auto_eoi, polling, masked | auto_eoi, masked | polling,
                                          auto_eoi | polling, masked | auto_eoi | polling}) {
            const bool interrupts{(flags & (masked | polling)) == 0};
            EXPECT_EQ(write(sint2, flags | low), !interrupts || low >= 16) << std::hex << (flags | low);
        }
}

TEST_F(ViridianSynic, AllSixteenSourcesAreOneByOne)
{
    for (std::uint32_t sint = 0; sint < sint_count; ++sint)
        ASSERT_TRUE(write(HV_X64_MSR_SINT0 + sint, 0x20 + sint));
    for (std::uint32_t sint = 0; sint < sint_count; ++sint) {
        EXPECT_EQ(read(HV_X64_MSR_SINT0 + sint, 0), 0x20u + sint);
        EXPECT_EQ(read(HV_X64_MSR_SINT0 + sint, 1), masked);
    }
}

TEST_F(ViridianSynic, AMessageSaysWhichTimerExpiredAndWhen)
{
    enable();
    guest.host.now_ns = 1'000'000'700;
    expire(3, 10'000'001);
    const TimerMessage found{message()};
    EXPECT_EQ(found.header.type, 0x8000'0010u);
    EXPECT_EQ(found.header.payload_bytes, 24u);
    EXPECT_EQ(found.header.flags, 0u);
    EXPECT_EQ(found.header.origin, 0u);
    EXPECT_EQ(found.timer, 3u);
    EXPECT_EQ(found.expiration, 10'000'001u);
    EXPECT_EQ(found.delivery, 10'000'007u);
    ASSERT_EQ(guest.host.injected.size(), 1u);
    EXPECT_EQ(guest.host.injected[0].vcpu, FakeHost::vcpu_handle(0));
    EXPECT_EQ(guest.host.injected[0].vector, vector);
    EXPECT_EQ(guest.host.injected[0].how, abi::inject_local_apic);
}

TEST_F(ViridianSynic, EverySourceHasItsOwnSlot)
{
    enable();
    for (std::uint32_t sint = 1; sint < sint_count; ++sint) {
        ASSERT_TRUE(write(HV_X64_MSR_SINT0 + sint, 0x20 + sint));
        expire(0, 100 + sint, sint);
        EXPECT_EQ(message(sint).expiration, 100u + sint);
        EXPECT_EQ(guest.host.injected.back().vector, 0x20u + sint);
    }
    EXPECT_EQ(message(0).header.type, message_none);
}

TEST_F(ViridianSynic, AMessageThatFindsItsSlotTakenWaitsForTheEndOfMessage)
{
    enable();
    expire(0, 100);
    expire(1, 200);
    EXPECT_EQ(message().timer, 0u);
    EXPECT_EQ(guest.host.injected.size(), 1u);
    EXPECT_TRUE(write(HV_X64_MSR_EOM, 0));  // too early: the slot is still taken
    EXPECT_EQ(message().timer, 0u);
    EXPECT_TRUE(empty_slot());  // the guest is told that there is more
    EXPECT_TRUE(write(HV_X64_MSR_EOM, 0));
    EXPECT_EQ(message().timer, 1u);
    EXPECT_EQ(message().expiration, 200u);
    EXPECT_EQ(guest.host.injected.size(), 2u);
    EXPECT_FALSE(empty_slot());
    EXPECT_TRUE(write(HV_X64_MSR_EOM, 0));
    EXPECT_EQ(guest.host.injected.size(), 2u);
}

TEST_F(ViridianSynic, AMessageThatWaitsIsDeliveredAtTheEndOfTheInterruptToo)
{
    enable();
    EXPECT_EQ(watched(), 0u);
    expire(0, 100);
    EXPECT_EQ(watched(), 0u);  // nothing waits: the end of an interrupt does not enter the module
    expire(1, 200);
    EXPECT_EQ(watched(), abi::watch_ended);
    guest.module.interrupt_ended(vector);
    EXPECT_EQ(message().timer, 0u);
    empty_slot();
    guest.module.interrupt_ended(vector);
    EXPECT_EQ(message().timer, 1u);
    EXPECT_EQ(watched(), 0u);
}

TEST_F(ViridianSynic, OfSeveralThatWaitTheOneThatExpiredFirstComesFirst)
{
    enable();
    expire(0, 100);
    expire(1, 400);
    expire(2, 300);
    expire(3, 200);
    for (const std::uint32_t next : {3u, 2u, 1u}) {
        EXPECT_TRUE(empty_slot());
        ASSERT_TRUE(write(HV_X64_MSR_EOM, 0));
        EXPECT_EQ(message().timer, next);
    }
    EXPECT_EQ(message().header.flags, 0u);  // and the last says that it is the last
}

TEST_F(ViridianSynic, AMessageStaysInTheQueueThatItWasPutInto)
{
    enable();
    expire(0, 100);
    expire(1, 200);
    ASSERT_TRUE(write(HV_X64_MSR_STIMER0_CONFIG + 2, 5ull << 16));  // timer 1 is for another source now
    empty_slot();
    ASSERT_TRUE(write(HV_X64_MSR_EOM, 0));
    EXPECT_EQ(message(2).timer, 1u);
    EXPECT_EQ(message(5).header.type, message_none);
}

TEST_F(ViridianSynic, ATimerWhoseMessageWaitsHasNoSecondOne)
{
    enable();
    expire(0, 100);
    expire(1, 200);
    expire(1, 300);
    empty_slot();
    ASSERT_TRUE(write(HV_X64_MSR_EOM, 0));
    EXPECT_EQ(message().expiration, 200u);
    EXPECT_FALSE(empty_slot());
}

TEST_F(ViridianSynic, SimpNeverEnabledWhenATimerFiresKeepsTheMessage)
{
    ASSERT_TRUE(write(sint2, vector));
    ASSERT_TRUE(write(HV_X64_MSR_SCONTROL, 1));
    expire(0, 100);
    EXPECT_TRUE(guest.host.pages.empty());
    EXPECT_TRUE(guest.host.injected.empty());
    EXPECT_TRUE(write(HV_X64_MSR_EOM, 0));
    EXPECT_TRUE(guest.host.injected.empty());
    ASSERT_TRUE(write(HV_X64_MSR_SIMP, simp | 1));
    EXPECT_EQ(message().expiration, 100u);
    EXPECT_EQ(guest.host.injected.size(), 1u);
}

TEST_F(ViridianSynic, ADisabledControllerQueuesNothing)
{
    ASSERT_TRUE(write(HV_X64_MSR_SIMP, simp | 1));
    ASSERT_TRUE(write(sint2, vector));
    expire(0, 100);
    ASSERT_TRUE(write(HV_X64_MSR_SCONTROL, 1));
    EXPECT_EQ(message().header.type, message_none);
    EXPECT_TRUE(guest.host.injected.empty());
}

TEST_F(ViridianSynic, MaskedAndPolledSourcesGetTheirMessagesAndNoInterrupt)
{
    for (const std::uint64_t flags : {masked, polling, masked | polling}) {
        enable(flags | vector);
        expire(0, 100);
        EXPECT_EQ(message().header.type, message_timer_expired);
        EXPECT_TRUE(guest.host.injected.empty());
        empty_slot();
    }
}

TEST_F(ViridianSynic, AutoEoiIsTheCoresWithoutAHook)
{
    ASSERT_TRUE(write(sint2, vector | auto_eoi));
    EXPECT_EQ(watched(), abi::watch_auto_eoi);
    EXPECT_EQ(watched(vector, 1), 0u);
    ASSERT_TRUE(write(sint2, vector));
    EXPECT_EQ(watched(), 0u);
    ASSERT_TRUE(write(sint2, vector | auto_eoi));
    ASSERT_TRUE(write(sint2, 0x50 | auto_eoi));
    EXPECT_EQ(watched(), 0u);
    EXPECT_EQ(watched(0x50), abi::watch_auto_eoi);
    for (const std::uint64_t quiet : {masked, polling}) {
        ASSERT_TRUE(write(sint2, 0x50 | auto_eoi));
        ASSERT_TRUE(write(sint2, 0x50 | auto_eoi | quiet));
        EXPECT_EQ(watched(0x50), 0u);
    }
}

TEST_F(ViridianSynic, AutoEoiOfAVectorThatTwoSourcesHaveEndsWithTheLast)
{
    ASSERT_TRUE(write(sint2, vector | auto_eoi));
    ASSERT_TRUE(write(sint2 + 1, vector | auto_eoi));
    ASSERT_TRUE(write(sint2, vector | masked));
    EXPECT_EQ(watched(), abi::watch_auto_eoi);
    ASSERT_TRUE(write(sint2 + 1, vector | masked));
    EXPECT_EQ(watched(), 0u);
}

TEST_F(ViridianSynic, IsAsAtTheStartAfterAResetOfItsVcpuAlone)
{
    enable(vector | auto_eoi);
    ASSERT_TRUE(write(HV_X64_MSR_SIEFP, siefp | 1));
    ASSERT_TRUE(write(HV_X64_MSR_SIMP, 0x8001, 1));
    expire(0, 100);
    expire(1, 200);
    guest.module.reset_vcpu(0);
    for (const std::uint32_t msr : {HV_X64_MSR_SCONTROL, HV_X64_MSR_SIEFP, HV_X64_MSR_SIMP, HV_X64_MSR_STIMER0_CONFIG,
                                    HV_X64_MSR_STIMER0_CONFIG + 1, HV_X64_MSR_STIMER0_CONFIG + 2})
        EXPECT_EQ(read(msr), 0u) << std::hex << msr;
    EXPECT_EQ(read(sint2), masked);
    EXPECT_EQ(watched(), 0u);
    EXPECT_EQ(read(HV_X64_MSR_SIMP, 1), 0x8001u);
    EXPECT_EQ(guest.host.pages.size(), 1u);  // the other VCPU's
    enable();
    EXPECT_EQ(message().header.type, message_none);  // the queue is empty, and so is the page
}

TEST_F(ViridianSynic, MessagesOfOneVcpuAreNotAnothers)
{
    enable();
    ASSERT_TRUE(write(HV_X64_MSR_SIMP, 0x8001, 1));
    ASSERT_TRUE(write(sint2, 0x44, 1));
    ASSERT_TRUE(write(HV_X64_MSR_SCONTROL, 1, 1));
    expire(0, 100, 2, 1);
    EXPECT_EQ(message().header.type, message_none);
    EXPECT_EQ(message(2, 0x8000).expiration, 100u);
    ASSERT_EQ(guest.host.injected.size(), 1u);
    EXPECT_EQ(guest.host.injected[0].vcpu, FakeHost::vcpu_handle(1));
}

}  // namespace
}  // namespace hv::viridian::test
