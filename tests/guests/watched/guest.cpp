// SPDX-License-Identifier: MIT
//
// Does what each subscription of the module in this folder is about, and judges what the guest itself saw and what the module
// was shown.
#include "watched.hpp"

#include "hv/x86/msr.hpp"
#include "kit/apic.hpp"
#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/interrupts.hpp"
#include "kit/machine.hpp"

namespace {

using namespace guest;

enum Kind : std::uint32_t { by_cpuid = 1, by_msr, by_port, by_exception, by_control, by_halt = 7, by_pause, by_tsc, by_invlpg };

constexpr std::uint32_t kernel_gs_base{0xc000'0102};
constexpr std::uint8_t timer_vector{0x42};
std::uint32_t own_leaf, own_msr;
volatile unsigned interrupts;

CpuidResult shown(Kind kind) { return cpuid(own_leaf, kind); }

void watch(watched::Condition condition, bool on)
{
    expect("condition", write_msr(own_msr, condition | (on ? watched::switch_on : 0)));
}

/// How many more exits of a kind the module is shown by an action.
template <typename Action>
std::uint32_t shown_by(Kind kind, Action action)
{
    const std::uint32_t before{shown(kind).eax};
    action();
    return shown(kind).eax - before;
}

void try_cpuid()
{
    CpuidResult answer{};
    expect_equal("cpuid-instead-shown", 1, shown_by(by_cpuid, [&] { answer = cpuid(watched::answered_leaf); }));
    expect_equal("cpuid-instead", watched::leaf_answer, answer.eax);
    expect_equal("cpuid-after-shown", 1, shown_by(by_cpuid, [&] { answer = cpuid(watched::counted_leaf); }));
    expect("cpuid-after", answer.eax != watched::leaf_answer);
    expect_equal("cpuid-number", watched::counted_leaf, shown(by_cpuid).ebx);
    expect_equal("cpuid-other-leaf", 0, shown_by(by_cpuid, [] { cpuid(0x8000'0000); }));
}

void try_msrs()
{
    expect("msr-instead", write_msr(watched::answered_msr, 0x77) && read_msr(watched::answered_msr) == 0x77u);
    expect("msr-not-there", !read_msr(watched::answered_msr + 1));
    const auto access = [] {
        write_msr_that_exists(kernel_gs_base, 0x1234'5000);
        expect_equal("msr-passed-on", 0x1234'5000, read_msr_that_exists(kernel_gs_base));
    };
    expect_equal("msr-unwatched", 0, shown_by(by_msr, access));
    watch(watched::segment_bases, true);
    expect_equal("msr-watched", 2, shown_by(by_msr, access));
    expect_equal("msr-number", kernel_gs_base, shown(by_msr).ebx);
    watch(watched::segment_bases, false);
    expect_equal("msr-unwatched-again", 0, shown_by(by_msr, access));
}

void try_ports()
{
    expect_equal("port-instead", watched::port_answer, in8(watched::answered_port));
    expect_equal("port-write-shown", 1, shown_by(by_port, [] { out8(0x80, 0x33); }));
    expect_equal("port-value", 0x33, shown(by_port).ecx);
    expect_equal("port-read-not-shown", 0, shown_by(by_port, [] { in8(0x80); }));
}

std::uint32_t fault(auto instruction)
{
    std::uint32_t faulted{};
    instruction(faulted);
    return faulted != 0 ? last_fixed_vector() : 256;
}

void try_exceptions()
{
    const auto undefined = [](std::uint32_t& faulted) {
        asm volatile(GUEST_FIXUP_BEGIN "ud2" GUEST_FIXUP_END : [faulted] "+r"(faulted)::"memory");
    };
    const auto divide = [](std::uint32_t& faulted) {
        std::uint32_t low{1}, high{0};
        asm volatile(GUEST_FIXUP_BEGIN "divl %[zero]" GUEST_FIXUP_END
                     : [faulted] "+r"(faulted), "+a"(low), "+d"(high)
                     : [zero] "r"(0u)
                     : "memory");
    };
    constexpr std::uint64_t unmapped{0x20'0000'0008};
    const auto touch = [](std::uint32_t& faulted) {
        asm volatile(GUEST_FIXUP_BEGIN "movb $1, (%[to])" GUEST_FIXUP_END
                     : [faulted] "+r"(faulted)
                     : [to] "r"(unmapped)
                     : "memory");
    };
    std::uint32_t vector{};
    expect_equal("undefined-shown", 1, shown_by(by_exception, [&] { vector = fault(undefined); }));
    expect_equal("undefined-raised", 6, vector);
    expect_equal("page-fault-shown", 1, shown_by(by_exception, [&] { vector = fault(touch); }));
    expect_equal("page-fault-raised", 14, vector);
    expect_equal("page-fault-error", 2, shown(by_exception).ecx);
    std::uint64_t address;
    asm volatile("mov %%cr2, %0" : "=r"(address));
    expect_equal("page-fault-address", unmapped, address);
    expect_equal("divide-shown", 1, shown_by(by_exception, [&] { vector = fault(divide); }));
    expect_equal("divide-replaced", 13, vector);
}

void try_control_registers()
{
    const auto reload = [] {
        std::uint64_t space, features;
        asm volatile("mov %%cr3, %0\n mov %0, %%cr3\n mov %%cr4, %1\n mov %1, %%cr4" : "=&r"(space), "=&r"(features)::"memory");
        expect("control-registers-work", space == read_cr3());
    };
    expect_equal("control-unwatched", 0, shown_by(by_control, reload));
    watch(watched::address_spaces, true);
    expect_equal("control-watched", 5, shown_by(by_control, reload));
    expect_equal("control-number", 3, shown(by_control).ebx);
    watch(watched::address_spaces, false);
}

void take_interrupt(InterruptFrame&)
{
    interrupts = interrupts + 1;
    apic_write(hv::x86::ApicRegister::EOI, 0);
}

/// A halt that the local APIC's timer ends, long after the polls.
void halt_for_a_while()
{
    apic_write(hv::x86::ApicRegister::INITIAL_COUNT, 100'000'000);
    const unsigned before{interrupts};
    while (interrupts == before)
        halt_until_interrupt();
}

void try_halts()
{
    set_handler(timer_vector, take_interrupt);
    enable_xapic();
    apic_write(hv::x86::ApicRegister::LVT_TIMER, timer_vector);
    expect_equal("halt-unwatched", 0, shown_by(by_halt, halt_for_a_while));
    watch(watched::halts, true);
    std::uint32_t asked{};
    for (unsigned round = 0; round < 10 && asked != watched::polls_of_halt + 1; ++round)
        asked = shown_by(by_halt, halt_for_a_while);  // fewer where a busy host let the timer come first
    expect_equal("halt-polled", watched::polls_of_halt + 1, asked);
    watch(watched::halts, false);
}

void try_the_rest()
{
    const auto pause = [] { asm volatile("pause\n pause\n pause\n pause\n pause"); };
    expect_equal("pause-unwatched", 0, shown_by(by_pause, pause));
    watch(watched::pauses, true);
    expect_equal("pause-watched", 5, shown_by(by_pause, pause));
    watch(watched::pauses, false);

    expect("clock-unwatched", read_tsc() != watched::clock_answer);
    watch(watched::clocks, true);
    expect_equal("clock-instead", watched::clock_answer, read_tsc());
    watch(watched::clocks, false);
    expect("clock-goes-on", read_tsc() != watched::clock_answer);

    const auto invalidate = [] { asm volatile("invlpg (%0)" ::"r"(0x10'0000ull) : "memory"); };
    expect_equal("invlpg-unwatched", 0, shown_by(by_invlpg, invalidate));
    watch(watched::translations, true);
    expect_equal("invlpg-watched", 1, shown_by(by_invlpg, invalidate));
    watch(watched::translations, false);
}

}  // namespace

extern "C" void guest_main()
{
    say_begin("watched");
    if (const auto block = find_block("WatchedExits")) {
        own_leaf = block->base + watched::leaf_shown;
        own_msr = cpuid(block->base + watched::leaf_place).eax;
        try_cpuid();
        try_msrs();
        try_ports();
        try_exceptions();
        try_control_registers();
        try_halts();
        try_the_rest();
    }
    say_end();
}
