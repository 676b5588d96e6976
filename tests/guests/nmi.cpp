// SPDX-License-Identifier: MIT
//
// NMIs that come while one is handled: `own` sends them to itself from inside of the handler, where they must wait until its
// IRET, or until the IRET of a fault inside of it, which ends the waiting as on any machine [APM2-3.41 §8.2.3]; `storm N` has
// a second processor send N of them, while the first computes and its handler faults.
#include <atomic>

#include "kit/apic.hpp"
#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/interrupts.hpp"
#include "kit/machine.hpp"
#include "kit/processors.hpp"

namespace {

using namespace guest;
using hv::x86::ApicRegister;

constexpr std::uint8_t nmi_vector{2};

std::atomic<unsigned> taken, deepest;
unsigned depth;

/// What the handler does the next time, once.
enum class Inside { nothing, send, send_and_fault };
Inside inside{Inside::nothing};
unsigned taken_before_end, taken_before_fault;

void send_nmi(std::uint32_t to)
{
    constexpr std::uint32_t nmi{4u << 8}, assert_level{1u << 14};
    apic_write(ApicRegister::ICR_HIGH, to << 24);
    apic_write(ApicRegister::ICR_LOW, nmi | assert_level);
}

/// Leaves the guest, again and again: each time something that waits might come.
void exit_often()
{
    for (unsigned round = 0; round < 50; ++round)
        static_cast<void>(apic_read(ApicRegister::ID));
}

/// The IRET of its handler ends what holds NMIs back.
bool fault()
{
    std::uint32_t faulted{};
    asm volatile(GUEST_FIXUP_BEGIN "ud2" GUEST_FIXUP_END : [faulted] "+r"(faulted)::"memory");
    return faulted != 0;
}

void on_nmi(InterruptFrame&)
{
    taken.fetch_add(1);
    if (++depth > deepest.load())
        deepest.store(depth);
    if (const Inside now = inside; now != Inside::nothing) {
        inside = Inside::nothing;
        send_nmi(0);
        send_nmi(0);
        exit_often();
        taken_before_fault = taken.load();
        if (now == Inside::send_and_fault) {
            fault();
            exit_often();
        }
        taken_before_end = taken.load();
    }
    --depth;
}

void begin(Inside what)
{
    taken.store(0);
    deepest.store(0);
    inside = what;
}

void send_from_inside()
{
    begin(Inside::nothing);
    send_nmi(0);
    expect_equal("one-is-taken-at-once", 1, taken.load());

    begin(Inside::send);
    send_nmi(0);
    exit_often();
    expect_equal("held-until-the-handlers-end", 1, taken_before_end);
    expect_equal("two-that-wait-are-one", 2, taken.load());
    expect_equal("none-inside-another", 1, deepest.load());

    begin(Inside::send);
    asm volatile("sti");
    send_nmi(0);
    const unsigned at_once{taken.load()};
    asm volatile("cli");
    expect_equal("with-interrupts-on-it-comes-at-once", 2, at_once);

    begin(Inside::send_and_fault);
    send_nmi(0);
    exit_often();
    expect_equal("held-until-a-fault-returns", 1, taken_before_fault);
    expect_equal("the-fault-lets-it-in", 2, taken_before_end);
    expect_equal("inside-of-the-first", 2, deepest.load());
    expect_equal("and-both-return", 2, taken.load());
    expect_equal("to-where-they-came", 0, depth);

    begin(Inside::nothing);
    send_nmi(0);
    expect_equal("the-next-is-taken-as-ever", 1, taken.load());
}

// ---- a storm

unsigned long long storm_length;
std::atomic<bool> storm_over;

void storm(unsigned)
{
    for (unsigned long long sent = 0; sent < storm_length; ++sent) {
        send_nmi(0);
        for (unsigned pause = 0; pause < sent % 64; ++pause)
            asm volatile("pause");
    }
    storm_over.store(true);
}

void on_storm_nmi(InterruptFrame&)
{
    const unsigned number = taken.fetch_add(1);
    if (++depth > deepest.load())
        deepest.store(depth);
    if (number % 2 == 0 && depth < 8) {
        if (!fault())
            stop_for_good();
        exit_often();
    }
    --depth;
}

/// The same sum over and over, which an interrupted register or stack word would spoil.
std::uint64_t compute()
{
    std::uint64_t sum{};
    for (std::uint64_t step = 1; step <= 20'000; ++step)
        sum = sum * 6364136223846793005ull + step;
    return sum;
}

void stand_a_storm(unsigned long long length)
{
    begin(Inside::nothing);
    storm_length = length;
    const std::uint64_t right{compute()};
    set_handler(nmi_vector, on_storm_nmi);
    const ApicIds ids{madt_processors()};
    expect_equal("second-processor", 1, start_processors(ids, 0, storm));
    unsigned wrong{};
    while (!storm_over.load())
        wrong += compute() != right ? 1 : 0;
    exit_often();
    expect_equal("nothing-is-spoilt", 0, wrong);
    expect_equal("all-have-returned", 0, depth);
    expect("some-are-taken-and-none-invented", taken.load() > 0 && taken.load() <= length);
    fact("storm", taken.load(), " of ", length, " taken, up to ", deepest.load(), " inside each other");
}

}  // namespace

extern "C" void guest_main()
{
    say_begin("nmi");
    enable_xapic();
    set_handler(nmi_vector, on_nmi);
    const std::string_view what{command_word(0)};
    if (what == "own")
        send_from_inside();
    else if (what == "storm")
        stand_a_storm(parse_number(command_word(1)).value_or(1000));
    else
        fact("nmi", "FAILED, '", what, "' is none of own, storm N");
    say_end();
}
