// SPDX-License-Identifier: MIT
//
// The local APIC's interrupts: acceptance, priority, EOI, pins, modes, save and restore.
#include "hv/core/interrupt/local_apic.hpp"

#include <array>
#include <gtest/gtest.h>
#include <optional>
#include <random>
#include <set>
#include <thread>

using namespace hv;
using namespace hv::core;

namespace {

constexpr LocalApicConfig bootstrap{.id = 0, .bootstrap = true};
constexpr std::uint64_t enable{1u << 11};
constexpr std::uint64_t extended{1u << 10};
constexpr std::uint64_t bsp{1u << 8};
constexpr std::uint64_t home{0xfee0'0000};

struct Apic : LocalApic {
    explicit Apic(const LocalApicConfig& config = bootstrap) : LocalApic{config}
    {
        write_mmio(0xf0, 4, 0x1ff, 0);
    }
    void write(std::uint64_t offset, std::uint32_t value) { write_mmio(offset, 4, value, 0); }
    std::uint64_t read(std::uint64_t offset) { return read_mmio(offset, 4, 0); }
};

}  // namespace

TEST(LocalApic, TakesNothingUntilSoftwareEnablesIt)
{
    LocalApic apic{bootstrap};
    EXPECT_FALSE(apic.accept(0x40, TriggerMode::edge));
    EXPECT_FALSE(apic.irr(0x40));
    apic.write_mmio(0xf0, 4, 0x1ff, 0);
    EXPECT_TRUE(apic.accept(0x40, TriggerMode::edge));
}

TEST(LocalApic, SaysOnceThatAVectorIsNew)
{
    Apic apic;
    EXPECT_TRUE(apic.accept(0x40, TriggerMode::edge));
    EXPECT_FALSE(apic.accept(0x40, TriggerMode::edge));
    EXPECT_EQ(apic.acknowledge(), 0x40);
    EXPECT_TRUE(apic.accept(0x40, TriggerMode::edge));  // one more may wait while one is in service
    EXPECT_EQ(apic.highest_deliverable(), std::nullopt);
    EXPECT_TRUE(apic.end_of_interrupt().was_in_service);
    EXPECT_EQ(apic.acknowledge(), 0x40);
}

TEST(LocalApic, RefusesVectorsBelowSixteenAndNotesThem)
{
    Apic apic;
    for (unsigned vector = 0; vector < 16; ++vector)
        EXPECT_FALSE(apic.accept(static_cast<std::uint8_t>(vector), TriggerMode::edge));
    EXPECT_EQ(apic.highest_requested(), std::nullopt);
    EXPECT_EQ(apic.read(0x280), 0u);  // visible only after a write
    apic.write(0x280, 0);
    EXPECT_EQ(apic.read(0x280), 0x40u);
    apic.write(0x280, 0);
    EXPECT_EQ(apic.read(0x280), 0u);
}

TEST(LocalApic, RaisesTheErrorInterruptUnlessThatIsIllegalItself)
{
    Apic apic;
    apic.write(0x370, 0xfe);
    EXPECT_TRUE(apic.accept(3, TriggerMode::edge));
    EXPECT_TRUE(apic.irr(0xfe));
    apic.write(0x370, 0x05);
    EXPECT_FALSE(apic.accept(3, TriggerMode::edge));
    EXPECT_FALSE(apic.irr(0x05));
}

TEST(LocalApic, DeliversOnlyAboveTheProcessorPriority)
{
    Apic apic;
    apic.accept(0x45, TriggerMode::edge);
    apic.set_task_priority(0x40);
    EXPECT_EQ(apic.highest_deliverable(), std::nullopt);  // the same class waits
    EXPECT_EQ(apic.highest_requested(), 0x45);
    apic.set_task_priority(0x3f);
    EXPECT_EQ(apic.highest_deliverable(), 0x45);
    EXPECT_EQ(apic.acknowledge(), 0x45);
    EXPECT_EQ(apic.processor_priority(), 0x40);
    apic.accept(0x4f, TriggerMode::edge);
    EXPECT_EQ(apic.acknowledge(), std::nullopt);
    apic.accept(0x50, TriggerMode::edge);
    EXPECT_EQ(apic.acknowledge(), 0x50);
    EXPECT_EQ(apic.end_of_interrupt().vector, 0x50);
    EXPECT_EQ(apic.end_of_interrupt().vector, 0x45);
    EXPECT_FALSE(apic.end_of_interrupt().was_in_service);
}

TEST(LocalApic, AsksForABroadcastOnlyAfterALevelTriggeredMessage)
{
    Apic apic;
    apic.accept(0x61, TriggerMode::level);
    EXPECT_EQ(apic.read(0x1b0), 2u);
    apic.acknowledge();
    EXPECT_TRUE(apic.end_of_interrupt().broadcast);
    apic.accept(0x61, TriggerMode::edge);
    EXPECT_EQ(apic.read(0x1b0), 0u);
    apic.acknowledge();
    EXPECT_FALSE(apic.end_of_interrupt().broadcast);
}

TEST(LocalApic, TakesBackAnInjectionThatDidNotArrive)
{
    Apic apic;
    apic.accept(0x40, TriggerMode::edge);
    apic.acknowledge();
    apic.accept(0x80, TriggerMode::edge);
    apic.acknowledge();
    apic.retract(0x80);
    EXPECT_FALSE(apic.isr(0x80));
    EXPECT_EQ(apic.processor_priority(), 0x40);
    EXPECT_EQ(apic.highest_deliverable(), 0x80);
    apic.retract(0x90);  // was never in service
    EXPECT_FALSE(apic.irr(0x90));
}

TEST(LocalApic, AgreesWithASimpleModelOverRandomSequences)
{
    std::mt19937 random{20};
    Apic apic;
    std::set<unsigned> requested;
    std::set<unsigned> in_service;
    unsigned tpr = 0;
    const auto ppr_class = [&] {
        return std::max(tpr >> 4, in_service.empty() ? 0 : *in_service.rbegin() >> 4);
    };
    for (unsigned step = 0; step < 200'000; ++step) {
        switch (random() % 5) {
        case 0:
        case 1: {
            const auto vector = static_cast<unsigned>(16 + random() % 240);
            EXPECT_EQ(apic.accept(static_cast<std::uint8_t>(vector), TriggerMode::edge),
                      requested.insert(vector).second);
            break;
        }
        case 2: {
            std::optional<std::uint8_t> expected;
            if (!requested.empty() && *requested.rbegin() >> 4 > ppr_class()) {
                expected = static_cast<std::uint8_t>(*requested.rbegin());
                requested.erase(*expected);
                in_service.insert(*expected);
            }
            ASSERT_EQ(apic.highest_deliverable(), expected);
            ASSERT_EQ(apic.acknowledge(), expected);
            break;
        }
        case 3: {
            const EndOfInterrupt end = apic.end_of_interrupt();
            ASSERT_EQ(end.was_in_service, !in_service.empty());
            if (!in_service.empty()) {
                ASSERT_EQ(end.vector, *in_service.rbegin());
                in_service.erase(*in_service.rbegin());
            }
            break;
        }
        case 4:
            tpr = static_cast<unsigned>(random() % (random() % 4 == 0 ? 256 : 64));
            apic.set_task_priority(static_cast<std::uint8_t>(tpr));
            break;
        }
        ASSERT_EQ(apic.processor_priority() >> 4, ppr_class());
        ASSERT_EQ(apic.highest_requested().has_value(), !requested.empty());
    }
    for (unsigned vector = 16; vector < 256; ++vector) {
        const std::uint64_t bit = 1u << vector % 32;
        EXPECT_EQ((apic.read(0x200 + vector / 32 * 16) & bit) != 0, requested.contains(vector));
        EXPECT_EQ((apic.read(0x100 + vector / 32 * 16) & bit) != 0, in_service.contains(vector));
    }
}

TEST(LocalApic, LosesNoVectorThatAnotherProcessorSets)
{
    Apic apic;
    constexpr unsigned rounds{20'000};
    std::atomic<unsigned> newly_set{};
    const auto sender = [&](std::uint8_t base) {
        for (unsigned round = 0; round < rounds; ++round)
            if (apic.accept(static_cast<std::uint8_t>(base + round % 3), TriggerMode::edge))
                ++newly_set;
    };
    std::atomic<bool> done{};
    unsigned taken = 0;
    std::thread owner{[&] {
        for (bool last = false; !last;) {
            last = done;
            while (const auto vector = apic.acknowledge()) {
                apic.end_of_interrupt();
                ++taken;
            }
        }
    }};
    std::thread first{sender, 0x30};
    std::thread second{sender, 0x32};
    first.join();
    second.join();
    done = true;
    owner.join();
    EXPECT_EQ(taken, newly_set);
    EXPECT_EQ(apic.highest_requested(), std::nullopt);
}

TEST(LocalApic, SeesAVectorThatCameWhileItsWordBecameEmpty)
{
    Apic apic;
    constexpr unsigned rounds{100'000};
    std::atomic<unsigned> started{};
    std::atomic<unsigned> finished{};
    std::thread sender{[&] {
        for (unsigned round = 1; round <= rounds; ++round) {
            while (started < round)
                std::this_thread::yield();
            apic.accept(0x41, TriggerMode::edge);
            finished = round;
        }
    }};
    unsigned missed = 0;
    for (unsigned round = 1; round <= rounds; ++round) {
        apic.accept(0x42, TriggerMode::edge);
        started = round;
        apic.cancel(0x42);
        while (finished < round)
            std::this_thread::yield();
        missed += apic.highest_requested() == 0x41 ? 0u : 1u;
        apic.cancel(0x41);
    }
    sender.join();
    EXPECT_EQ(missed, 0u);
}

struct LintCase {
    std::uint32_t entry;
    LintOutcome outcome;
};

TEST(LocalApic, GivesPinsTheMeaningOfTheirEntry)
{
    Apic apic;
    for (const auto& [entry, outcome] :
         {LintCase{0x1'0000, LintOutcome::ignored}, LintCase{0x0700, LintOutcome::external},
          LintCase{0x0400, LintOutcome::nmi}, LintCase{0x0200, LintOutcome::smi},
          LintCase{0x0500, LintOutcome::init}, LintCase{0x0100, LintOutcome::ignored},
          LintCase{0x0055, LintOutcome::accepted}}) {
        apic.write(0x350, entry);
        apic.write(0x360, entry);
        EXPECT_EQ(apic.signal_lint(0), outcome) << entry;
        EXPECT_EQ(apic.signal_lint(1), outcome) << entry;
        EXPECT_EQ(apic.takes_external_interrupts(), entry == 0x0700);
    }
    EXPECT_TRUE(apic.irr(0x55));
    apic.write_apic_base(home);
    EXPECT_EQ(apic.signal_lint(0), LintOutcome::external);
    EXPECT_EQ(apic.signal_lint(1), LintOutcome::nmi);
    EXPECT_TRUE(apic.takes_external_interrupts());
}

TEST(LocalApic, IsHandedOverAsFirmwareLeavesIt)
{
    LocalApic first{bootstrap};
    first.reset_as_by_firmware();
    EXPECT_TRUE(first.takes_external_interrupts());
    EXPECT_EQ(first.signal_lint(1), LintOutcome::nmi);
    EXPECT_TRUE(first.addressing().software_enabled);
    LocalApic second{{.id = 1}};
    second.reset_as_by_firmware();
    EXPECT_FALSE(second.takes_external_interrupts());
}

struct BaseTransition {
    const char* name;
    std::uint64_t from;
    std::uint64_t to;
    bool allowed;
};

class LocalApicBase : public testing::TestWithParam<BaseTransition> {};

TEST_P(LocalApicBase, AllowsExactlyTheManualsTransitions)
{
    LocalApic apic{bootstrap};
    if ((GetParam().from & extended) != 0)
        apic.write_apic_base(home | enable);
    apic.write_apic_base(home | GetParam().from);
    const LocalApicState before = apic.save();
    const auto effect = apic.write_apic_base(GetParam().to);
    EXPECT_EQ(effect.kind, GetParam().allowed ? ApicEffect::Kind::mode_changed : ApicEffect::Kind::refused);
    if (GetParam().allowed) {
        EXPECT_EQ(apic.apic_base(), GetParam().to | bsp);
    } else {
        EXPECT_EQ(apic.save(), before);
    }
}

INSTANTIATE_TEST_SUITE_P(
    , LocalApicBase,
    testing::Values(BaseTransition{"EnabledToX2apic", enable, home | enable | extended, true},
                    BaseTransition{"EnabledToDisabled", enable, home, true},
                    BaseTransition{"DisabledToEnabled", 0, home | enable, true},
                    BaseTransition{"DisabledToX2apic", 0, home | enable | extended, false},
                    BaseTransition{"X2apicToEnabled", enable | extended, home | enable, false},
                    BaseTransition{"X2apicToDisabled", enable | extended, home, true},
                    BaseTransition{"X2apicToInvalid", enable | extended, home | extended, false},
                    BaseTransition{"EnabledToInvalid", enable, home | extended, false},
                    BaseTransition{"Moved", enable, 0x1'2345'6000 | enable, true},
                    BaseTransition{"ReservedBit0", enable, home | enable | 1, false},
                    BaseTransition{"ReservedBit7", enable, home | enable | 1 << 7, false},
                    BaseTransition{"ReservedBit9", enable, home | enable | 1 << 9, false},
                    BaseTransition{"BeyondPhysicalAddresses", enable, home | enable | 1ull << 48, false},
                    BaseTransition{"Bit63", enable, home | enable | 1ull << 63, false}),
    [](const auto& test) { return std::string{test.param.name}; });

TEST(LocalApic, KnowsNoX2apicThatWasNotOffered)
{
    LocalApic apic{{.id = 0, .bootstrap = true, .x2apic_offered = false}};
    EXPECT_EQ(apic.write_apic_base(home | enable | extended).kind, ApicEffect::Kind::refused);
    EXPECT_FALSE(apic.is_x2apic());
}

TEST(LocalApic, KeepsItsStateWhenItsPageMoves)
{
    Apic apic;
    apic.accept(0x40, TriggerMode::edge);
    apic.write_apic_base(0xd000'0000 | enable);
    EXPECT_EQ(LocalApic::mmio_page(apic.apic_base()), GuestPhysical{0xd000'0000});
    EXPECT_TRUE(apic.irr(0x40));
}

TEST(LocalApic, ForgetsEverythingWhenItIsDisabled)
{
    Apic apic;
    apic.accept(0x40, TriggerMode::edge);
    apic.write(0x80, 0x20);
    apic.write_apic_base(home);
    apic.write_apic_base(home | enable);
    LocalApic fresh{bootstrap};
    EXPECT_EQ(apic.save(), fresh.save());
}

TEST(LocalApic, KeepsItsModeThroughAnInit)
{
    Apic apic{{.id = 5}};
    apic.write_apic_base(0xd000'0000 | enable);
    apic.write_apic_base(0xd000'0000 | enable | extended);
    apic.accept(0x40, TriggerMode::edge);
    apic.initialize();
    EXPECT_TRUE(apic.is_x2apic());
    EXPECT_EQ(apic.apic_base() & page_mask, enable | extended);
    EXPECT_EQ(apic.apic_base() & ~page_mask, 0xd000'0000u);
    EXPECT_FALSE(LocalApic::mmio_page(apic.apic_base()));
    EXPECT_FALSE(apic.irr(0x40));
    EXPECT_FALSE(apic.addressing().software_enabled);
    EXPECT_EQ(apic.read_msr(0x80f, 0), 0xffu);
    EXPECT_EQ(apic.read_msr(0x802, 0), 5u);
}

TEST(LocalApic, RestoresWhatItSaved)
{
    std::mt19937 random{7};
    Apic apic;
    for (unsigned step = 0; step < 5'000; ++step) {
        apic.write_mmio(random() % 0x40 * 16, 4, random(), step * 1'000ull);
        apic.accept(static_cast<std::uint8_t>(random()), static_cast<TriggerMode>(random() & 1));
        if (random() % 3 == 0)
            apic.acknowledge();
        const LocalApicState state = apic.save();
        LocalApic other{bootstrap};
        ASSERT_TRUE(other.restore(state));
        ASSERT_EQ(other.save(), state);
        ASSERT_EQ(other.processor_priority(), apic.processor_priority());
        ASSERT_EQ(other.highest_deliverable(), apic.highest_deliverable());
    }
}

TEST(LocalApic, RestoresNothingThatNoGuestCouldHaveBroughtAbout)
{
    const auto refuses = [](auto&& spoil) {
        LocalApic apic{bootstrap};
        LocalApicState state = apic.save();
        const LocalApicState before = state;
        spoil(state);
        return !apic.restore(state) && apic.save() == before;
    };
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.base |= 1; }));
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.base &= ~bsp; }));
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.base = home | bsp | extended; }));
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.task_priority = 0x100; }));
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.logical_destination = 1; }));
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.destination_format = 0; }));
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.spurious = 1 << 12; }));
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.error_pending = 1; }));
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.error_status = 1 << 8; }));
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.command = 1 << 13; }));
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.divide = 4; }));
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.lvt[0] = 0x30; }));  // unmasked while software-disabled
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.lvt[5] = 0x1'0700; }));
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.requested[0] = 1 << 15; }));
    EXPECT_TRUE(refuses([](LocalApicState& s) { s.in_service[0] = 1; }));
    EXPECT_FALSE(refuses([](LocalApicState& s) { s.requested[0] = 1 << 16; }));
}
