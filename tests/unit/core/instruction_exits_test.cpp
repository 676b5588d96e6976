// SPDX-License-Identifier: MIT
//
// Intercepted instructions: their length where the processor does not say it, CPUID, MSRs, and what is refused with which
// exception and RIP where it was.
#include <map>
#include <random>

#include "machine_fixture.hpp"

using namespace hv;
using namespace hv::test;

namespace {

constexpr unsigned undefined_opcode{6}, general_protection{13};

std::uint64_t counted(const KeyCounts& counts, std::uint32_t key)
{
    std::uint64_t sum{};
    for (const auto& slot : counts.read())
        sum += slot.count != 0 && slot.key == key ? slot.count : 0;
    return sum;
}

class InstructionExits : public VcpuTest {
protected:
    void expect_fault(unsigned vector, std::uint64_t rip = 0x1000)
    {
        EXPECT_EQ(vcpu().registers.rip, rip);
        ASSERT_EQ(guest().delivered.size(), 1u);
        EXPECT_EQ(guest().delivered[0].vector, vector);
        EXPECT_EQ(guest().delivered[0].has_error_code, vector == general_protection);
        guest().delivered.clear();
    }
    std::uint64_t read_msr(std::uint32_t msr)
    {
        vcpu().registers.rip = 0x1000;
        reg(rcx) = msr;
        reg(rax) = reg(rdx) = ~0ull;
        run(ExitKind::msr_read, 2);
        return reg(rdx) << 32 | reg(rax);
    }
    void write_msr(std::uint32_t msr, std::uint64_t value)
    {
        vcpu().registers.rip = 0x1000;
        reg(rcx) = 0xffff'ffff'0000'0000 | msr;
        reg(rax) = 0xdead'0000'0000'0000 | (value & 0xffff'ffff);
        reg(rdx) = 0xdead'0000'0000'0000 | value >> 32;
        run(ExitKind::msr_write, 2);
    }
};

}  // namespace

TEST_F(InstructionExits, ReadsTheLengthFromTheCodeWithPrefixesAndAcrossPages)
{
    code({0x0f, 0xa2});
    run(ExitKind::cpuid);
    EXPECT_EQ(vcpu().registers.rip, 0x1002u);
    code({0x66, 0x3e, 0x0f, 0xa2}, 0x1002);
    run(ExitKind::cpuid);
    EXPECT_EQ(vcpu().registers.rip, 0x1006u);
    code({0x0f, 0xa2}, 0x2fff);
    vcpu().registers.rip = 0x2fff;
    run(ExitKind::cpuid);
    EXPECT_EQ(vcpu().registers.rip, 0x3001u);
    run(ExitKind::cpuid, 7);
    EXPECT_EQ(vcpu().registers.rip, 0x3008u) << "what the processor says is believed";
}

TEST_F(InstructionExits, ReadsCodeThroughPageTablesWhoseTwoPagesLieApart)
{
    long_mode();
    put<std::uint64_t>(0x1'3000 + 8 * 0x21, 0x7'7000 | 7);  // linear 0x21000 is not physical 0x21000
    code({0x0f}, 0x2'0fff);
    code({0xa2}, 0x7'7000);
    code({0xf4}, 0x2'1000);
    vcpu().registers.rip = 0x4002'0fff;
    run(ExitKind::cpuid);
    EXPECT_EQ(vcpu().registers.rip, 0x4002'1001u);
}

TEST_F(InstructionExits, LetsTheGuestTryAgainWhereTheBytesAreGoneOrAreAnotherInstructionNow)
{
    code({0x0f, 0x31});
    reg(rax) = 0x1234;
    run(ExitKind::cpuid);
    EXPECT_EQ(vcpu().registers.rip, 0x1000u);
    vcpu().registers.rip = 0xf000'0000;
    run(ExitKind::cpuid);
    EXPECT_EQ(vcpu().registers.rip, 0xf000'0000u);
    EXPECT_EQ(reg(rax), 0x1234u);
    EXPECT_TRUE(delivered().empty());
}

TEST_F(InstructionExits, EndsTheInterruptShadowWithAnInstructionAndStepsUnderTheTrapFlag)
{
    guest().interrupt_shadow = true;
    vcpu().registers.rflags = 0x102;
    run(ExitKind::cpuid, 2);
    EXPECT_FALSE(guest().interrupt_shadow);
    EXPECT_EQ(delivered(), std::vector<unsigned>{1});
    EXPECT_EQ(vcpu().registers.rip, 0x1002u);
}

TEST_F(InstructionExits, RefusesAnMsrOnNoListAndChangesNothing)
{
    for (const std::uint32_t msr : {0u, 0x3au, 0x17fu, 0x4000'0000u, 0xc001'0114u, 0xffff'ffffu}) {
        EXPECT_EQ(read_msr(msr), ~0ull) << std::hex << msr;
        expect_fault(general_protection);
        write_msr(msr, 0);
        expect_fault(general_protection);
    }
}

TEST_F(InstructionExits, ReadsConstantsAndTakesOnlyWritesThatChangeNothing)
{
    for (const auto& [msr, value] : {std::pair{0x8bu, 0ull}, {0xc001'0010u, 0ull}, {0xc001'0055u, 0ull}, {0xc001'1029u, 2ull}}) {
        EXPECT_EQ(read_msr(msr), value) << std::hex << msr;
        EXPECT_EQ(vcpu().registers.rip, 0x1002u);
        write_msr(msr, value);
        EXPECT_TRUE(delivered().empty());
        EXPECT_EQ(vcpu().registers.rip, 0x1002u);
        write_msr(msr, value ^ 1);
        expect_fault(general_protection);
        EXPECT_EQ(read_msr(msr), value);
    }
}

TEST_F(InstructionExits, KeepsTheBitsOfHwcrThatDoNothingAndRefusesTheOthers)
{
    write_msr(0xc001'0015, 0x140);
    EXPECT_EQ(read_msr(0xc001'0015), 0x140u);
    write_msr(0xc001'0015, 0x8);
    expect_fault(general_protection);
    EXPECT_EQ(read_msr(0xc001'0015), 0x140u);
}

TEST_F(InstructionExits, KeepsTheControlBlocksMsrsThere)
{
    write_msr(0xc000'0082, 0xffff'8000'1234'5678);
    EXPECT_EQ(guest().system.lstar, 0xffff'8000'1234'5678u);
    EXPECT_EQ(read_msr(0xc000'0082), 0xffff'8000'1234'5678u);
}

TEST_F(InstructionExits, MovesTheGuestsClockByWritesToItsTimeStampCounter)
{
    fake::set_ticks(5'000);
    EXPECT_EQ(read_msr(0x10), 5'000u);
    write_msr(0x10, 1'000'000);
    EXPECT_EQ(guest().tsc_offset, 995'000u);
    fake::advance_ticks(7);
    EXPECT_EQ(read_msr(0x10), 1'000'007u);
    EXPECT_EQ(vcpu(1).guest_tsc(5'007), 5'007u) << "the other processor's is its own";
}

TEST_F(InstructionExits, TellsAndTakesWhatWasAddedToTheTimeStampCounter)
{
    fake::set_ticks(5'000);
    EXPECT_EQ(read_msr(0x3b), 0u);
    write_msr(0x10, 1'000'000);
    EXPECT_EQ(read_msr(0x3b), 995'000u);
    write_msr(0x3b, 0);
    EXPECT_EQ(read_msr(0x10), 5'000u);
    write_msr(0x3b, ~0ull);
    EXPECT_EQ(read_msr(0x10), 4'999u);
    EXPECT_TRUE(delivered().empty());
    ASSERT_TRUE(domain->cpuid.adjust({7, 0, {~0u, ~(1u << 1), ~0u, ~0u}, {}}));
    read_msr(0x3b);
    expect_fault(general_protection);
    write_msr(0x3b, 1);
    expect_fault(general_protection);
    EXPECT_EQ(read_msr(0x10), 4'999u);
}

TEST_F(InstructionExits, HasX2apicRegistersOnlyOnceTheModeIsOn)
{
    EXPECT_EQ(read_msr(0x802), ~0ull);
    expect_fault(general_protection);
    write_msr(0x1b, 0xfee0'0d00);
    EXPECT_TRUE(delivered().empty());
    EXPECT_EQ(read_msr(0x802), 0u);
    EXPECT_EQ(read_msr(0x803) & 0xff, vcpu().apic.read_msr(0x803, 0).value() & 0xff);
    write_msr(0x808, 0x30);
    EXPECT_EQ(guest().task_priority, 3) << "CR8 is the same register";
    guest().task_priority = 5;
    EXPECT_EQ(read_msr(0x808), 0x50u);
    write_msr(0x802, 1);
    expect_fault(general_protection);
    read_msr(0x8ff);
    expect_fault(general_protection);
}

TEST_F(InstructionExits, CountsExitsByKindAndMsr)
{
    read_msr(0x10);
    read_msr(0x10);
    write_msr(0x10, 1);
    EXPECT_EQ(vcpu().exits.by_kind[static_cast<unsigned>(ExitKind::msr_read)], 2u);
    EXPECT_EQ(counted(vcpu().exits.msrs.reads, 0x10), 2u);
    EXPECT_EQ(counted(vcpu().exits.msrs.writes, 0x10), 1u);
}

TEST_F(InstructionExits, LosesNoCountHoweverTheKeysCollide)
{
    std::mt19937 random{7};
    std::map<std::uint32_t, std::uint64_t> expected;
    KeyCounts counts;
    std::uint32_t keys[KeyCounts::capacity];
    for (std::uint32_t& key : keys)
        key = static_cast<std::uint32_t>(random());
    for (unsigned step = 0; step < 20'000; ++step) {
        const std::uint32_t key = keys[random() % (1 + random() % KeyCounts::capacity)];
        counts.count(key);
        ++expected[key];
    }
    for (const auto& [key, count] : expected)
        EXPECT_EQ(counted(counts, key), count) << std::hex << key;
    EXPECT_EQ(counts.other(), 0u);
}

TEST_F(InstructionExits, HasNoHypercallAndNoVirtualizationWithoutAnExtension)
{
    for (const ExitKind kind : {ExitKind::hypercall, ExitKind::privileged_instruction, ExitKind::monitor}) {
        run(kind, 3);
        expect_fault(undefined_opcode);
    }
}

TEST_F(InstructionExits, ReadsTheClockAndInvalidatesAPageWhereTheseExit)
{
    code({0x0f, 0x31});  // RDTSC
    run(ExitKind::read_tsc, 2);
    EXPECT_EQ(vcpu().registers.rip, 0x1002u);
    code({0x0f, 0x01, 0x3b});  // INVLPG [EBX]
    run(ExitKind::invalidate_page, 3);
    EXPECT_TRUE(guest().delivered.empty());
}

TEST_F(InstructionExits, LetsAGuestSetInCr4WhatItIsShown)
{
    code({0x0f, 0x22, 0xe0, 0x0f, 0x22, 0xe0});  // MOV CR4, EAX
    reg(rax) = 1 << 20;                          // SMEP, which the host has
    run(ExitKind::control_register);
    EXPECT_EQ(guest().system.cr4, 1u << 20);
    EXPECT_EQ(vcpu().registers.rip, 0x1003u);
    reg(rax) = 1 << 16;  // FSGSBASE, which it has not
    run(ExitKind::control_register);
    expect_fault(general_protection, 0x1003);
    EXPECT_EQ(guest().system.cr4, 1u << 20);
}

TEST_F(InstructionExits, SetsXcr0AsOfferedAndTakesCacheControlForDone)
{
    code({0x0f, 0x01, 0xd1});
    guest().offered.xcr0 = 7;
    reg(rax) = 3;
    reg(rdx) = 0;
    run(ExitKind::set_extended_control);
    EXPECT_EQ(guest().extended_control, 3u);
    EXPECT_EQ(vcpu().registers.rip, 0x1003u);
    vcpu().registers.rip = 0x1000;
    reg(rax) = 0x10;
    run(ExitKind::set_extended_control);
    expect_fault(general_protection);
    code({0x0f, 0x09, 0x0f, 0x08});
    run(ExitKind::cache_control);
    EXPECT_EQ(vcpu().registers.rip, 0x1002u);
    run(ExitKind::cache_control);
    EXPECT_EQ(vcpu().registers.rip, 0x1004u);
}
