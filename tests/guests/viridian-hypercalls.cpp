// SPDX-License-Identifier: MIT
//
// Hypercalls as a guest makes them, in all that stock kernels never use: sparse sets of processors, input in XMM registers, 32-bit
// callers, lists, and every status that a call can end with.  All processors that the machine has take part; each counts the
// interrupts that it gets.  It knows the specification alone and would say the same on any hypervisor that offers the
// interface. Specification: [TLFS-6.0b §3, §9.4, §10.5].
#include <array>
#include <atomic>
#include <bit>
#include <cstring>

#include "hv/x86/control_registers.hpp"
#include "hv/x86/local_apic.hpp"
#include "kit/apic.hpp"
#include "kit/console.hpp"
#include "kit/direct_call.hpp"
#include "kit/interfaces.hpp"
#include "kit/interrupts.hpp"
#include "kit/known_interfaces.hpp"
#include "kit/machine.hpp"
#include "kit/processors.hpp"

extern "C" void guest_vmmcall_32(std::uint32_t registers[6]);

namespace {

using namespace guest;
using hv::x86::ApicRegister;

constexpr std::uint32_t vp_index{0x4000'0002};
constexpr std::uint32_t reference_count{0x4000'0020};

constexpr std::uint64_t flush_space{0x02}, flush_list{0x03}, spin_wait{0x08}, send_ipi{0x0b};
constexpr std::uint64_t flush_space_ex{0x13}, flush_list_ex{0x14}, send_ipi_ex{0x15}, query_capabilities{0x8001};
constexpr std::uint64_t fast{1 << 16};
constexpr std::uint64_t success{0}, bad_code{2}, bad_input{3}, bad_alignment{4}, bad_parameter{5}, denied{6}, bad_vp{14};
constexpr std::uint64_t sparse{0}, everybody{1};
constexpr std::uint8_t vector{0x70};

constexpr std::uint64_t banks(std::uint64_t count)
{
    return count << 17;
}
constexpr std::uint64_t reps(std::uint64_t count, std::uint64_t from = 0)
{
    return count << 32 | from << 48;
}

alignas(4096) std::uint64_t input[1024];  // two pages
alignas(4096) std::uint64_t output[512];

std::optional<HypercallPage> page;
bool offers_ipi, offers_flush, offers_vectors;
unsigned processors{1};

// ---- the other processors -------------------------------------------------------------------------------------------------

std::atomic<std::uint64_t> got[maximum_processors];  // interrupts, by VP index
std::atomic<unsigned> ready;
std::atomic<std::uint64_t> seen[maximum_processors];  // at the last interrupt, by VP index
volatile const std::uint64_t* looked_at;

void took(InterruptFrame&)
{
    const std::uint64_t self{read_msr_that_exists(vp_index)};
    seen[self] = looked_at != nullptr ? *looked_at : 0;
    apic_write(ApicRegister::EOI, 0);
    got[self].fetch_add(1);
}

void serve(unsigned)
{
    enable_xapic();
    ready.fetch_add(1);
    for (;;)
        halt_until_interrupt();
}

std::uint64_t now()
{
    return read_msr_that_exists(reference_count);
}

/// With interrupts on for so long.
void rest(std::uint64_t units)
{
    const std::uint64_t begin{now()};
    asm volatile("sti" ::: "memory");
    while (now() - begin < units)
        asm volatile("pause");
    asm volatile("cli" ::: "memory");
}

std::uint64_t all_processors()
{
    return processors == 64 ? ~0ull : (1ull << processors) - 1;
}

/// Exactly the VPs of `mask` get one interrupt each by what `send` does.
template <typename Send>
bool reaches(std::uint64_t mask, Send send)
{
    constexpr std::uint64_t patience{100'000'000};  // 10 s: they share one processor
    std::array<std::uint64_t, maximum_processors> before{};
    for (unsigned vp = 0; vp < processors; ++vp)
        before[vp] = got[vp];
    if (send() != success)
        return false;
    const std::uint64_t begin{now()};
    const auto arrived = [&] {
        std::uint64_t there{};
        for (unsigned vp = 0; vp < processors; ++vp)
            there |= got[vp] != before[vp] ? 1ull << vp : 0;
        return there;
    };
    while ((arrived() & mask) != mask && now() - begin < patience)
        rest(1'000);
    rest(20'000);  // for those that should get none
    bool exact{true};
    for (unsigned vp = 0; vp < processors; ++vp)
        exact = exact && got[vp] - before[vp] == (mask >> vp & 1);
    return exact;
}

// ---- calls ----------------------------------------------------------------------------------------------------------------

void enable_vectors()
{
    constexpr std::uint64_t emulate_and_task_switched{1 << 2 | 1 << 3}, osfxsr{1 << 9};
    std::uint64_t cr0, cr4;
    asm volatile("mov %%cr0, %0\n mov %%cr4, %1" : "=r"(cr0), "=r"(cr4));
    asm volatile("mov %0, %%cr0\n mov %1, %%cr4" ::"r"(cr0 & ~emulate_and_task_switched), "r"(cr4 | osfxsr));
}

using Words = std::array<std::uint64_t, 14>;  // two registers and XMM0 to XMM5

/// A fast call with up to 112 bytes of input.
std::optional<std::uint64_t> call_fast(std::uint64_t control, const Words& words)
{
    asm volatile("movdqu (%0), %%xmm0\n movdqu 16(%0), %%xmm1\n movdqu 32(%0), %%xmm2\n"
                 "movdqu 48(%0), %%xmm3\n movdqu 64(%0), %%xmm4\n movdqu 80(%0), %%xmm5" ::"r"(&words[2])
                 : "memory");
    return call_directly(control | fast, words[0], words[1]);
}

/// With the words at the beginning of the input page.
std::uint64_t call(std::uint64_t control, std::initializer_list<std::uint64_t> words)
{
    std::memcpy(input, words.begin(), words.size() * sizeof(std::uint64_t));
    return page->call(control, reinterpret_cast<std::uint64_t>(input), reinterpret_cast<std::uint64_t>(output));
}

// ---- what is tried --------------------------------------------------------------------------------------------------------

struct Refusal {
    const char* name;
    std::uint64_t control;
    std::uint64_t words[6];
    std::uint64_t offset;  ///< of the input in its page
    std::uint64_t status;
};
constexpr Refusal refusals[]{
    {"unknown-code", 0x7777, {}, 0, bad_code},
    {"code-0", 0, {}, 0, bad_code},
    {"flush-reserved-bit-27", flush_space | 1ull << 27, {}, 0, bad_input},
    {"flush-reserved-bit-44", flush_space | 1ull << 44, {}, 0, bad_input},
    {"flush-reserved-bit-60", flush_space | 1ull << 60, {}, 0, bad_input},
    {"flush-reserved-bit-63", flush_space | 1ull << 63, {}, 0, bad_input},
    {"flush-with-a-variable-header", flush_space | banks(1), {}, 0, bad_input},
    {"flush-with-a-rep-count", flush_space | reps(1), {}, 0, bad_input},
    {"flush-with-a-start-index", flush_space | reps(0, 1), {}, 0, bad_input},
    {"list-without-a-rep-count", flush_list, {}, 0, bad_input},
    {"list-that-starts-at-its-end", flush_list | reps(3, 3), {}, 0, bad_input},
    {"list-that-starts-beyond-its-end", flush_list | reps(3, 4), {}, 0, bad_input},
    {"input-unaligned", flush_space, {0, 0, 1}, 4, bad_alignment},
    {"input-across-two-pages", flush_space, {0, 0, 1}, 4080, bad_alignment},
    {"list-across-two-pages", flush_list | reps(510), {0, 0, 1}, 0, bad_alignment},
    {"flush-flag-3", flush_space, {0, 8, 1}, 0, bad_parameter},
    {"flush-flag-63", flush_space, {0, 1ull << 63, 1}, 0, bad_parameter},
    {"list-of-non-global-ones", flush_list | reps(1), {0, 4, 1}, 0, bad_parameter},
    {"ipi-vector-15", send_ipi, {15, 1}, 0, bad_parameter},
    {"ipi-vector-256", send_ipi, {256, 1}, 0, bad_parameter},
    {"ipi-to-nobody-there", send_ipi, {vector, 1ull << 63}, 0, bad_vp},
    {"set-of-unknown-format", flush_space_ex | banks(1), {0, 0, 2, 1, 1}, 0, bad_parameter},
    {"set-with-too-few-banks", flush_space_ex | banks(1), {0, 0, sparse, 3, 1}, 0, bad_input},
    {"set-with-too-many-banks", flush_space_ex | banks(2), {0, 0, sparse, 1, 1, 1}, 0, bad_input},
    {"set-with-65-banks", flush_space_ex | banks(65), {0, 0, sparse, 1, 1}, 0, bad_input},
    {"set-flush-flag-3", flush_space_ex, {0, 8, everybody, 0}, 0, bad_parameter},
    {"set-of-nobody-there", send_ipi_ex | banks(1), {vector, sparse, 2, 1}, 0, bad_vp},
    {"set-beyond-4000", send_ipi_ex | banks(1), {vector, sparse, 1ull << 63, 1ull << 63}, 0, bad_vp},
    {"set-ipi-vector-15", send_ipi_ex, {15, everybody, 0}, 0, bad_parameter},
    {"query-in-registers", query_capabilities | fast, {}, 0, bad_input},
    {"query-with-a-header", query_capabilities | banks(1), {}, 0, bad_input},
};

bool withheld(std::uint64_t control)
{
    const std::uint64_t code{control & 0xffff};
    return (!offers_ipi && (code == send_ipi || code == send_ipi_ex)) ||
           (!offers_flush && (code == flush_space || code == flush_list || code == flush_space_ex || code == flush_list_ex));
}

void try_refusals()
{
    for (const Refusal& row : refusals) {
        std::memset(input, 0, sizeof input);
        auto* const place = reinterpret_cast<unsigned char*>(input) + row.offset;
        std::memcpy(place, row.words, sizeof row.words);
        const std::uint64_t result{page->call(row.control, reinterpret_cast<std::uint64_t>(place),
                                              reinterpret_cast<std::uint64_t>(output))};
        expect_equal(row.name, withheld(row.control) ? denied : row.status, result & 0xffff);
    }
    const std::uint64_t nowhere{1ull << 45};
    expect_equal("output-unaligned", bad_alignment, page->call(query_capabilities, 0, reinterpret_cast<std::uint64_t>(output) + 4));
    expect_equal("output-beyond-the-memory", bad_alignment, page->call(query_capabilities, 0, nowhere));
    if (!offers_flush)
        return;
    expect_equal("input-beyond-the-memory", bad_alignment, page->call(flush_space, nowhere));
    expect_equal("input-at-the-end-of-all-addresses", bad_alignment, page->call(flush_space, ~7ull));
}

void try_query()
{
    output[0] = output[1] = ~0ull;
    expect_equal("query-capabilities", success, page->call(query_capabilities, 0, reinterpret_cast<std::uint64_t>(output)));
    expect("no-extended-calls-and-no-byte-beyond", output[0] == 0 && output[1] == ~0ull);
    expect_equal("spin-wait", success, page->call(spin_wait | fast, 5));
}

/// The class of bug: sets and masks beyond the number of processors.
void try_sets()
{
    const std::uint64_t all{all_processors()};
    expect("ipi-to-a-mask", reaches(all & ~1ull, [&] { return call(send_ipi, {vector, all & ~1ull}); }));
    expect("ipi-to-all", reaches(all, [] { return call(send_ipi_ex, {vector, everybody, 0}); }));
    expect("ipi-to-itself", reaches(1, [] { return call(send_ipi_ex | banks(1), {vector, sparse, 1, 1}); }));
    unsigned exact{};
    std::uint64_t drawn{0x9e37'79b9'7f4a'7c15};
    for (unsigned round = 0; round < 8; ++round) {
        drawn ^= drawn << 13, drawn ^= drawn >> 7, drawn ^= drawn << 17;
        const std::uint64_t mask{drawn & all};
        exact += reaches(mask, [&] { return call(send_ipi_ex | banks(1), {vector, sparse, 1, mask}); }) ? 1 : 0;
    }
    expect_equal("ipi-to-sparse-sets", 8, exact);
    expect("ipi-with-an-empty-bank-beyond",
           reaches(2 & all, [&] { return call(send_ipi_ex | banks(3), {vector, sparse, 0b10'0000'0000'0011, 2 & all, 0, 0}); }));
    expect("ipi-to-an-empty-set", reaches(0, [] { return call(send_ipi_ex, {vector, sparse, 0}); }));
    expect("refused-ipi-reaches-nobody", reaches(0, [&] {
               return call(send_ipi_ex | banks(2), {vector, sparse, 3, all, 1}) == bad_vp ? success : bad_vp;
           }));
    std::memset(input, 0, sizeof input);
    input[0] = vector;
    input[2] = ~0ull;  // all 64 banks, of which the first has somebody
    input[3] = all;
    expect("ipi-to-64-banks", reaches(all, [] {
               return page->call(send_ipi_ex | banks(64), reinterpret_cast<std::uint64_t>(input));
           }));
}

void try_flushes()
{
    const std::uint64_t all{all_processors()};
    expect_equal("flush-of-a-mask", success, call(flush_space, {read_cr3(), 0, all}));
    expect_equal("flush-of-a-mask-beyond", success, call(flush_space, {read_cr3(), 0, ~0ull}));
    expect_equal("flush-of-all", success, call(flush_space, {0, 7, 0}));
    expect_equal("flush-of-a-set", success, call(flush_space_ex | banks(1), {read_cr3(), 0, sparse, 1, all}));
    expect_equal("flush-of-a-set-beyond", success, call(flush_space_ex | banks(2), {read_cr3(), 0, sparse, 0b101, all, ~0ull}));
    expect_equal("flush-of-everybody", success, call(flush_space_ex, {0, 2, everybody, 0}));
    expect_equal("list-is-done-to-its-end", reps(3) | success, call(flush_list | reps(3), {read_cr3(), 0, all, 0x1000, 0x2000, 0x3000}));
    expect_equal("list-from-its-middle", reps(3) | success, call(flush_list | reps(3, 2), {read_cr3(), 0, all, 0x1000, 0x2000, 0x3000}));
    expect_equal("list-of-a-set", reps(2) | success,
                 call(flush_list_ex | banks(1) | reps(2), {read_cr3(), 0, sparse, 1, all, 0x1000, 0x2000}));
    expect_equal("list-that-fills-its-page", reps(509) | success, call(flush_list | reps(509), {read_cr3(), 0, all}));
}

// One page of the guest's own mapping, of which the others learn only by a flush.
alignas(4096) std::uint64_t directory_pointers[512];
alignas(4096) std::uint64_t directory[512];
alignas(4096) std::uint64_t table[512];
alignas(4096) std::uint64_t old_page[512];
alignas(4096) std::uint64_t new_page[512];

void try_stale_translations()
{
    constexpr unsigned slot{256};  // of the top table
    constexpr std::uint64_t present_writable{3};
    auto* const top = reinterpret_cast<std::uint64_t*>(read_cr3() & ~0xfffull);
    const auto entry = [](const std::uint64_t* of) { return reinterpret_cast<std::uint64_t>(of) | present_writable; };
    old_page[0] = 0x01d;
    new_page[0] = 0x2e3;
    directory_pointers[0] = entry(directory);
    directory[0] = entry(table);
    top[slot] = entry(directory_pointers);
    const std::uint64_t all{all_processors()};
    looked_at = reinterpret_cast<const volatile std::uint64_t*>(0xffff'8000'0000'0000);
    unsigned fresh{};
    for (unsigned round = 0; round < 4; ++round) {
        std::uint64_t* const shown{round % 2 == 0 ? old_page : new_page};
        table[0] = entry(shown);
        asm volatile("invlpg (%0)" ::"r"(looked_at) : "memory");
        const std::uint64_t flushed{round < 2 ? call(flush_space_ex | banks(1), {read_cr3(), 0, sparse, 1, all})
                                              : call(flush_list_ex | banks(1) | reps(1), {read_cr3(), 0, sparse, 1, all, 0xffff'8000'0000'0000})};
        const bool reached{reaches(all, [&] { return call(send_ipi, {vector, all}); })};
        bool good{(flushed & 0xffff) == success && reached};
        for (unsigned vp = 0; vp < processors; ++vp)
            good = good && seen[vp] == shown[0];
        fresh += good ? 1 : 0;
    }
    looked_at = nullptr;
    expect_equal("no-processor-uses-a-translation-from-before-a-flush", 4, fresh);
}

void try_vectors()
{
    const std::uint64_t all{all_processors()};
    const Words set{vector, sparse, 1, all & ~1ull};
    if (!offers_vectors) {
        expect("vector-input-is-an-undefined-opcode", !call_fast(send_ipi_ex | banks(1), set) || !offers_ipi);
        expect("and-so-for-a-flush", !call_fast(flush_space, {0, 0, 1}));
        return;
    }
    expect("ipi-by-vector-registers",
           reaches(all & ~1ull, [&] { return call_fast(send_ipi_ex | banks(1), set).value_or(~0ull); }));
    expect("flush-by-vector-registers", call_fast(flush_space, {read_cr3(), 0, all}) == success);
    expect("flush-flag-by-vector-registers", call_fast(flush_space, {read_cr3(), 8, all}) == bad_parameter);
    expect("set-by-vector-registers", call_fast(flush_space_ex | banks(2), {read_cr3(), 0, sparse, 3, all, ~0ull}) == success);
    expect("list-by-vector-registers", call_fast(flush_list | reps(11), {read_cr3(), 0, all}) == (reps(11) | success));
    const auto too_long = call_fast(flush_list | reps(12), {read_cr3(), 0, all});
    expect("more-than-six-vector-registers-hold", too_long && (*too_long & 0xffff) == bad_input);
    Words most{vector, sparse, 0x7ff};  // 11 banks in five and a half registers: 112 bytes
    most[3] = all;
    expect("all-six-vector-registers", reaches(all, [&] { return call_fast(send_ipi_ex | banks(11), most).value_or(~0ull); }));
    most[13] = 1;
    expect("the-last-word-of-them-counts", call_fast(send_ipi_ex | banks(11), most) == bad_vp);
}

/// From 32-bit code: words are pairs of registers.
std::uint64_t call_32(std::uint64_t control, std::uint64_t first, std::uint64_t second = 0)
{
    const auto low = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
    const auto high = [](std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); };
    std::uint32_t registers[6]{low(control) | static_cast<std::uint32_t>(viridian_page_mark), high(first), low(first), high(control),
                               low(second), high(second)};
    guest_vmmcall_32(registers);
    return std::uint64_t{registers[3]} << 32 | registers[0];
}

void try_32_bit_callers()
{
    const std::uint64_t at{reinterpret_cast<std::uint64_t>(input)};
    const std::uint64_t all{all_processors()};
    const std::uint64_t list[]{read_cr3(), 0, all, 0x1000, 0x2000};
    std::memcpy(input, list, sizeof list);
    expect_equal("32-bit-list", reps(2) | success, call_32(flush_list | reps(2), at));
    expect_equal("32-bit-unaligned", bad_alignment, call_32(flush_space, at + 4));
    expect_equal("32-bit-reserved-bit", bad_input, call_32(flush_space | 1ull << 44, at));
    expect_equal("32-bit-unknown-code", bad_code, call_32(0x7777, at));
    expect("32-bit-ipi-in-registers", reaches(all, [&] { return call_32(send_ipi | fast, vector, all); }));
}

/// Hypervisor's pages as buffers: read as what they are, never written.
void try_pages_of_the_hypervisor()
{
    std::uint64_t code{};
    const std::uint64_t where{read_msr_that_exists(0x4000'0001) & ~0xfffull};
    const auto* const bytes = reinterpret_cast<const unsigned char*>(where);
    std::memcpy(&code, bytes, sizeof code);
    expect_equal("hypercall-page-as-output", bad_alignment, page->call(query_capabilities, 0, where));
    std::uint64_t after{};
    std::memcpy(&after, bytes, sizeof after);
    expect_equal("and-it-is-as-it-was", code, after);
    const std::uint64_t status{page->call(flush_space, where) & 0xffff};
    expect("hypercall-page-as-input", status == success || status == bad_parameter || (status == denied && !offers_flush));
}

void start_all()
{
    set_handler(vector, took);
    enable_xapic();
    enable_vectors();
    const ApicIds ids{madt_processors()};
    const unsigned started{start_processors(ids, cpuid(1).ebx >> 24, serve)};
    while (ready.load() < started)
        asm volatile("pause");
    processors = started + 1;
    fact("processors", processors);
}

void try_everything()
{
    constexpr std::uint32_t leaf{0x4000'0000};
    const std::uint32_t hints{cpuid(leaf + 4).eax};
    offers_flush = (hints & 1u << 2) != 0;
    offers_ipi = (hints & 1u << 10) != 0;
    offers_vectors = (cpuid(leaf + 3).edx & 1u << 4) != 0;
    start_all();
    try_query();
    try_refusals();
    try_pages_of_the_hypervisor();
    if (offers_ipi && offers_flush) {
        try_sets();
        try_flushes();
        try_stale_translations();
        try_32_bit_callers();
    }
    if (offers_flush)
        try_vectors();
}

}  // namespace

extern "C" void guest_main()
{
    say_begin("viridian-hypercalls");
    if (find_block(viridian_signature))
        page = enable_hypercalls(viridian_msrs());
    if (page)
        try_everything();
    else
        fact("viridian-hypercalls", "absent");
    say_end();
}
