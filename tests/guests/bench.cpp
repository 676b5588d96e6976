// SPDX-License-Identifier: MIT
//
// What a guest's dealings with its hypervisor cost: each operation many times, between two reads of the TSC.
// Prints `BENCH operation|min|median|max|exits` in ticks, the cost of the two reads taken off; only of what
// the hypervisor offers. Ticks mean something where the TSC counts instructions (`-icount`).  Exits are those
// that the operation itself makes.
#include <algorithm>
#include <array>
#include <span>

#include "extensions/empty/empty.hpp"
#include "kit/apic.hpp"
#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/interrupts.hpp"
#include "kit/known_interfaces.hpp"
#include "kit/machine.hpp"
#include "kit/processors.hpp"

extern "C" {
/// Interrupt entries for measuring: no more than the interrupt needs.
void bench_end_interrupt();
void bench_note_time();
volatile std::uint64_t bench_noted_time;
volatile std::uint32_t bench_interrupts;
}

// x2APIC EOI is MSR 0x80b [SDM3-083 §11.12.1.2].
asm(R"(
.text
bench_end_interrupt:
    push %rax
    push %rcx
    push %rdx
    mov $0x80b, %ecx
    xor %eax, %eax
    xor %edx, %edx
    wrmsr
    incl bench_interrupts
    pop %rdx
    pop %rcx
    pop %rax
    iretq
bench_note_time:
    push %rax
    push %rdx
    rdtsc
    shl $32, %rdx
    or %rdx, %rax
    mov %rax, bench_noted_time
    pop %rdx
    pop %rax
    iretq
)");

namespace {

using namespace guest;
using hv::x86::ApicRegister;

constexpr std::size_t rounds{1000};
constexpr std::size_t warm_up{32};
constexpr std::size_t timer_rounds{100};
constexpr std::uint8_t self_vector{empty::watched_vector};
constexpr std::uint8_t timer_vector{0x42};

std::array<std::uint64_t, rounds> samples;
std::uint64_t cost_of_reading;  // of the two reads of the TSC

void report(std::string_view operation, std::span<std::uint64_t> ticks, std::string_view exits)
{
    std::sort(ticks.begin(), ticks.end());
    print_line("BENCH ", operation, '|', ticks.front(), '|', ticks[ticks.size() / 2], '|', ticks.back(), '|',
               exits);
}

template <typename Operation>
std::uint64_t time_once(Operation operation)
{
    const std::uint64_t before{read_tsc()};
    operation();
    return read_tsc() - before;
}

template <typename Operation>
void measure(std::string_view name, std::string_view exits, Operation operation)
{
    for (std::size_t round = 0; round < warm_up; ++round)
        operation();
    for (std::uint64_t& sample : samples) {
        const std::uint64_t ticks{time_once(operation)};
        sample = ticks > cost_of_reading ? ticks - cost_of_reading : 0;
    }
    report(name, samples, exits);
}

void calibrate()
{
    for (std::uint64_t& sample : samples)
        sample = time_once([] {});
    std::sort(samples.begin(), samples.end());
    cost_of_reading = samples[samples.size() / 2];
}

void measure_interface(const OfferedMsrs& msrs)
{
    if (msrs.vp_index)
        measure("read VP_INDEX (declared)", "1",
                [&] { static_cast<void>(read_msr_that_exists(*msrs.vp_index)); });
    if (msrs.eoi)
        measure("write EOI MSR (declared)", "1", [&] { write_msr_that_exists(*msrs.eoi, 0); });
    if (msrs.reference_counter)
        measure("read TIME_REF_COUNT", "1",
                [&] { static_cast<void>(read_msr_that_exists(*msrs.reference_counter)); });
    constexpr std::uint64_t no_such_call{0};
    if (const auto page = enable_hypercalls(msrs))
        measure("no-op hypercall, handler in a module", "1",
                [&] { static_cast<void>(page->call(no_such_call)); });
}

/// What stock guests never or seldom use, where the leaf offers it.
void measure_viridian()
{
    constexpr std::uint32_t tpr{0x4000'0072}, stimer0{0x4000'00b0}, counter{0x4000'0020};
    constexpr std::uint64_t direct_and_auto_enabled{1 << 3 | 1 << 12 | std::uint64_t{timer_vector} << 4};
    constexpr std::uint64_t hours{100'000'000'000};
    constexpr unsigned timers{3}, apic{4};
    const std::uint32_t features{cpuid(0x4000'0003).eax};
    if ((features >> apic & 1) != 0) {
        measure("read TPR MSR (declared)", "1", [] { static_cast<void>(read_msr_that_exists(tpr)); });
        measure("write TPR MSR (declared)", "1", [] { write_msr_that_exists(tpr, 0); });
    }
    if ((features >> timers & 1) != 0 && write_msr(stimer0, direct_and_auto_enabled)) {
        const std::uint64_t far{read_msr_that_exists(counter) + hours};
        measure("write STIMER0_COUNT (direct mode)", "1", [=] { write_msr_that_exists(stimer0 + 1, far); });
        write_msr_that_exists(stimer0, 0);
    }
}

void measure_xen_call()
{
    constexpr std::uint64_t xen_version{17};
    if (const auto page = enable_xen_page())
        measure("no-op hypercall, handler in a module", "1",
                [&] { static_cast<void>(xen_call(*page, xen_version)); });
}

/// A self-IPI, its handler and its end.
void self_interrupt()
{
    const std::uint32_t before{bench_interrupts};
    asm volatile("sti\n nop" ::: "memory");
    write_msr_that_exists(hv::x86::x2apic_msr(ApicRegister::SELF_IPI), self_vector);
    while (bench_interrupts == before)
        asm volatile("pause" ::: "memory");
    asm volatile("cli" ::: "memory");
}

/// TSC ticks of one count of the APIC's timer, times 2^20.
std::uint64_t ticks_per_count()
{
    constexpr std::uint64_t interval{20'000'000};
    constexpr std::uint32_t all{0xffff'ffff};
    apic_write(ApicRegister::DIVIDE_CONFIGURATION, 0b1011);  // by 1
    apic_write(ApicRegister::LVT_TIMER, hv::x86::LocalVector::Masked::mask | timer_vector);
    apic_write(ApicRegister::INITIAL_COUNT, all);
    const std::uint64_t begin{read_tsc()};
    const std::uint32_t first{apic_read(ApicRegister::CURRENT_COUNT)};
    while (read_tsc() - begin < interval)
        asm volatile("pause");
    const std::uint64_t elapsed{read_tsc() - begin};
    const std::uint32_t counted{first - apic_read(ApicRegister::CURRENT_COUNT)};
    apic_write(ApicRegister::INITIAL_COUNT, 0);
    return counted == 0 ? 0 : (elapsed << 20) / counted;
}

/// From the deadline to the first instruction of its interrupt.  The deadline is counted from before the
/// write that arms the timer, so that a part of that write's own cost is in the figure: it is never too
/// small.
void measure_halt()
{
    constexpr std::uint64_t wait{400'000};
    const std::uint64_t scale{ticks_per_count()};
    if (scale == 0)
        return fact("bench", "the local APIC's timer does not count");
    const auto count = static_cast<std::uint32_t>((wait << 20) / scale);
    const std::uint64_t delay{(count * scale) >> 20};
    set_raw_entry(timer_vector, reinterpret_cast<const void*>(&bench_note_time));
    apic_write(ApicRegister::LVT_TIMER, timer_vector);
    std::span<std::uint64_t> ticks{samples.data(), timer_rounds};
    for (std::uint64_t& sample : ticks) {
        const std::uint64_t armed{read_tsc()};
        apic_write(ApicRegister::INITIAL_COUNT, count);
        halt_until_interrupt();
        const std::uint64_t deadline{armed + delay};
        sample = bench_noted_time > deadline ? bench_noted_time - deadline : 0;
        apic_write(ApicRegister::EOI, 0);
    }
    report("HLT until a timer's deadline (deadline to next instruction)", ticks, "-");
}

void measure_apic()
{
    enable_xapic();
    measure("xAPIC register read (decoded)", "1", [] { static_cast<void>(apic_read(ApicRegister::TPR)); });
    if (has_x2apic()) {
        enter_x2apic();
        measure("x2APIC register read", "1", [] { static_cast<void>(apic_read(ApicRegister::TPR)); });
        set_raw_entry(self_vector, reinterpret_cast<const void*>(&bench_end_interrupt));
        measure("x2APIC self-IPI + interrupt + EOI", "2", self_interrupt);
    }
}

/// Of the module that has an empty one of each kind; what is declared beside them is the exit alone, and its answer.
void measure_hooks()
{
    auto* const page = reinterpret_cast<volatile std::uint32_t*>(std::uintptr_t{empty::mmio});
    measure("declared cpuid", "1", [] { static_cast<void>(cpuid(empty::first_leaf)); });
    measure("empty cpuid", "1", [] { static_cast<void>(cpuid(empty::first_leaf + 1)); });
    measure("declared msr_read", "1", [] { static_cast<void>(read_msr_that_exists(empty::first_msr)); });
    measure("empty msr_read", "1", [] { static_cast<void>(read_msr_that_exists(empty::first_msr + 1)); });
    measure("declared msr_write", "1", [] { write_msr_that_exists(empty::first_msr, 0); });
    measure("empty msr_write", "1", [] { write_msr_that_exists(empty::first_msr + 1, 0); });
    measure("empty hypercall", "1", [] { asm volatile("vmmcall" : : "a"(0) : "memory"); });
    measure("empty port_read", "1", [] { static_cast<void>(in8(empty::port)); });
    measure("empty port_write", "1", [] { out8(empty::port, 0); });
    measure("empty mmio_read", "1", [=] { static_cast<void>(*page); });
    measure("empty mmio_write", "1", [=] { *page = 0; });
}

void call_events(std::uint64_t number)
{
    asm volatile("vmmcall" : : "a"(number) : "memory");
}

/// The longest time between two reads of the TSC while a timer of the module's comes.
void measure_timer_hook()
{
    constexpr std::uint64_t long_enough{4 * empty::timer_delay_ns};  // a tick is a nanosecond where this means something
    std::span<std::uint64_t> ticks{samples.data(), timer_rounds};
    for (std::uint64_t& sample : ticks) {
        call_events(empty::arm_timer);
        sample = 0;
        std::uint64_t last{read_tsc()};
        for (const std::uint64_t begin = last; last - begin < long_enough;) {
            const std::uint64_t now{read_tsc()};
            sample = std::max(sample, now - last);
            last = now;
        }
    }
    report("empty timer", ticks, "1");
}

/// Of the module that has an empty one for each event; what brings the event about is in the figure.
void measure_events()
{
    measure("empty exit", "1", [] { out8(empty::watched_port, 0); });
    measure("empty hypercall", "1", [] { call_events(0); });
    measure("empty hypercall_continue", "1", [] { call_events(empty::go_on); });
    measure("empty before_entry", "1", [] { call_events(empty::kick); });
    measure("empty interrupt_window", "2", [] {
        call_events(empty::open_window);
        asm volatile("sti\n nop\n cli" ::: "memory");
    });
    measure_timer_hook();
    enable_xapic();
    if (!has_x2apic())
        return;
    enter_x2apic();
    set_raw_entry(self_vector, reinterpret_cast<const void*>(&bench_end_interrupt));
    measure("no interrupt_accepted and interrupt_ended", "2", self_interrupt);
    call_events(empty::watch);
    measure("empty interrupt_accepted and interrupt_ended", "-", self_interrupt);
}

/// What makes the hooks of the life modules run that a guest can: messages, sleeps, resets.  What is left is an operator's.
[[noreturn]] void lead_a_life()
{
    constexpr unsigned turns{5};
    constexpr std::uint32_t second{1}, by_one{0b1011}, counts{2'000'000};
    write_msr_that_exists(empty::first_life_msr, 0);
    ApicIds ids;
    static_cast<void>(ids.push_back(second));
    static_cast<void>(start_processors(ids, 0, [](unsigned) { stop_for_good(); }));
    enable_xapic();
    set_raw_entry(timer_vector, reinterpret_cast<const void*>(&bench_note_time));
    apic_write(ApicRegister::DIVIDE_CONFIGURATION, by_one);
    apic_write(ApicRegister::LVT_TIMER, timer_vector);
    for (unsigned turn = 0;; ++turn) {
        write_msr_that_exists(empty::first_life_msr + 1, 0);
        reset_processor(second);
        apic_write(ApicRegister::INITIAL_COUNT, counts);
        halt_until_interrupt();
        apic_write(ApicRegister::EOI, 0);
        if (turn == turns)
            fact("life", "ready");
    }
}

}  // namespace

extern "C" void guest_main()
{
    say_begin("bench");
    calibrate();
    if (command_word(0) == "hooks") {
        measure_hooks();
        return say_end();
    }
    if (command_word(0) == "events") {
        measure_events();
        return say_end();
    }
    if (command_word(0) == "life")
        lead_a_life();
    constexpr std::uint32_t first_leaf{0x4000'0000};
    if (block_at(0))
        measure("CPUID 0x40000000 (declared)", "1", [] { static_cast<void>(cpuid(first_leaf)); });
    if (find_block(viridian_signature)) {
        measure_interface(viridian_msrs());
        measure_viridian();
    }
    else if (find_block(novell_signature))
        measure_interface(novell_msrs());
    else
        measure_xen_call();
    measure_apic();
    constexpr std::uint16_t uart_scratch{0x3ff};
    measure("OUT to a port that somebody emulates", "1", [] { out8(uart_scratch, 0x5a); });
    measure_halt();
    say_end();
}
