// SPDX-License-Identifier: MIT
//
// Processors that race on the interface's registers: all of them place, move and take away the same pages at the same time, put
// pages over each other's, hand the hypervisor's own pages in as buffers, and take the guest's identity away under calls.  What
// each gets must be one of the defined answers; afterwards every page is the guest's own again, and the interface works.
// Specification: [TLFS-6.0b §3.7 to §3.13, §10.3.5, §11.8, §12.7].
#include <array>
#include <atomic>

#include "kit/apic.hpp"
#include "kit/console.hpp"
#include "kit/direct_call.hpp"
#include "kit/interfaces.hpp"
#include "kit/interrupts.hpp"
#include "kit/known_interfaces.hpp"
#include "kit/machine.hpp"
#include "kit/processors.hpp"

namespace {

using namespace guest;

constexpr std::uint32_t guest_id{0x4000'0000}, hypercall{0x4000'0001}, vp_index{0x4000'0002}, reference_count{0x4000'0020},
    reference_tsc{0x4000'0021}, assist_page{0x4000'0073}, event_page{0x4000'0082}, message_page{0x4000'0083};
constexpr std::uint64_t identity{0x8100'0000'0001'0000};
constexpr std::uint64_t flush_space{0x02}, query_capabilities{0x8001};
constexpr std::uint64_t success{0}, bad_alignment{4}, bad_parameter{5};
constexpr unsigned rounds{2'000};

constexpr unsigned shared_pages{6};
alignas(4096) std::uint64_t pages[shared_pages][512];
constexpr std::uint64_t pattern{0x6a09'e667'f3bc'c908};

std::atomic<unsigned> done;
std::atomic<unsigned> ready;
std::atomic<bool> go;
std::atomic<unsigned> wrong;
std::atomic<unsigned> placed, refused, called, undefined;

void is_wrong(std::string_view what, std::uint64_t found)
{
    if (wrong.fetch_add(1) < 10)
        fact("race", "FAILED, ", what, " ", hv::Hex{found});
}

std::uint64_t address_of(std::uint64_t drawn)
{
    return reinterpret_cast<std::uint64_t>(pages[drawn % shared_pages]);
}

bool is_shared(std::uint64_t address)
{
    const auto first = reinterpret_cast<std::uint64_t>(pages);
    return address >= first && address < first + sizeof pages;
}

/// A register that places a page: taken, or #GP where another page lies there.
void place(std::uint32_t msr, std::uint64_t drawn)
{
    const std::uint64_t value{address_of(drawn >> 8) | (drawn >> 4 & 1)};
    (write_msr(msr, value) ? placed : refused).fetch_add(1);
    const auto now = read_msr(msr);
    if (!now || (*now != 0 && !is_shared(*now & ~0xfffull)))
        is_wrong("register of a page reads", now.value_or(~0ull));
}

/// Undefined while the page is off.
void make_call(std::uint64_t drawn)
{
    const bool query{(drawn >> 4 & 1) != 0};
    const auto result = query ? call_directly(query_capabilities, 0, address_of(drawn >> 8)) : call_directly(flush_space, address_of(drawn >> 8), 0);
    (result ? called : undefined).fetch_add(1);
    if (result && *result != success && *result != bad_alignment && (query || *result != bad_parameter))
        is_wrong("a call ends with", *result);
}

std::uint64_t next(std::uint64_t& drawn)
{
    drawn ^= drawn << 13;
    drawn ^= drawn >> 7;
    drawn ^= drawn << 17;
    return drawn;
}

void race()
{
    std::uint64_t drawn{read_msr_that_exists(vp_index) * 0x9e37'79b9'7f4a'7c15 + 1};
    for (unsigned round = 0; round < rounds; ++round) {
        const std::uint64_t choice{next(drawn)};
        switch (choice % 8) {
        case 0: place(reference_tsc, next(drawn)); break;
        case 1: place(hypercall, next(drawn)); break;
        case 2: place(assist_page, next(drawn)); break;
        case 3: place(event_page, next(drawn)); break;
        case 4: place(message_page, next(drawn)); break;
        case 5:
            if (!write_msr(guest_id, (choice >> 8) % 4 == 0 ? 0 : identity))
                is_wrong("the identity is refused", choice);
            break;
        default: make_call(next(drawn)); break;
        }
    }
    for (const std::uint32_t own : {assist_page, event_page, message_page})
        if (!write_msr(own, 0))
            is_wrong("a page cannot be taken away", own);
}

void race_with_others(unsigned)
{
    ready.fetch_add(1);
    while (!go.load())
        asm volatile("pause");
    race();
    done.fetch_add(1);
}

/// All but the first word, into which calls may have written.
unsigned pages_that_are_the_guests()
{
    unsigned good{};
    for (const auto& page : pages) {
        bool same{true};
        for (unsigned word = 1; word < 512; ++word)
            same = same && page[word] == (pattern ^ word);
        good += same ? 1 : 0;
    }
    return good;
}

void try_everything()
{
    for (auto& page : pages)
        for (unsigned word = 0; word < 512; ++word)
            page[word] = pattern ^ word;
    enable_xapic();
    const unsigned started{start_processors(madt_processors(), cpuid(1).ebx >> 24, race_with_others)};
    while (ready.load() < started)
        asm volatile("pause");
    fact("processors", started + 1);
    go = true;
    race();
    while (done.load() < started)
        asm volatile("pause");
    fact("placed", placed.load());
    fact("refused", refused.load());
    fact("called", called.load());
    fact("undefined", undefined.load());
    expect_equal("every-answer-is-a-defined-one", 0, wrong.load());
    expect("the-last-pages-go", write_msr(reference_tsc, 0) && write_msr(guest_id, 0) && write_msr(hypercall, 0));
    expect_equal("all-pages-are-the-guests-again", shared_pages, pages_that_are_the_guests());
    expect("without-the-page-a-call-is-undefined", !call_directly(query_capabilities, 0, address_of(0)));
    const auto page = enable_hypercalls(viridian_msrs());
    expect("calls-work-afterwards", page && page->call(query_capabilities, 0, address_of(0)) == success);
    expect("and-so-does-the-page-of-the-clock", write_msr(reference_tsc, address_of(1) | 1) && pages[1][0] != 0 &&
                                                    read_msr(reference_tsc) == (address_of(1) | 1));
    expect("and-the-pages-of-a-processor", write_msr(message_page, address_of(2) | 1) && pages[2][0] == 0 && write_msr(message_page, 0));
}

}  // namespace

extern "C" void guest_main()
{
    say_begin("viridian-races");
    if (find_block(viridian_signature))
        try_everything();
    else
        fact("viridian-races", "absent");
    say_end();
}
