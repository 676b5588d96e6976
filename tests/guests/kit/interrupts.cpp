// SPDX-License-Identifier: MIT
//
// The IDT, the fixups and the report of an exception that nobody expected [APM2-3.41 §4.8.4, §8.2].
#include "interrupts.hpp"

#include <array>

#include "console.hpp"
#include "machine.hpp"

extern "C" const std::uint8_t guest_interrupt_stubs[];

namespace guest {
namespace {

constexpr std::uint64_t stub_bytes{16};
constexpr std::uint16_t code_selector{0x08};
constexpr std::uint16_t interrupt_gate{0x8e00};
constexpr std::uint32_t no_vector{256};

struct Gate {
    std::uint16_t offset_low, selector, attributes, offset_middle;
    std::uint32_t offset_high, reserved;
};
static_assert(sizeof(Gate) == 16);

struct Fixup {
    std::uint64_t at, resume;
};
extern "C" const Fixup guest_fixups_begin[];
extern "C" const Fixup guest_fixups_end[];

std::array<Gate, 256> idt;
std::array<InterruptHandler, 256> handlers;
std::uint32_t fixed_vector{no_vector};

void load_idt(const void* table, std::uint16_t limit)
{
    struct [[gnu::packed]] {
        std::uint16_t limit;
        std::uint64_t base;
    } const pointer{limit, reinterpret_cast<std::uint64_t>(table)};
    asm volatile("lidt %0" ::"m"(pointer));
}

/// True when the frame's instruction has a fixup, and goes on there.
bool resume_at_fixup(InterruptFrame& frame)
{
    for (const Fixup* fixup = guest_fixups_begin; fixup != guest_fixups_end; ++fixup)
        if (fixup->at == frame.rip) {
            fixed_vector = static_cast<std::uint32_t>(frame.vector);
            frame.rip = fixup->resume;
            return true;
        }
    return false;
}

}  // namespace

void set_raw_entry(std::uint8_t vector, const void* entry)
{
    const auto offset = reinterpret_cast<std::uint64_t>(entry);
    idt[vector] = {static_cast<std::uint16_t>(offset),
                   code_selector,
                   interrupt_gate,
                   static_cast<std::uint16_t>(offset >> 16),
                   static_cast<std::uint32_t>(offset >> 32),
                   0};
}

void set_handler(std::uint8_t vector, InterruptHandler handler)
{
    handlers[vector] = handler;
    set_raw_entry(vector, guest_interrupt_stubs + vector * stub_bytes);
}

std::uint32_t last_fixed_vector()
{
    return fixed_vector;
}

void forget_all_handlers()
{
    load_idt(nullptr, 0);
}

void load_interrupts()
{
    load_idt(idt.data(), sizeof idt - 1);
}

void install_interrupts()
{
    for (unsigned vector = 0; vector < idt.size(); ++vector)
        set_handler(static_cast<std::uint8_t>(vector), nullptr);
    load_interrupts();
    // The two 8259s start with their vectors among the exceptions: everything masked.
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
}

}  // namespace guest

extern "C" void guest_interrupt(guest::InterruptFrame* frame)
{
    using namespace guest;
    if (const InterruptHandler handler = handlers[frame->vector & 0xff]; handler != nullptr)
        return handler(*frame);
    if (frame->vector < 32 && resume_at_fixup(*frame))
        return;
    if (frame->vector == 0xff)
        return;  // spurious
    std::uint64_t address;
    asm volatile("mov %%cr2, %0" : "=r"(address));
    fact("trap", "vector ", frame->vector, ", error code ", hv::Hex{frame->error_code}, ", RIP ",
         hv::Hex{frame->rip}, ", CR2 ", hv::Hex{address});
    stop_for_good();
}
