// SPDX-License-Identifier: MIT
//
// The synthetic interrupt controller and the synthetic timers as a guest finds them, in all that stock kernels never use: messages by
// every source, queues, auto-EOI, masking, polling, timers of each mode.  It knows the specification alone and would say the
// same on any hypervisor that offers the interface. Specification: [TLFS-6.0b §11, §12.3].
#include "hv/x86/local_apic.hpp"
#include "kit/apic.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/interrupts.hpp"
#include "kit/machine.hpp"

namespace {

using namespace guest;
using hv::x86::ApicRegister;

constexpr std::uint32_t reference_count{0x4000'0020};
constexpr std::uint32_t scontrol{0x4000'0080};
constexpr std::uint32_t simp{0x4000'0083};
constexpr std::uint32_t end_of_message{0x4000'0084};
constexpr std::uint32_t sint0{0x4000'0090};
constexpr std::uint32_t stimer0{0x4000'00b0};
constexpr unsigned sints{16};
constexpr unsigned timers{4};
constexpr std::uint32_t timer_expired{0x8000'0010};
constexpr std::uint64_t ms{10'000};  ///< of reference time
constexpr std::uint64_t patience{5'000 * ms};  ///< with what must come: a slow machine takes its time
constexpr std::uint64_t masked{1 << 16};
constexpr std::uint64_t auto_eoi{1 << 17};
constexpr std::uint64_t polling{1 << 18};
constexpr std::uint64_t enabled{1}, periodic{2}, lazy{4}, auto_enable{8}, direct_mode{1 << 12};
constexpr std::uint8_t vector{0x50};

struct Message {
    volatile std::uint32_t type;
    volatile std::uint8_t bytes;
    volatile std::uint8_t flags;
    volatile std::uint16_t reserved;
    volatile std::uint64_t origin;
    volatile std::uint32_t timer;
    volatile std::uint32_t reserved_2;
    volatile std::uint64_t expiration;
    volatile std::uint64_t delivery;
    volatile std::uint64_t rest[27];
};
static_assert(sizeof(Message) == 256);
alignas(4096) Message messages[sints];

volatile unsigned interrupts;
volatile std::uint8_t last_vector;
volatile bool in_service;
bool ends{true};  ///< the handler writes EOI

std::uint64_t now()
{
    return read_msr_that_exists(reference_count);
}

void took(InterruptFrame& frame)
{
    interrupts = interrupts + 1;
    last_vector = static_cast<std::uint8_t>(frame.vector);
    const auto group = static_cast<ApicRegister>(static_cast<std::uint32_t>(ApicRegister::ISR) + (frame.vector / 32) * 16);
    in_service = (apic_read(group) >> frame.vector % 32 & 1) != 0;
    if (ends)
        apic_write(ApicRegister::EOI, 0);
}

/// With interrupts on, until `wanted` have come or `units` have gone by; how many came.
unsigned wait(unsigned wanted, std::uint64_t units = patience)
{
    const unsigned before{interrupts};
    const std::uint64_t begin{now()};
    asm volatile("sti" ::: "memory");
    while (interrupts - before < wanted && now() - begin < units)
        asm volatile("pause");
    asm volatile("cli" ::: "memory");
    return interrupts - before;
}


void set_source(unsigned sint, std::uint64_t value)
{
    write_msr_that_exists(sint0 + sint, value);
}

void set_timer(unsigned timer, std::uint64_t config, std::uint64_t count)
{
    write_msr_that_exists(stimer0 + 2 * timer, 0);
    write_msr_that_exists(stimer0 + 2 * timer + 1, count);
    write_msr_that_exists(stimer0 + 2 * timer, config);
}
std::uint64_t config_of(unsigned timer)
{
    return read_msr_that_exists(stimer0 + 2 * timer);
}
/// Until a one-shot timer has expired.
void let_expire(unsigned timer)
{
    const std::uint64_t begin{now()};
    while ((config_of(timer) & enabled) != 0 && now() - begin < patience)
        asm volatile("pause");
}
void stop_timers()
{
    for (unsigned timer = 0; timer < timers; ++timer)
        write_msr_that_exists(stimer0 + 2 * timer, 0);
}
constexpr std::uint64_t to(unsigned sint)
{
    return std::uint64_t{sint} << 16;
}
constexpr std::uint64_t direct(std::uint8_t of)
{
    return direct_mode | std::uint64_t{of} << 4;
}

/// Empties the slot; true where the guest must say so.
bool take(unsigned sint)
{
    messages[sint].type = 0;
    asm volatile("mfence" ::: "memory");
    return (messages[sint].flags & 1) != 0;
}

void say_taken()
{
    write_msr_that_exists(end_of_message, 0);
}

bool is_message(unsigned sint, unsigned timer, std::uint64_t expiration)
{
    const Message& message = messages[sint];
    return message.type == timer_expired && message.bytes == 24 && message.timer == timer && message.origin == 0 &&
           message.expiration == expiration && message.delivery >= expiration && message.delivery <= now();
}

void try_registers()
{
    expect("scontrol-at-start", read_msr(scontrol) == 0u);
    expect("sversion", read_msr(scontrol + 1) == 1u);
    expect("sversion-read-only", !write_msr(scontrol + 1, 1));
    expect("eom-reads-zero", read_msr(end_of_message) == 0u);
    bool all_masked{true};
    for (unsigned sint = 0; sint < sints; ++sint)
        all_masked = all_masked && read_msr(sint0 + sint) == masked;
    expect("sints-masked-at-start", all_masked);
    expect("sint-illegal-vector-refused", !write_msr(sint0 + 2, 15));
    expect("sint-reserved-bits-refused", !write_msr(sint0 + 2, 1ull << 19 | vector));
    expect("stimer-reserved-bits-refused", !write_msr(stimer0, 1ull << 13) && !write_msr(stimer0, 1ull << 20));
    expect("registers-beyond-refused", !read_msr(sint0 + 16) && !read_msr(stimer0 + 8));
}

/// The class of bug: a page of messages that was never enabled when a timer fires.
void try_without_page()
{
    set_source(2, vector);
    write_msr_that_exists(scontrol, 1);
    const std::uint64_t expiration{now() + 2 * ms};
    set_timer(0, enabled | to(2), expiration);
    let_expire(0);
    expect_equal("no-page-no-interrupt", 0, wait(1, 5 * ms));
    write_msr_that_exists(simp, reinterpret_cast<std::uint64_t>(&messages[0]) | 1);
    expect("page-enabled-late-gets-it", is_message(2, 0, expiration) && wait(1) == 1);
    take(2);
    say_taken();
}

void try_every_source()
{
    unsigned good{};
    for (unsigned sint = 1; sint < sints; ++sint) {
        const auto own = static_cast<std::uint8_t>(0x60 + sint);
        set_handler(own, took);
        set_source(sint, own);
        const std::uint64_t expiration{now() + ms};
        set_timer(sint % timers, enabled | to(sint), expiration);
        if (wait(1) == 1 && last_vector == own && is_message(sint, sint % timers, expiration) && !take(sint) &&
            (config_of(sint % timers) & enabled) == 0)
            ++good;
        set_source(sint, masked);
    }
    expect_equal("messages-by-all-sources", 15, good);
    set_source(0, vector);
    set_timer(0, enabled, now() + ms);
    expect_equal("a-timer-for-source-0-is-disabled", 0, config_of(0) & enabled);
    set_source(0, masked);
}

/// All four timers of one source expire while nobody takes their messages.
void try_queue()
{
    constexpr std::uint64_t apart{50 * ms};  // more than a machine mostly takes to set them all
    set_source(2, vector);
    std::uint64_t begin;
    for (bool in_time = false; !in_time;) {
        begin = now();
        for (unsigned timer = 0; timer < timers; ++timer)
            set_timer(timer, enabled | to(2), begin + (timers - timer) * apart);
        in_time = now() < begin + apart;
        for (unsigned timer = 0; timer < timers; ++timer)
            let_expire(timer);
        for (unsigned round = 0; !in_time && round < timers; ++round) {  // too slow: again
            take(2);
            say_taken();
        }
    }
    unsigned in_order{}, flagged{};
    for (unsigned round = 0; round < timers; ++round) {
        in_order += is_message(2, timers - 1 - round, begin + (round + 1) * apart) ? 1 : 0;
        flagged += take(2) ? 1 : 0;
        say_taken();
    }
    expect_equal("queued-messages-in-order", timers, in_order);
    expect_equal("all-but-the-last-say-that-more-is-to-come", timers - 1, flagged);
    expect_equal("queue-is-empty", 0, messages[2].type);
    wait(1, ms);
}

/// Without a word to EOM: the end of the interrupt is enough.
void try_end_of_interrupt()
{
    ends = false;
    const std::uint64_t begin{now()};
    set_timer(0, enabled | to(2), begin + 20 * ms);
    set_timer(1, enabled | to(2), begin + 40 * ms);
    expect_equal("first-of-two", 1, wait(1));
    let_expire(1);
    expect("first-is-there", is_message(2, 0, begin + 20 * ms));
    take(2);
    apic_write(ApicRegister::EOI, 0);
    ends = true;
    expect("second-comes-by-the-end-of-the-interrupt", wait(1) == 1 && is_message(2, 1, begin + 40 * ms));
    take(2);
}

void try_auto_eoi()
{
    ends = false;
    set_source(2, vector | auto_eoi);
    unsigned came{}, still_in_service{};
    for (unsigned round = 0; round < 3; ++round) {
        set_timer(0, enabled | to(2), now() + ms);
        came += wait(1);
        still_in_service += in_service ? 1 : 0;
        take(2);
    }
    expect_equal("auto-eoi-lets-the-next-come", 3, came);
    expect_equal("auto-eoi-leaves-nothing-in-service", 0, still_in_service);
    ends = true;
    set_source(2, vector);
    set_timer(0, enabled | to(2), now() + ms);
    expect("without-auto-eoi-it-is-in-service", wait(1) == 1 && in_service);
    take(2);
}

void try_quiet_sources()
{
    for (const std::uint64_t quiet : {masked, polling}) {
        set_source(2, quiet | vector);
        const std::uint64_t expiration{now() + ms};
        set_timer(0, enabled | to(2), expiration);
        let_expire(0);
        const unsigned came{wait(1, 2 * ms)};
        expect(quiet == masked ? "masked-source-gets-its-message-quietly" : "polled-source-gets-its-message-quietly",
               came == 0 && is_message(2, 0, expiration));
        take(2);
    }
    set_source(2, vector);
}

void try_direct_mode()
{
    set_timer(0, auto_enable | direct(vector), 0);
    write_msr_that_exists(stimer0 + 1, now() + 100 * patience);  // not while this guest looks
    expect("auto-enable", (config_of(0) & enabled) != 0);
    const std::uint64_t expiration{now() + 50 * ms};
    write_msr_that_exists(stimer0 + 1, expiration);
    expect("direct-one-shot", wait(1) == 1 && now() >= expiration);
    expect_equal("direct-one-shot-is-disabled-then", 0, config_of(0) & enabled);
    expect_equal("and-comes-once", 0, wait(1, 5 * ms));
    set_timer(1, enabled | direct(vector), now() - 1);
    expect_equal("an-expiration-in-the-past-comes-at-once", 1, wait(1));
    set_timer(1, enabled | direct(15), now() + ms);
    expect_equal("an-illegal-vector-disables", 0, config_of(1) & enabled);
    for (bool in_time = false; !in_time; wait(in_time ? 0 : 1, ms)) {
        const std::uint64_t due{now() + 50 * ms};
        set_timer(1, enabled | direct(vector), due);
        write_msr_that_exists(stimer0 + 3, 0);
        in_time = now() < due;  // else it came before it was stopped: again
    }
    expect("a-count-of-zero-stops", wait(1, 60 * ms) == 0 && (config_of(1) & enabled) == 0);
}

void try_periods()
{
    for (const std::uint64_t kind : {std::uint64_t{0}, lazy}) {
        const std::uint64_t begin{now()};
        set_timer(0, enabled | periodic | kind | direct(vector), 2 * ms);
        const unsigned came{wait(10)};
        const std::uint64_t took_units{now() - begin};
        expect(kind == 0 ? "direct-periodic" : "direct-periodic-lazy",
               came >= 10 && took_units >= 20 * ms && (config_of(0) & enabled) != 0);
        stop_timers();
        wait(1, ms);
    }
    set_timer(0, enabled | periodic | to(2), 2 * ms);
    unsigned good{};
    std::uint64_t last{};
    for (unsigned round = 0; round < 5; ++round) {
        wait(1);
        good += messages[2].type == timer_expired && (last == 0 || (messages[2].expiration - last) % (2 * ms) == 0) ? 1 : 0;
        last = messages[2].expiration;
        if (take(2))
            say_taken();
    }
    expect_equal("periodic-messages-a-period-apart", 5, good);
    stop_timers();
    take(2);
    say_taken();
    wait(1, ms);
}

/// The class of bug: a periodic timer of zero length, or of one that nobody can keep.
void try_no_period()
{
    set_timer(0, enabled | periodic | direct(vector), 0);
    expect_equal("a-period-of-zero-is-harmless", 0, wait(1, 5 * ms));
    set_timer(0, enabled | periodic | auto_enable | to(2), 0);
    expect_equal("and-with-messages", 0, wait(1, 5 * ms));
    set_timer(0, enabled | periodic | direct(vector), 1);
    const unsigned came{wait(~0u, 20 * ms)};
    stop_timers();
    expect("a-period-that-cannot-be-met-skips", came >= 1 && came <= 210);
    set_timer(0, enabled | periodic | direct(vector), ~0ull);
    expect_equal("an-endless-period-never-comes", 0, wait(1, 5 * ms) > 1);
    stop_timers();
}

void try_everything()
{
    set_handler(vector, took);
    enable_xapic();
    try_registers();
    try_without_page();
    try_every_source();
    try_queue();
    try_end_of_interrupt();
    try_auto_eoi();
    try_quiet_sources();
    try_direct_mode();
    try_periods();
    try_no_period();
}

}  // namespace

extern "C" void guest_main()
{
    constexpr std::uint32_t synic_and_timers{0xc};  // CPUID 0x40000003 EAX
    say_begin("viridian-synic");
    const auto block = find_block(viridian_signature);
    if (block && (cpuid(block->base + 3).eax & synic_and_timers) == synic_and_timers)
        try_everything();
    else
        fact("viridian-synic", "absent");
    say_end();
}
