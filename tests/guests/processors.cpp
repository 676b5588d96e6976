// SPDX-License-Identifier: MIT
//
// What processors keep: `ids` starts all of them and compares the APIC ids that each finds with the MADT; `vectors N` keeps
// vector registers and MXCSR through N rounds on all of them at once, however they are moved and share; `clock TICKS` looks for
// that many ticks of the time-stamp counter whether it ever leaps, and whether a periodic timer keeps its pace; `idle`
// waits for an interrupt that never comes.
#include <array>
#include <atomic>
#include <cstring>

#include "kit/apic.hpp"
#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/interrupts.hpp"
#include "kit/machine.hpp"
#include "kit/processors.hpp"

#include "hv/x86/msr.hpp"

namespace {

using namespace guest;
using hv::x86::ApicRegister;

/// The same id as four sources give it.
struct Identity {
    std::uint32_t initial, extended, xapic, x2apic;
};

std::array<Identity, maximum_processors> identities;
std::atomic<unsigned> reported;

Identity identify()
{
    Identity found{};
    found.initial = cpuid(1).ebx >> 24;
    found.extended = cpuid(0xb).edx;
    found.xapic = apic_read(ApicRegister::ID) >> 24;
    constexpr auto base = static_cast<std::uint32_t>(hv::x86::Msr::APIC_BASE);
    write_msr_that_exists(base, read_msr_that_exists(base) | hv::x86::ApicBase::EXTD::mask);
    found.x2apic = static_cast<std::uint32_t>(read_msr_that_exists(hv::x86::x2apic_msr(ApicRegister::ID)));
    return found;
}

void report_identity(unsigned number)
{
    identities[number] = identify();
    reported.fetch_add(1);
}

bool agrees(const Identity& found, std::uint32_t id)
{
    return found.initial == id && found.extended == id && found.xapic == id && found.x2apic == id;
}

void wait_for(const std::atomic<unsigned>& counter, unsigned count)
{
    while (counter.load() < count)
        asm volatile("pause");
}

/// Those that are started get their numbers in the order of starting, which is the MADT's.
void compare_ids()
{
    const ApicIds ids{madt_processors()};
    fact("madt-processors", ids.size());
    const std::uint32_t own{cpuid(1).ebx >> 24};
    const unsigned started{start_processors(ids, own, report_identity)};
    fact("processors", started + 1);
    expect_equal("all-started", ids.size(), started + 1);
    wait_for(reported, started);
    bool agree{agrees(identify(), own)};
    unsigned number{};
    for (const std::uint32_t id : ids)
        if (id != own && number < started && !agrees(identities[number++], id)) {
            fact("processor-id", "FAILED for ", id);
            agree = false;
        }
    expect("processor-ids", agree);
}

// ---- vector registers

constexpr unsigned vector_bytes{16 * 32};
std::uint64_t rounds_wanted;
std::atomic<unsigned> kept, lost;

bool has_vectors()
{
    constexpr std::uint32_t avx_and_xsave{1u << 28 | 1u << 26};  // CPUID Fn0000_0001 ECX
    return (cpuid(1).ecx & avx_and_xsave) == avx_and_xsave;
}

/// CR4.OSFXSR, OSXMMEXCPT and OSXSAVE, and XCR0 for x87, SSE and AVX [APM2-3.41 §11.5].
void enable_vectors()
{
    std::uint64_t cr4;
    asm volatile("mov %%cr4, %0" : "=r"(cr4));
    asm volatile("mov %0, %%cr4" ::"r"(cr4 | 1u << 9 | 1u << 10 | 1u << 18));
    asm volatile("xsetbv" ::"c"(0), "a"(7), "d"(0));
}

/// Loads all sixteen registers and MXCSR, computes for a while, and stores what they are then.
void through_registers(const std::uint8_t* from, std::uint8_t* to, std::uint32_t control, std::uint32_t& control_after)
{
    std::uint64_t spins{2'000'000};
    asm volatile("ldmxcsr %[control]\n"
                 ".set at, 0\n"
                 ".irp register, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
                 "vmovdqu at(%[from]), %%ymm\\register\n"
                 ".set at, at + 32\n"
                 ".endr\n"
                 "1: dec %[spins]\n"
                 "jnz 1b\n"
                 ".set at, 0\n"
                 ".irp register, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
                 "vmovdqu %%ymm\\register, at(%[to])\n"
                 ".set at, at + 32\n"
                 ".endr\n"
                 "stmxcsr %[after]\n"
                 : [spins] "+r"(spins), [after] "=m"(control_after)
                 : [from] "r"(from), [to] "r"(to), [control] "m"(control)
                 : "memory");
}

void keep_vectors(unsigned number)
{
    constexpr std::uint32_t reset_control{0x1f80};
    enable_vectors();
    std::array<std::uint8_t, vector_bytes> pattern{}, found{};
    for (std::uint64_t round = 0; round < rounds_wanted; ++round) {
        for (unsigned at = 0; at < vector_bytes; ++at)
            pattern[at] = static_cast<std::uint8_t>(number * 37 + round * 11 + at * 3 + 1);
        const auto rounding = static_cast<std::uint32_t>((number + round) & 3) << 13;
        std::uint32_t control{};
        through_registers(pattern.data(), found.data(), reset_control | rounding, control);
        if (pattern != found || control != (reset_control | rounding))
            lost.fetch_add(1);
    }
    kept.fetch_add(1);
}

void keep_vectors_everywhere(std::uint64_t rounds)
{
    if (!has_vectors())
        return expect("vector-state", false);
    rounds_wanted = rounds;
    const ApicIds ids{madt_processors()};
    const unsigned started{start_processors(ids, cpuid(1).ebx >> 24, keep_vectors)};
    expect_equal("all-started", ids.size(), started + 1);
    keep_vectors(started);
    wait_for(kept, started + 1);
    fact("vector-rounds", rounds, " on ", started + 1);
    expect_equal("vector-state", 0, lost.load());
}

// ---- time

std::atomic<std::uint64_t> timer_interrupts;
constexpr std::uint8_t timer_vector{0x40};

void count_timer(InterruptFrame&)
{
    timer_interrupts.fetch_add(1);
    apic_write(ApicRegister::EOI, 0);
}

/// The timer's clock is one sixteenth of the counter's, as this machine's local APIC has it: measured first.
void watch_clock(std::uint64_t ticks)
{
    constexpr std::uint32_t divide_by_one{0xb}, masked{1u << 16}, periodic{1u << 17}, count{500'000};
    apic_write(ApicRegister::DIVIDE_CONFIGURATION, divide_by_one);
    apic_write(ApicRegister::LVT_TIMER, masked | timer_vector);
    apic_write(ApicRegister::INITIAL_COUNT, ~0u);
    const std::uint64_t begin{read_tsc()};
    while (read_tsc() - begin < 10'000'000)
        asm volatile("");
    const std::uint64_t ratio{(read_tsc() - begin + 5'000'000 / 16) / (~0u - apic_read(ApicRegister::CURRENT_COUNT))};
    set_handler(timer_vector, count_timer);
    apic_write(ApicRegister::LVT_TIMER, periodic | timer_vector);
    apic_write(ApicRegister::INITIAL_COUNT, count);
    fact("clock", "start, ", ratio, " ticks a count");
    std::uint64_t last{read_tsc()}, longest{};
    const std::uint64_t end{last + ticks};
    asm volatile("sti");
    while (last < end) {
        const std::uint64_t now{read_tsc()};
        longest = now - last > longest ? now - last : longest;
        last = now;
    }
    asm volatile("cli");
    const std::uint64_t expected{ticks / (ratio * count)};
    fact("clock-longest-gap", longest);
    fact("clock-interrupts", timer_interrupts.load(), " of ", expected);
    expect("clock-never-leaps", longest < ticks / 4);
    expect("clock-timer-keeps-pace",
           timer_interrupts.load() + expected / 20 + 2 >= expected && timer_interrupts.load() <= expected + 1);
}

[[noreturn]] void sleep_for_ever()
{
    fact("idle", "waits");
    for (;;)
        halt_until_interrupt();
}

}  // namespace

extern "C" void guest_main()
{
    say_begin("processors");
    enable_xapic();
    const std::string_view what{command_word(0)};
    const auto number = parse_number(command_word(1));
    if (what == "ids")
        compare_ids();
    else if (what == "vectors")
        keep_vectors_everywhere(number.value_or(100));
    else if (what == "clock")
        watch_clock(number.value_or(1'000'000'000));
    else if (what == "idle")
        sleep_for_ever();
    else
        fact("processors", "FAILED, '", what, "' is none of ids, vectors N, clock TICKS, idle");
    say_end();
}
