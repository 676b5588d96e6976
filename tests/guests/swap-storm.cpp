// SPDX-License-Identifier: MIT
//
// Uses an interface without a pause on all its processors and judges every answer, while somebody swaps the
// extension under it: MSRs, calls through the hypercall page, two overlays, reference time, timer interrupts
// that are ended by the interface's own EOI, or lazily.  With tests/extensions/viridian-probe also: calls that give way,
// and pairs of timers of which each fires once and in order.  A line now and then says how far it is; it never ends by itself.
#include <atomic>
#include <cstring>

#include "hv/x86/local_apic.hpp"
#include "kit/apic.hpp"
#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/interrupts.hpp"
#include "kit/known_interfaces.hpp"
#include "kit/machine.hpp"
#include "kit/processors.hpp"

namespace {

using namespace guest;
using hv::x86::ApicRegister;

// Numbers as the interface's specification fixes them [TLFS-6.0b appendix C].
constexpr std::uint32_t vp_index{0x4000'0002};
constexpr std::uint32_t reference_count{0x4000'0020};
constexpr std::uint32_t reference_tsc{0x4000'0021};
constexpr std::uint32_t end_of_interrupt{0x4000'0070};
constexpr std::uint32_t assist_page{0x4000'0073};
constexpr std::uint32_t crash_parameter{0x4000'0100};
constexpr std::uint64_t no_such_call{0x7777};
constexpr std::uint64_t long_spin_wait{1ull << 16 | 0x8};  // HvCallNotifyLongSpinWait, fast
constexpr std::uint64_t invalid_code{2};

// Of viridian-probe.
constexpr std::uint32_t arm_timers{0x4000'0110};
constexpr std::uint32_t timers_fired{0x4000'0111};
constexpr std::uint64_t giving_call{0x7f01};
constexpr std::uint64_t ways_given{1'000};
constexpr std::uint64_t timer_ns{100'000'000};

constexpr unsigned processors{4};
constexpr std::uint32_t timer_count{20'000};
constexpr std::uint8_t timer_vector{0x60};

alignas(4096) unsigned char tsc_page[4096];
alignas(4096) unsigned char assist_pages[processors][4096];
unsigned char call_page_copy[4096];
std::uint64_t call_page_address;
std::uint64_t tsc_page_copy[3];
std::atomic<std::uint64_t> rounds[processors];
std::atomic<std::uint64_t> failures;
std::atomic<std::uint64_t> newest_time;
std::atomic<unsigned> fired;
std::atomic<std::uint64_t> lazily_ended;
std::uint64_t armed[processors];
std::uint64_t timers_done[processors];
std::uint64_t calls_done[processors];
bool probed;

void failed(unsigned processor, std::string_view what, std::uint64_t found)
{
    if (failures.fetch_add(1) < 10)
        fact("storm", "FAILED, processor ", processor, ": ", what, " ", hv::Hex{found});
}

void check(unsigned processor, std::string_view what, std::uint64_t expected, std::optional<std::uint64_t> found)
{
    if (found != expected)
        failed(processor, what, found.value_or(~0ull));
}

/// The count that the reference TSC page gives for a TSC.
std::uint64_t count_at(std::uint64_t tsc)
{
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((Wide{tsc} * tsc_page_copy[1]) >> 64) + tsc_page_copy[2];
}

/// Never backwards, whoever looks, and no jump: what the TSC says, which runs on.
void check_time(unsigned processor)
{
    constexpr std::uint64_t rounding{3};
    const std::uint64_t before{newest_time.load()};
    const std::uint64_t earliest{count_at(read_tsc())};
    const std::uint64_t now{read_msr(reference_count).value_or(0)};
    const std::uint64_t latest{count_at(read_tsc())};
    if (now < before)
        failed(processor, "reference time went back to", now);
    if (now + rounding < earliest || now > latest + rounding)
        failed(processor, "reference time jumped to", now);
    std::uint64_t newest{newest_time.load()};
    while (newest < now && !newest_time.compare_exchange_weak(newest, now)) {
    }
}

/// What hypercall_continue makes of so many steps.
std::uint64_t answer_of(std::uint64_t steps)
{
    std::uint64_t answer{};
    for (; steps != 0; --steps)
        answer = answer * 31 + steps;
    return answer;
}

/// Both timers have fired once since they were armed, or not yet; then they are armed anew.
void check_timers(unsigned processor)
{
    const std::uint64_t found{read_msr(timers_fired).value_or(~0ull)};
    const std::uint64_t wanted{2 * armed[processor]};
    if (found >> 32 != 0 || found > wanted || found + 2 < wanted)
        failed(processor, "timers that fired", found);
    if (found != wanted)
        return;
    timers_done[processor] = found;
    ++armed[processor];
    if (!write_msr(arm_timers, timer_ns))
        failed(processor, "arming of timers", armed[processor]);
}

void probe(unsigned processor, const HypercallPage& page)
{
    check_timers(processor);
    check(processor, "call that gave way", answer_of(ways_given), page.call(giving_call, ways_given));
    ++calls_done[processor];
}

void one_round(unsigned processor, const HypercallPage& page)
{
    if (probed)
        probe(processor, page);
    check(processor, "VP index", processor, read_msr(vp_index));
    check(processor, "unknown call", invalid_code, page.call(no_such_call) & 0xffff);
    check(processor, "spin wait", 0, page.call(long_spin_wait, 1) & 0xffff);
    const std::uint32_t own{crash_parameter + processor};
    const std::uint64_t value{rounds[processor].load() << 8 | processor};
    if (!write_msr(own, value))
        failed(processor, "write of an MSR", own);
    check(processor, "MSR that was written", value, read_msr(own));
    check(processor, "assist register", reinterpret_cast<std::uint64_t>(assist_pages[processor]) | 1,
          read_msr(assist_page));
    check_time(processor);
    rounds[processor].fetch_add(1);
}

void check_pages()
{
    if (std::memcmp(reinterpret_cast<const void*>(call_page_address), call_page_copy, sizeof call_page_copy) != 0)
        failed(0, "hypercall page changed", 0);
    if (std::memcmp(tsc_page, tsc_page_copy, sizeof tsc_page_copy) != 0)
        failed(0, "reference TSC page changed", 0);
}

void timer_came(InterruptFrame&)
{
    fired.fetch_add(1);
    // The lazy end [TLFS-6.0b §10.3.5]: the bit that says that no EOI is wanted is cleared, and was it set, that is all.
    bool no_eoi{};
    asm volatile("lock btrl $0, %1" : "=@ccc"(no_eoi), "+m"(*reinterpret_cast<std::uint32_t*>(assist_pages[0])));
    if (no_eoi)
        lazily_ended.fetch_add(1);
    else
        write_msr(end_of_interrupt, 0);
}

/// Arms the timer, does `rounds` of work with interrupts on, and counts that it came once.
void storm_with_timer(const HypercallPage& page)
{
    fired.store(0);
    apic_write(ApicRegister::INITIAL_COUNT, timer_count);
    asm volatile("sti" ::: "memory");
    const std::uint64_t begin{read_tsc()};
    for (unsigned count = 0; count < 20 || (fired.load() == 0 && read_tsc() - begin < 20'000'000'000); ++count)
        one_round(0, page);
    asm volatile("cli" ::: "memory");
    check(0, "interrupts of a one-shot timer", 1, fired.load());
}

void application(unsigned number)
{
    const unsigned processor{number + 1};  // as the first processor counts
    const HypercallPage page{call_page_address};
    write_msr(assist_page, reinterpret_cast<std::uint64_t>(assist_pages[processor]) | 1);
    for (;;)
        one_round(processor, page);
}

std::uint64_t sum(const std::uint64_t (&counts)[processors])
{
    std::uint64_t result{};
    for (const std::uint64_t count : counts)
        result += count;
    return result;
}

std::optional<HypercallPage> prepare()
{
    const OfferedMsrs msrs{viridian_msrs()};
    const auto page = enable_hypercalls(msrs);
    expect("hypercall-page", page.has_value());
    if (!page)
        return page;
    call_page_address = read_msr(*msrs.hypercall).value_or(0) & ~0xfffull;
    std::memcpy(call_page_copy, reinterpret_cast<const void*>(call_page_address), sizeof call_page_copy);
    expect("reference-tsc", write_msr(reference_tsc, reinterpret_cast<std::uint64_t>(tsc_page) | 1));
    std::memcpy(tsc_page_copy, tsc_page, sizeof tsc_page_copy);
    expect("assist-page", write_msr(assist_page, reinterpret_cast<std::uint64_t>(assist_pages[0]) | 1));
    enable_xapic();
    set_handler(timer_vector, timer_came);
    apic_write(ApicRegister::DIVIDE_CONFIGURATION, 0xb);  // by 1
    apic_write(ApicRegister::LVT_TIMER, timer_vector);
    return page;
}

}  // namespace

extern "C" void guest_main()
{
    say_begin("swap-storm");
    const auto page = prepare();
    if (!page)
        return say_end();
    ApicIds others;
    for (std::uint32_t id = 1; id < processors; ++id)
        static_cast<void>(others.push_back(id));
    probed = read_msr(timers_fired).has_value();
    if (command_word(0) != "alone")
        fact("processors", 1 + start_processors(others, 0, application));
    const std::uint64_t every{probed ? 5u : 50u};  // its rounds are long
    for (std::uint64_t turn = 1;; ++turn) {
        storm_with_timer(*page);
        check_pages();
        if (turn % every == 0 && probed)
            fact("probe", "timers ", sum(timers_done), ", calls ", sum(calls_done), ", lazy ends ", lazily_ended.load());
        if (turn % every == 0)
            fact("storm", "turns ", turn, ", rounds ", rounds[0].load(), " ", rounds[1].load(), " ", rounds[2].load(),
                 " ", rounds[3].load(), ", wrong ", failures.load());
    }
}
