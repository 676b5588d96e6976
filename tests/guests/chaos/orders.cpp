// SPDX-License-Identifier: MIT
#include "orders.hpp"

#include "hv/x86/local_apic.hpp"
#include "kit/apic.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/interrupts.hpp"
#include "kit/machine.hpp"
#include "kit/processors.hpp"

namespace guest {
namespace {

using chaos::Hook;

constexpr std::uint32_t patience{10'000'000};
constexpr std::uint32_t second_processor{1};
constexpr auto low_word = static_cast<std::uint32_t>(chaos::alive_word);

volatile chaos::Order& order_of(unsigned instance)
{
    return reinterpret_cast<volatile chaos::Order*>(chaos::first_order)[instance];
}

bool call(unsigned instance, std::uint64_t gives_way)
{
    std::uint64_t result{};
    std::uint32_t faulted{};
    asm volatile(GUEST_FIXUP_BEGIN "vmmcall" GUEST_FIXUP_END
                 : "+a"(result), "+d"(gives_way), [faulted] "+r"(faulted)
                 : "c"(chaos::hypercall_base + instance)
                 : "memory");
    return faulted == 0 && result == chaos::alive_word;
}

bool write(unsigned instance, std::uint32_t offset)
{
    return write_msr(msr_of(instance, offset), 1);
}

std::uint16_t port_of(unsigned instance)
{
    return static_cast<std::uint16_t>(chaos::first_port + instance * chaos::ports_per_instance);
}

bool reset_the_other()
{
    static bool started{};
    if (started) {
        reset_processor(second_processor);
        return true;
    }
    started = true;
    ApicIds ids;
    static_cast<void>(ids.push_back(second_processor));
    return start_processors(ids, 0, [](unsigned) { stop_for_good(); }) == 1;
}

/// An interrupt of its own that the instance watches; the guest takes it, and ends it, where comes() lets it.
bool interrupt_itself(unsigned instance)
{
    using hv::x86::ApicRegister;
    constexpr std::uint32_t to_itself{0b01u << 18};  // destination shorthand [APM2-3.41 §16.5]
    constexpr std::uint8_t vector{0x61};
    enable_xapic();
    set_handler(vector, [](InterruptFrame&) { apic_write(ApicRegister::EOI, 0); });
    const bool watched = write_msr(msr_of(instance, chaos::msr_watch), vector);
    apic_write(ApicRegister::ICR_LOW, to_itself | vector);
    return watched;
}

/// It halts until its local APIC's timer wakes it: then its run states have changed.  On a busy host the timer may come before the halt.
bool sleep_until_taken(unsigned instance)
{
    using hv::x86::ApicRegister;
    constexpr std::uint8_t vector{0x62};
    constexpr std::uint32_t by_one{0b1011}, counts{1'000'000};  // [SDM3-083 §11.5.4]
    constexpr unsigned tries{1000};
    enable_xapic();
    set_handler(vector, [](InterruptFrame&) { apic_write(ApicRegister::EOI, 0); });
    apic_write(ApicRegister::DIVIDE_CONFIGURATION, by_one);
    apic_write(ApicRegister::LVT_TIMER, vector);
    for (unsigned look = 0; look < tries && !was_taken(instance); ++look) {
        apic_write(ApicRegister::INITIAL_COUNT, counts);
        halt_until_interrupt();
    }
    return true;
}

/// What comes later than the access that asked for it: an interrupt can be taken meanwhile.
bool comes(unsigned instance)
{
    for (std::uint32_t look = 0; look < patience; ++look) {
        if (was_taken(instance))
            return true;
        asm volatile("sti\n pause\n cli" ::: "memory");
    }
    return false;
}

}  // namespace

std::uint32_t msr_of(unsigned instance, std::uint32_t offset)
{
    return chaos::first_msr + instance * chaos::msrs_per_instance + offset;
}

std::uint32_t leaves_of(unsigned instance)
{
    for (std::uint32_t index = 0; index < searched_blocks; ++index) {
        const auto block = block_at(index);
        if (block && block->signature() == "GraftChaos #" && cpuid(block->base + 1).eax == instance)
            return block->base;
    }
    return 0;
}

bool is_alive(unsigned instance)
{
    return read_msr(msr_of(instance, chaos::msr_alive)) == chaos::alive_word;
}

void place_order(unsigned instance, Hook hook, std::uint32_t crime)
{
    volatile chaos::Order& order = order_of(instance);
    order.hook = hook;
    order.crime = crime;
    order.magic = chaos::order_magic;
}

bool was_taken(unsigned instance)
{
    return order_of(instance).magic != chaos::order_magic;
}

bool provoke(unsigned instance, Hook hook)
{
    switch (hook) {
    case Hook::vcpu_reset: return reset_the_other();
    case Hook::cpuid: return cpuid(leaves_of(instance) + chaos::alive_leaf).eax == low_word;
    case Hook::msr_read: return read_msr(msr_of(instance, chaos::msr_plain)) == chaos::alive_word;
    case Hook::msr_write: return write(instance, chaos::msr_plain);
    case Hook::hypercall: return call(instance, 0);
    case Hook::hypercall_continue: return call(instance, 1);
    case Hook::timer: return write(instance, chaos::msr_timer);
    case Hook::mmio_read: return read_device(chaos::first_mmio + instance * chaos::mmio_per_instance) == low_word;
    case Hook::mmio_write: write_device(chaos::first_mmio + instance * chaos::mmio_per_instance, 1); return true;
    case Hook::port_read: return in32(port_of(instance)) == low_word;
    case Hook::port_write: out32(port_of(instance), 1); return true;
    case Hook::channel_message: return write(instance, chaos::msr_channel) && write(instance ^ 1, chaos::msr_message);
    case Hook::before_entry: return write(instance, chaos::msr_kick);
    case Hook::interrupt_window: return write(instance, chaos::msr_window);
    case Hook::interrupt_accepted:
    case Hook::interrupt_ended: return interrupt_itself(instance);
    case Hook::run_state_changed: return sleep_until_taken(instance);
    case Hook::exit: return in32(static_cast<std::uint16_t>(chaos::first_watched_port + instance * chaos::ports_per_instance)) == ~0u;
    default: return false;
    }
}

Outcome order(unsigned instance, Hook hook, std::uint32_t crime)
{
    static_cast<void>(read_msr(msr_of(instance, chaos::msr_age)));  // no fresh one any more
    place_order(instance, hook, crime);
    const bool answered = provoke(instance, hook);
    const bool committed = comes(instance);
    if (!committed)
        fact("not-taken", chaos::hooks[static_cast<unsigned>(hook)], ", crime ", crime, ", instance ", instance, ", answered ",
             answered ? 1 : 0);
    const bool lost = read_msr(msr_of(instance, chaos::msr_age)) == 0u;
    return {committed ? 1u : 0u, committed && lost ? 1u : 0u, answered && is_alive(instance) ? 1u : 0u};
}

}  // namespace guest
