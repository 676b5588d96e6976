// SPDX-License-Identifier: MIT
//
// Compares the boundaries that the module was shown with those that each piece of steps.S is known to have, and judges what the guest
// itself could see of being followed.
#include "steps.hpp"

#include <cstdint>
#include <initializer_list>

#include "hv/x86/msr.hpp"
#include "kit/apic.hpp"
#include "kit/console.hpp"
#include "kit/interrupts.hpp"
#include "kit/machine.hpp"
#include "kit/processors.hpp"
#include "watched.hpp"

using namespace guest;

struct Boundary {
    std::uint64_t rip, delivery;
};

#define PIECE(name)                                                                                          \
    void step_##name();                                                                                      \
    extern const Boundary step_##name##_list[], step_##name##_end[];

extern "C" {
PIECE(plain)
PIECE(repeated)
PIECE(flags)
PIECE(software)
PIECE(faults)
PIECE(traced)
PIECE(interrupts)
PIECE(halted)
PIECE(system)
void step_keep_flags();
void step_behind_undefined();
void step_behind_page_fault();
void step_own_trap();
void step_interrupt();
void step_system_call();
extern std::uint64_t steps_msr;
extern volatile std::uint64_t steps_flags[2], steps_status;
}

namespace {

constexpr std::uint64_t trap_flag{0x100};
constexpr std::uint8_t interrupt_vector{0x91};
std::uint32_t leaf;

struct Piece {
    const char* name;
    void (*run)();
    const Boundary* list;
    const Boundary* end;
};
#define ROW(name)                                                                                            \
    {                                                                                                        \
        #name, step_##name, step_##name##_list, step_##name##_end                                            \
    }

Boundary shown(std::uint32_t index)
{
    const CpuidResult one = cpuid(leaf, index);
    return {one.eax, one.ebx};
}

/// The guest's code lies below 4 GiB.
void judge(const Piece& piece)
{
    const auto count = static_cast<std::uint32_t>(piece.end - piece.list);
    const std::uint32_t seen{cpuid(leaf, watched::count_of_steps).eax};
    std::uint32_t agreed{0};
    while (agreed < count && agreed < seen && shown(agreed).rip == piece.list[agreed].rip &&
           shown(agreed).delivery == piece.list[agreed].delivery)
        ++agreed;
    if (agreed < count)
        fact("step", piece.name, ": boundary ", agreed, " is ", hv::Hex{piece.list[agreed].rip}, " by ", piece.list[agreed].delivery,
             ", and was shown as ", hv::Hex{shown(agreed).rip}, " by ", shown(agreed).delivery);
    expect_equal(piece.name, count, agreed);
    expect_equal(piece.name, count, seen);
}

void follow(const Piece& piece)
{
    steps_flags[0] = trap_flag;
    steps_flags[1] = trap_flag;
    piece.run();
    judge(piece);
}

/// The same with this interrupt waiting, and interrupts off.
void follow_interrupted(const Piece& piece)
{
    constexpr std::uint32_t to_itself{1u << 18};
    apic_write(hv::x86::ApicRegister::ICR_LOW, to_itself | interrupt_vector);
    follow(piece);
    expect_equal("step-interrupt-flags", 0, steps_flags[0] & trap_flag);
}

template <typename Function>
void enter_at(std::uint8_t vector, Function entry)
{
    set_raw_entry(vector, reinterpret_cast<const void*>(entry));
}

void install_entries()
{
    enter_at(1, step_own_trap);
    enter_at(3, step_keep_flags);
    enter_at(6, step_behind_undefined);
    enter_at(14, step_behind_page_fault);
    enter_at(0x90, step_keep_flags);
    enter_at(interrupt_vector, step_interrupt);
}

void give_entries_back()
{
    for (const std::uint8_t vector : std::initializer_list<std::uint8_t>{1, 3, 6, 14})
        set_handler(vector, nullptr);
}

void try_system_call()
{
    constexpr std::uint32_t efer{0xc000'0080}, star{0xc000'0081}, lstar{0xc000'0082}, sfmask{0xc000'0084};
    write_msr_that_exists(efer, read_msr_that_exists(efer) | 1);
    write_msr_that_exists(star, std::uint64_t{0x08} << 32);
    write_msr_that_exists(lstar, reinterpret_cast<std::uint64_t>(step_system_call));
    write_msr_that_exists(sfmask, trap_flag);
    follow(ROW(system));
    expect_equal("step-system-flags", 0, steps_flags[0] & trap_flag);
    expect_equal("step-system-mask", trap_flag, read_msr_that_exists(sfmask));
    write_msr_that_exists(efer, read_msr_that_exists(efer) & ~std::uint64_t{1});
}

void try_traced()
{
    asm volatile("mov %0, %%dr6" ::"r"(std::uint64_t{0xffff'0ff0}));
    follow(ROW(traced));
    expect_equal("step-own-flags", trap_flag, steps_flags[0] & trap_flag);
    expect_equal("step-own-status", 0xffff'4ff0, steps_status);
}

std::uint64_t flags_now()
{
    std::uint64_t flags;
    asm volatile("pushfq\n pop %0" : "=r"(flags)::"memory");
    return flags;
}

}  // namespace

void try_steps(std::uint32_t own_leaf, std::uint32_t own_msr)
{
    leaf = own_leaf;
    steps_msr = own_msr;
    asm volatile("cli");
    enable_xapic();
    install_entries();
    follow(ROW(plain));
    follow(ROW(repeated));
    follow(ROW(flags));
    expect_equal("step-flags", 0, (steps_flags[0] | steps_flags[1]) & trap_flag);
    follow(ROW(software));
    expect_equal("step-software-flags", 0, steps_flags[0] & trap_flag);
    follow(ROW(faults));
    try_traced();
    follow_interrupted(ROW(interrupts));
    follow_interrupted(ROW(halted));
    try_system_call();
    give_entries_back();
    expect_equal("step-afterwards", 0, flags_now() & trap_flag);
}

namespace {

constexpr unsigned turns_of_tick{300};
constexpr std::uint32_t enough_steps{20'000};
volatile std::uint32_t turns_of_other;  ///< of the second processor
volatile bool other_was_shown;

void take_turns()
{
    for (unsigned turn = 0; turn < turns_of_tick; ++turn)
        asm volatile("" ::: "memory");
    if ((flags_now() & trap_flag) != 0)
        fact("FAILED", "the trap flag is there");
}

/// This processor was shown many steps, and each began where the one before had ended.
bool was_shown()
{
    const auto steps = cpuid(leaf, watched::count_of_steps);
    if (steps.ecx != 0)
        fact("FAILED", "steps that begin elsewhere: ", steps.ecx);
    return steps.ebx > enough_steps;
}

[[noreturn]] void turn_for_ever(unsigned)
{
    for (std::uint32_t turn = 1;; ++turn) {
        take_turns();
        if (!other_was_shown && was_shown())
            other_was_shown = true;
        turns_of_other = turn;
    }
}

}  // namespace

void be_followed(std::uint32_t own_leaf, std::uint32_t own_msr)
{
    leaf = own_leaf;
    enable_xapic();
    ApicIds other;
    static_cast<void>(other.push_back(1));
    fact("processors", 1 + start_processors(other, 0, turn_for_ever));
    write_msr_that_exists(own_msr, watched::steps | watched::switch_on);
    bool both{};
    for (unsigned tick = 0;; ++tick) {
        const std::uint32_t before{turns_of_other};
        while (turns_of_other == before)
            take_turns();
        fact("tick", tick);
        if (!both && other_was_shown && was_shown()) {
            both = true;
            fact("both-shown", tick);
        }
    }
}
