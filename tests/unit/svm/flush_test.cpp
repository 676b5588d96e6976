// SPDX-License-Identifier: MIT
//
// A guest never uses a translation that was taken away: on a processor whose TLB forgets nothing by itself,
// with and without the feature that flushes a single address space, and with fewer address spaces than VCPUs.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>

#include "hv/x86/msr.hpp"
#include "svm_machine.hpp"

using namespace hv;
using namespace hv::test;

namespace {

constexpr std::uint64_t tested_page{5};

/// What the guest finds behind the page, by host page number; nothing: a nested fault.
std::optional<std::uint64_t> touch(TestVcpu& vcpu, std::uint64_t page = tested_page)
{
    std::optional<std::uint64_t> found;
    vcpu.enter([&](Guest& guest) {
        found = guest.translate(page);
        guest.exits(cpuid_exit);
    });
    return found;
}

void point(TestVcpu& vcpu, std::uint64_t host_page, std::uint64_t page = tested_page)
{
    ASSERT_TRUE(vcpu.map
                    .replace(GuestPhysical{page * page_size}, HostPhysical{host_page * page_size}, page_size,
                             core::access_all)
                    .has_value());
}

class Flush : public testing::TestWithParam<bool> {
protected:
    SvmMachine machine{{.flush_by_address_space = GetParam(), .address_spaces = 4}};
};
INSTANTIATE_TEST_SUITE_P(ByAddressSpace, Flush, testing::Bool());

}  // namespace

TEST_P(Flush, ANarrowedTranslationIsGoneAtTheNextEntry)
{
    TestVcpu vcpu{machine};
    point(vcpu, 100);
    vcpu.load(0);
    EXPECT_EQ(touch(vcpu), 100u);
    point(vcpu, 200);
    EXPECT_EQ(touch(vcpu), 200u);
    ASSERT_TRUE(vcpu.map.unmap(GuestPhysical{tested_page * page_size}, page_size).has_value());
    EXPECT_EQ(touch(vcpu), std::nullopt);
    EXPECT_TRUE(model().violations.empty());
}

TEST_P(Flush, NothingIsFlushedWithoutNeed)
{
    TestVcpu vcpu{machine};
    point(vcpu, 100);
    vcpu.load(0);
    touch(vcpu);
    const std::uint32_t address_space = model().entered.control.guest_asid;
    for (unsigned run = 0; run < 3; ++run) {
        touch(vcpu);
        EXPECT_EQ(model().entered.control.tlb_control, svm::TlbControl::keep);
        EXPECT_EQ(model().entered.control.guest_asid, address_space);
    }
}

TEST_P(Flush, AnAskedForFlushHappensOnce)
{
    TestVcpu vcpu{machine};
    vcpu.load(0);
    point(vcpu, 100);
    EXPECT_EQ(touch(vcpu), 100u);
    here().tlb.begin()->second = 666;  // as a guest's own stale translation would be
    EXPECT_EQ(touch(vcpu), 666u);
    machine.hvm().flush(vcpu.context);
    EXPECT_EQ(touch(vcpu), 100u);
    touch(vcpu);
    EXPECT_EQ(model().entered.control.tlb_control, svm::TlbControl::keep);
}

TEST_P(Flush, WhatChangesTheMeaningOfTranslationsDropsThem)
{
    const auto msr = [this](TestVcpu& vcpu, x86::Msr which, std::uint64_t value) {
        ASSERT_TRUE(
            machine.hvm().write_msr(vcpu.context, static_cast<std::uint32_t>(which), value).has_value());
    };
    const std::function<void(TestVcpu&)> changes[]{
        [&](TestVcpu& vcpu) { msr(vcpu, x86::Msr::EFER, 0xd00); },
        [&](TestVcpu& vcpu) { msr(vcpu, x86::Msr::PAT, 6); },
        [&](TestVcpu& vcpu) {
            ASSERT_TRUE(machine.hvm().write_system(vcpu.context, long_mode_state()).has_value());
        },
        [&](TestVcpu& vcpu) {
            const std::byte mov_cr3_rax[]{std::byte{0x0f}, std::byte{0x22}, std::byte{0xd8}};
            core::Exit exit{};
            exit.kind = core::ExitKind::control_register;
            ASSERT_TRUE(
                machine.hvm().emulate_system_instruction(vcpu.context, exit, mov_cr3_rax, 3).has_value());
        }};
    for (const auto& change : changes) {
        TestVcpu vcpu{machine};
        ASSERT_TRUE(machine.hvm().write_system(vcpu.context, long_mode_state()).has_value());
        point(vcpu, 100);
        vcpu.load(0);
        touch(vcpu);
        here().tlb[{model().entered.control.guest_asid, tested_page}] = 666;
        change(vcpu);
        EXPECT_EQ(touch(vcpu), 100u);
    }
}

TEST_P(Flush, AFlushIsNotRepeatedWhenTheVcpuComesBack)
{
    TestVcpu vcpu{machine};
    vcpu.load(0);
    machine.hvm().flush(vcpu.context);
    touch(vcpu);
    const std::uint32_t address_space = model().entered.control.guest_asid;
    vcpu.unload();
    vcpu.load(0);
    touch(vcpu);
    EXPECT_EQ(model().entered.control.tlb_control, svm::TlbControl::keep);
    EXPECT_EQ(model().entered.control.guest_asid, address_space);
}

TEST_P(Flush, AProcessorIsNotTrustedWithWhatItKnewBeforeTheVcpuWasElsewhere)
{
    TestVcpu vcpu{machine};
    point(vcpu, 100);
    vcpu.load(0);
    EXPECT_EQ(touch(vcpu), 100u);
    vcpu.unload();
    vcpu.load(1);
    here().tlb.clear();
    point(vcpu, 200);
    EXPECT_EQ(touch(vcpu), 200u);
    vcpu.unload();
    vcpu.load(0);
    EXPECT_EQ(touch(vcpu), 200u);
}

TEST_P(Flush, MoreVcpusThanAddressSpacesNeverSeeEachOther)
{
    std::vector<std::unique_ptr<TestVcpu>> vcpus;
    for (unsigned index = 0; index < 10; ++index) {
        vcpus.push_back(std::make_unique<TestVcpu>(machine));
        point(*vcpus.back(), 1000 + index);
    }
    for (unsigned round = 0; round < 5; ++round)
        for (unsigned index = 0; index < 10; ++index) {
            vcpus[index]->load(0);
            EXPECT_EQ(touch(*vcpus[index]), 1000 + index);
            vcpus[index]->unload();
        }
    EXPECT_TRUE(model().violations.empty());
}

TEST_P(Flush, RandomMovesAndChangesNeverShowAnOldTranslation)
{
    std::mt19937 random{20261120};
    std::vector<std::unique_ptr<TestVcpu>> vcpus;
    for (unsigned index = 0; index < 6; ++index)
        vcpus.push_back(std::make_unique<TestVcpu>(machine));
    for (unsigned step = 0; step < 4000; ++step) {
        TestVcpu& vcpu = *vcpus[random() % vcpus.size()];
        const std::uint64_t page = random() % 3;
        switch (random() % 4) {
        case 0: point(vcpu, 100 + random() % 1000, page); break;
        case 1: (void)vcpu.map.unmap(GuestPhysical{page * page_size}, page_size); break;
        default: break;
        }
        vcpu.load(static_cast<unsigned>(random() % 2));
        for (std::uint64_t run = random() % 3; run-- > 0;) {
            const auto expected = vcpu.map.lookup(GuestPhysical{page * page_size});
            const auto found = touch(vcpu, page);
            ASSERT_EQ(found.has_value(), expected.has_value()) << "step " << step;
            if (found) {
                ASSERT_EQ(*found, expected->host.page_number()) << "step " << step;
            }
            if (random() % 2 == 0)
                point(vcpu, 100 + random() % 1000, page);
        }
        vcpu.unload();
    }
    EXPECT_EQ(model().wrongly_clean, 0u);
    EXPECT_TRUE(model().violations.empty());
}
