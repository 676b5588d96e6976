// SPDX-License-Identifier: MIT
//
// Does what each subscription of the module in this folder is about, and judges what the guest itself saw and what the module
// was shown.
#include "steps.hpp"
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

enum Kind : std::uint32_t { by_cpuid = 1, by_msr, by_port, by_exception, by_control, by_debug, by_halt, by_pause, by_tsc, by_invlpg, by_page = 12 };

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

std::uint64_t read_cr2()
{
    std::uint64_t address;
    asm volatile("mov %%cr2, %0" : "=r"(address));
    return address;
}

std::uint32_t load_from(std::uint64_t address, std::uint64_t& value)
{
    return fault([&](std::uint32_t& faulted) {
        asm volatile(GUEST_FIXUP_BEGIN "mov (%%rdi), %%rax" GUEST_FIXUP_END
                     : [faulted] "+r"(faulted), "=a"(value)
                     : "D"(address)
                     : "memory");
    });
}

volatile unsigned visits;
[[gnu::noinline]] void visit() { visits = visits + 1; }

/// Faults that the module deals with: the guest has none.
void try_answered_faults()
{
    constexpr std::uint32_t none{256};
    const std::uint64_t address{read_cr2()};
    std::uint64_t value{};
    std::uint32_t vector{};
    expect_equal("fault-unanswered", 13, load_from(watched::no_address, value));
    expect_equal("page-fault-answered-shown", 1, shown_by(by_exception, [&] { vector = load_from(watched::unmapped_address, value); }));
    expect_equal("page-fault-answered", none, vector);
    expect_equal("page-fault-value", watched::load_answer, value);
    expect_equal("page-fault-left-address", address, read_cr2());
    watch(watched::faults, true);
    expect_equal("fault-answered", none, load_from(watched::no_address, value));
    expect_equal("fault-value", watched::load_answer, value);
    expect_equal("fault-passed-on", 13, load_from(watched::no_address ^ 8, value));
    asm volatile("mov %0, %%dr0\n mov %1, %%dr7" ::"r"(&visit), "r"(0x401ull));
    expect_equal("breakpoint-shown", 1, shown_by(by_exception, [] { visit(); }));
    asm volatile("mov %0, %%dr7" ::"r"(0x400ull));
    expect_equal("breakpoint-passed", 1, visits);
    watch(watched::faults, false);
    expect_equal("fault-unanswered-again", 13, load_from(watched::no_address, value));
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

std::uint64_t read_cr0()
{
    std::uint64_t value;
    asm volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}

/// CR0 by each of its instructions, in registers and in memory.
void try_control_0()
{
    constexpr std::uint64_t task_switched{8}, paging{1ull << 31};
    const std::uint64_t usual{read_cr0()};
    const auto set_and_clear = [&] {
        asm volatile("mov %0, %%cr0" ::"r"(usual | task_switched) : "memory");
        expect_equal("control-0-moved", usual | task_switched, read_cr0());
        asm volatile("clts" ::: "memory");
        expect_equal("control-0-cleared", usual & ~task_switched, read_cr0());
    };
    expect_equal("control-0-unwatched", 0, shown_by(by_control, set_and_clear));
    watch(watched::control_0, true);
    expect_equal("control-0-watched", 4, shown_by(by_control, set_and_clear));
    expect_equal("control-0-number", 0, shown(by_control).ebx);
    std::uint16_t memory{static_cast<std::uint16_t>((usual & 0xf) | task_switched)};
    const auto load = [&] { asm volatile("lmsw %0" ::"m"(memory) : "memory"); };
    expect_equal("lmsw-shown", 1, shown_by(by_control, load));
    expect_equal("lmsw-value", static_cast<std::uint32_t>(usual | task_switched), shown(by_control).ecx);
    std::uint64_t stored{};
    const auto store = [&] { asm volatile("smsw %0" : "=r"(stored)); };
    expect_equal("smsw-shown", 1, shown_by(by_control, store));
    expect_equal("smsw", usual | task_switched, stored);
    const auto store_in_memory = [&] { asm volatile("smsw %0" : "=m"(memory)); };
    expect_equal("smsw-memory-shown", 1, shown_by(by_control, store_in_memory));
    expect_equal("smsw-memory", (usual | task_switched) & 0xffff, memory);
    const auto load_register = [&] { asm volatile("lmsw %w0" ::"r"(usual & 6) : "memory"); };
    expect_equal("lmsw-register-shown", 1, shown_by(by_control, load_register));
    expect_equal("lmsw-keeps-protection", usual, read_cr0());
    const auto stop_paging = [&](std::uint32_t& faulted) {
        asm volatile(GUEST_FIXUP_BEGIN "mov %[to], %%cr0" GUEST_FIXUP_END
                     : [faulted] "+r"(faulted)
                     : [to] "r"(usual & ~paging)
                     : "memory");
    };
    expect_equal("control-0-refused", 13, fault(stop_paging));
    expect_equal("control-0-kept", usual, read_cr0());
    watch(watched::control_0, false);
    expect_equal("control-0-unwatched-again", 0, shown_by(by_control, set_and_clear));
}

std::uint64_t read_dr(unsigned number)
{
    std::uint64_t value{};
    switch (number) {
    case 0: asm volatile("mov %%dr0, %0" : "=r"(value)); break;
    case 1: asm volatile("mov %%dr1, %0" : "=r"(value)); break;
    case 2: asm volatile("mov %%dr2, %0" : "=r"(value)); break;
    case 6: asm volatile("mov %%dr6, %0" : "=r"(value)); break;
    default: asm volatile("mov %%dr7, %0" : "=r"(value)); break;
    }
    return value;
}

void try_debug_registers()
{
    constexpr std::uint64_t first{0x1000'0000'1111}, second{0x2222'0000'2222};
    const auto move = [] {
        asm volatile("mov %0, %%dr0\n mov %1, %%dr1" ::"r"(first), "r"(second));
        expect("debug-registers-work", read_dr(0) == first && read_dr(1) == second);
    };
    expect_equal("debug-unwatched", 0, shown_by(by_debug, move));
    asm volatile("mov %0, %%dr2" ::"r"(second));
    watch(watched::debug_registers, true);
    expect_equal("debug-watched", 4, shown_by(by_debug, move));
    expect_equal("debug-number", 1, shown(by_debug).ebx);
    expect_equal("debug-instead", watched::debug_answer, read_dr(2));
    const auto control = [] { asm volatile("mov %0, %%dr6\n mov %1, %%dr7" ::"r"(0x4000ull), "r"(0x400ull)); };
    expect_equal("debug-control-shown", 2, shown_by(by_debug, control));
    expect_equal("debug-control-value", 0x400, shown(by_debug).ecx);
    const auto look = [] { expect_equal("debug-status-kept", 0xffff'4ff0, read_dr(6)); };
    expect_equal("debug-status-not-shown", 0, shown_by(by_debug, look));
    watch(watched::debug_registers, false);
    expect_equal("debug-own-again", second, read_dr(2));
    expect_equal("debug-unwatched-again", 0, shown_by(by_debug, move));
}

constexpr std::uint64_t address_of(std::uint64_t page) { return page << 12; }
volatile std::uint64_t& word(std::uint64_t address) { return *reinterpret_cast<volatile std::uint64_t*>(address); }

/// PUSHF on a stack there, and what it stored.
std::uint64_t push_flags_at(std::uint64_t stack)
{
    std::uint64_t flags;
    asm volatile("mov %%rsp, %%r8\n mov %[stack], %%rsp\n pushfq\n mov %%r8, %%rsp\n mov -8(%[stack]), %[flags]"
                 : [flags] "=&r"(flags)
                 : [stack] "r"(stack)
                 : "r8", "memory");
    return flags;
}

void try_page_writes()
{
    constexpr std::uint64_t page{address_of(watched::written_page)};
    constexpr std::uint64_t value{0x1122'3344'5566'7788};
    constexpr std::uint64_t trap_flag{0x100};
    asm volatile("mov %0, %%dr6" ::"r"(0ull));
    const auto store = [] { word(page + 0x100) = value; };
    expect_equal("page-unwatched", 0, shown_by(by_page, store));
    watch(watched::page_writes, true);
    word(page + 0x2000) = 0;
    expect_equal("page-write-shown", 1, shown_by(by_page, store));
    expect_equal("page-number", watched::written_page, shown(by_page).ebx);
    expect_equal("page-address", page + 0x100, shown(by_page).ecx);
    expect_equal("page-written", value, word(page + 0x100));
    std::uint64_t seen{};
    expect_equal("page-read-not-shown", 0, shown_by(by_page, [&] { seen = word(page + 0x100); }));
    expect_equal("page-read-unwatched", value, seen);
    expect_equal("page-crossed", 2, shown_by(by_page, [] { word(page + 0xffc) = value; }));
    expect_equal("page-crossing-value", value, word(page + 0xffc));
    const auto fill = [] {
        std::uint64_t to{page + 0x200}, count{5};
        asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(0x33) : "memory");
    };
    expect_equal("page-string-shown", 5, shown_by(by_page, fill));
    expect_equal("page-string", 0x33'3333'3333, word(page + 0x200) & 0xff'ffff'ffff);
    std::uint64_t flags{trap_flag};
    expect_equal("page-flags-shown", 1, shown_by(by_page, [&] { flags = push_flags_at(page + 0x800); }));
    expect_equal("page-flags", 0, flags & trap_flag);
    const auto exchange = [] { asm volatile("lock xaddq %0, %1" : : "r"(1ull), "m"(word(page + 0x100)) : "memory"); };
    expect_equal("page-locked-shown", 1, shown_by(by_page, exchange));
    expect_equal("page-locked", value + 1, word(page + 0x100));
    expect_equal("page-debug-status", 0xffff'0ff0, read_dr(6));
    watch(watched::page_writes, false);
    expect_equal("page-unwatched-again", 0, shown_by(by_page, store));
}

extern "C" const std::uint64_t guest_page_tables_begin[];
constexpr std::uint64_t trap_bit{0x100};

/// An interrupt frame that the processor stores on a watched page, and one that it loads from one.
void try_frames_on_pages()
{
    constexpr std::uint64_t stack{address_of(watched::written_page) + 0x800}, frame{address_of(watched::read_page) + 0x400};
    set_handler(0x90, [](InterruptFrame&) {});
    watch(watched::page_writes, true);
    const auto interrupt = [&] {
        asm volatile("mov %%rsp, %%rbx\n mov %0, %%rsp\n int $0x90\n mov %%rbx, %%rsp" ::"r"(stack) : "rbx", "memory");
    };
    const std::uint32_t stored{shown_by(by_page, interrupt)};
    expect("page-interrupt-shown", stored >= 1);  // the handler's own pushes come behind it
    watch(watched::page_writes, false);
    expect_equal("page-interrupt-stack", stack, word(stack - 16));
    expect_equal("page-interrupt-flags", 0, word(stack - 24) & trap_bit);

    std::uint64_t flags{trap_bit};
    watch(watched::page_reads, true);
    const auto load = [&] {
        asm volatile("mov %%rsp, %%rbx\n"
                     "movq $1f, (%[frame])\n"
                     "movq $8, 8(%[frame])\n"
                     "pushfq\n popq 16(%[frame])\n"
                     "mov %%rsp, 24(%[frame])\n"
                     "movq $16, 32(%[frame])\n"
                     "mov %[frame], %%rsp\n"
                     "iretq\n"
                     "1: pushfq\n pop %[flags]"
                     : [flags] "=&r"(flags)
                     : [frame] "r"(frame)
                     : "rbx", "memory");
    };
    expect_equal("page-return-shown", 1, shown_by(by_page, load));
    expect_equal("page-return-flags", 0, flags & trap_bit);
    watch(watched::page_reads, false);
}

/// A page table of the guest's on a page whose writes are watched: the processor, which may mark it, counts as who writes.
void try_tables_on_pages()
{
    constexpr std::uint64_t linear{0x2000'0000'0000}, level3{0xc1'0000}, level2{0xc1'1000}, target{0xc1'2000};
    constexpr std::uint64_t present_writable{3}, level4_index{linear >> 39};
    auto* const level4 = const_cast<volatile std::uint64_t*>(guest_page_tables_begin);
    const auto reload = [] { asm volatile("mov %%cr3, %%rax\n mov %%rax, %%cr3" ::: "rax", "memory"); };
    word(target) = 0x1357;
    word(level3) = level2 | present_writable;
    word(level2) = address_of(watched::written_page) | present_writable;
    word(address_of(watched::written_page)) = target | present_writable;
    level4[level4_index] = level3 | present_writable;
    watch(watched::page_writes, true);
    reload();
    std::uint64_t value{};
    expect_equal("page-table-shown", 1, shown_by(by_page, [&] { value = word(linear); }));
    expect_equal("page-table-number", watched::written_page, shown(by_page).ebx);
    expect_equal("page-table-value", 0x1357, value);
    watch(watched::page_writes, false);
    expect_equal("page-table-marked", 0x20, word(address_of(watched::written_page)) & 0x20);
    level4[level4_index] = 0;
    reload();
}

void try_pages()
{
    try_page_writes();
    try_frames_on_pages();
    try_tables_on_pages();
    constexpr std::uint64_t page{address_of(watched::read_page)}, code{address_of(watched::fetched_page)};
    word(page) = 0x77;
    watch(watched::page_reads, true);
    std::uint64_t value{};
    expect_equal("page-read-shown", 1, shown_by(by_page, [&] { value = word(page); }));
    expect_equal("page-read", 0x77, value);
    expect_equal("page-write-not-shown", 0, shown_by(by_page, [] { word(page) = 0x78; }));
    watch(watched::page_reads, false);
    expect_equal("page-write-done", 0x78, word(page));

    word(code) = 0x00c3'0000'002a'b8;  // MOV EAX, 42; RET
    const auto call = [&] { asm volatile("call *%1" : "=a"(value) : "r"(code) : "memory"); };
    watch(watched::page_fetches, true);
    expect_equal("page-fetches-shown", 2, shown_by(by_page, call));
    expect_equal("page-executed", 42, value);
    expect_equal("page-data-not-shown", 0, shown_by(by_page, [] { word(code + 0x100) = word(code); }));
    watch(watched::page_fetches, false);
    expect_equal("page-fetches-not-shown", 0, shown_by(by_page, call));
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
        if (command_word(0) == "follow")
            be_followed(block->base + watched::leaf_steps, own_msr);
        try_cpuid();
        try_msrs();
        try_ports();
        try_exceptions();
        try_answered_faults();
        try_control_registers();
        try_control_0();
        try_debug_registers();
        try_pages();
        try_halts();
        try_the_rest();
        try_steps(block->base + watched::leaf_steps, own_msr);
    }
    say_end();
}
