// SPDX-License-Identifier: MIT
//
// Orders crimes of the chaos modules that it is bound to, and says what became of each.  By its command line:
//   NUMBER...                 instance N commits the N-th of these crimes in its MSR write, and may end with it
//   restart                   instance 0 is restarted: it dies in the middle of a write, and the guest counts that its writes and
//                             its state go on; until instances die so fast that it goes on without
//   hooks INSTANCES ROUNDS [HOOK...]  every fatal crime in every hook that a guest can make run, or in those, each ROUNDS times, by
//                             turns of the instances
//   trusted CRIME [HOOK...]   that crime in every hook that a guest can make run, or in those; each is announced before it, since it
//                             may be the last
//   on-fault ACTION           instance 0 fails in a write, and the guest says what it meets afterwards
//   selectors COUNT           instance 0 says what all selectors name, makes a far call through each below COUNT, and loses itself each time
//   watch                     uses instance 0 for ever, and says so now and then; once it was wrong, that
#include "orders.hpp"

#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/machine.hpp"

namespace {

using namespace guest;
using chaos::Hook;

constexpr unsigned announcing_looks{3'000};
constexpr auto crime_count = static_cast<std::uint32_t>(chaos::crimes.size());

std::uint32_t number_at(unsigned word)
{
    return static_cast<std::uint32_t>(parse_number(command_word(word)).value_or(0));
}

void order_in_msr_write(unsigned instance, std::uint64_t number)
{
    const chaos::Crime& crime = chaos::crimes[number];
    hv::BoundedText<80> name;
    hv::say(name, "crime-", number, '-', crime.name);
    const bool answered = write_msr(msr_of(instance, chaos::msr_commit), number);
    const bool survives = crime.fate == chaos::Fate::survives;
    expect(name.view(), answered == survives && is_alive(instance) == survives);
}

void one_of_each()
{
    unsigned count{};
    while (count < chaos::instances && parse_number(command_word(count)))
        ++count;
    for (unsigned instance = 0; instance < count; ++instance) {
        const auto number = *parse_number(command_word(instance));
        if (number >= crime_count || !is_alive(instance))
            fact("instance", instance, ": FAILED, no such crime, or it does not answer");
        else
            order_in_msr_write(instance, number);
    }
}

alignas(8) volatile std::uint64_t stumbles_left{};  // RAM is mapped where it lies

bool stumble(std::uint64_t times)
{
    stumbles_left = times;
    return write_msr(msr_of(0, chaos::msr_stumble), reinterpret_cast<std::uintptr_t>(&stumbles_left)) && stumbles_left == 0;
}

/// Seven instances die, in four writes; each write is answered in the end, and counted once.
void restart()
{
    std::uint64_t good{};
    for (const std::uint64_t times : {0u, 1u, 2u, 4u}) {
        good += stumble(times) ? 1 : 0;
        expect("restarted", good == read_msr(msr_of(0, chaos::msr_commits)));
    }
    fact("restart-writes", good);
    expect("restart-alive", is_alive(0));
    const bool answered = stumble(100);  // more than it may
    expect("restart-storm-detaches", !answered && !is_alive(0) && stumbles_left > 90);
}

/// What a guest finds of an extension that is not there any more: its leaves, and nothing else.
void expect_detached()
{
    const std::uint32_t leaves = leaves_of(0);
    expect("detached-leaves-stay", leaves != 0 && cpuid(leaves).eax >= leaves);
    expect("detached-handled-leaf-is-zero", cpuid(leaves + chaos::alive_leaf).eax == 0);
    expect("detached-msr-read-faults", !read_msr(msr_of(0, chaos::msr_plain)));
    expect("detached-msr-write-faults", !write_msr(msr_of(0, chaos::msr_plain), 1));
    expect("detached-declared-msr-faults", !read_msr(msr_of(0, chaos::msr_declared)));
    expect("detached-hypercall-faults", !provoke(0, Hook::hypercall));
    expect("detached-port-reads-ones", in32(chaos::first_port) == ~0u);
    expect("detached-mmio-reads-ones", read_device(chaos::first_mmio) == ~0u);
    expect("detached-next-extension-goes-on", is_alive(1));
}

/// The write is made once more by `restart`; it faults, where the guest comes so far, by the others.
void on_fault()
{
    const auto good = [] { return stumble(0) && read_msr(msr_of(0, chaos::msr_declared)) == chaos::alive_word; };
    expect("before", good() && good() && read_msr(msr_of(0, chaos::msr_commits)) == 2u);
    place_order(0, Hook::msr_write, 1);
    const bool answered = provoke(0, Hook::msr_write);
    if (command_word(1) == "restart") {
        expect("restarted-write-is-answered", answered);
        expect("restarted-instance-is-fresh", read_msr(msr_of(0, chaos::msr_age)) == 0u);
        expect("restarted-state-goes-on", good() && read_msr(msr_of(0, chaos::msr_commits)) == 3u);
        expect("restarted-leaves-stay", cpuid(leaves_of(0) + chaos::alive_leaf).eax != 0);
    } else {
        expect("write-faults", !answered);
        expect_detached();
    }
}

/// Named by the command line from `first` on, where that names any.
bool is_wanted(std::string_view name, unsigned first)
{
    for (unsigned word = first; !command_word(word).empty(); ++word)
        if (command_word(word) == name)
            return true;
    return command_word(first).empty();
}

/// Three lines for each hook: how often each crime was committed, lost its instance, and was survived.
void all_in(Hook hook, unsigned instances, std::uint32_t rounds)
{
    static unsigned turn{};
    hv::BoundedText<400> committed, lost, survived;
    for (std::uint32_t crime = 1; crime < crime_count; ++crime) {
        if (chaos::crimes[crime].fate != chaos::Fate::dies)
            continue;
        Outcome sum{};
        for (std::uint32_t round = 0; round < rounds; ++round)
            sum += order(turn++ % instances, hook, crime);
        hv::say(committed, ' ', sum.committed);
        hv::say(lost, ' ', sum.lost);
        hv::say(survived, ' ', sum.survived);
    }
    const std::string_view name = chaos::hooks[static_cast<unsigned>(hook)];
    fact("committed", name, committed.view());
    fact("lost", name, lost.view());
    fact("survived", name, survived.view());
}

/// The announcement reaches dom0's other end before the crime does whatever it does.
void each_hook(std::uint32_t crime)
{
    for (const Hook hook : guest_hooks) {
        const std::string_view name = chaos::hooks[static_cast<unsigned>(hook)];
        if (!is_wanted(name, 2))
            continue;
        fact("trying", name);
        for (unsigned look = 0; look < announcing_looks; ++look)
            static_cast<void>(cpuid(0x4000'0000));
        const Outcome outcome = order(0, hook, crime);
        fact("outcome", name, ' ', outcome.committed, ' ', outcome.lost, ' ', outcome.survived);
    }
}

alignas(8) volatile std::uint64_t selector_to_call{};

/// Of both tables, with each privilege level.
void selectors(std::uint32_t count)
{
    fact("usable-selectors", hv::Hex{read_msr(msr_of(0, chaos::msr_selectors)).value_or(0)});
    std::uint32_t stopped{};
    for (std::uint32_t selector = 0; selector < count; ++selector) {
        static_cast<void>(read_msr(msr_of(0, chaos::msr_age)));  // no fresh one any more
        selector_to_call = selector + 1;
        const bool answered = write_msr(msr_of(0, chaos::msr_far_call), reinterpret_cast<std::uintptr_t>(&selector_to_call));
        if (answered && selector_to_call == 0 && read_msr(msr_of(0, chaos::msr_age)) == 0u && is_alive(0))
            ++stopped;
        else
            fact("selector-FAILED", hv::Hex{selector});
    }
    fact("selectors", stopped, " of ", count);
}

/// Its writes are counted by the instance's state, one by one.
[[noreturn]] void watch()
{
    constexpr std::uint64_t rounds_each_line{20'000};
    for (std::uint64_t rounds = 1, wrong = 0;; ++rounds) {
        const bool good = stumble(0) && read_msr(msr_of(0, chaos::msr_commits)) == rounds && is_alive(0);
        wrong += good ? 0 : 1;
        if (rounds % rounds_each_line != 0)
            continue;
        if (wrong == 0)
            fact("watched", rounds);
        else
            fact("watch-FAILED", wrong);
    }
}

}  // namespace

extern "C" void guest_main()
{
    say_begin("chaos");
    const unsigned instances = number_at(1);  // or whatever else is counted
    if (command_word(0) == "restart")
        restart();
    else if (command_word(0) == "hooks")
        for (const Hook hook : guest_hooks) {
            if (is_wanted(chaos::hooks[static_cast<unsigned>(hook)], 3))
                all_in(hook, instances, number_at(2));
        }
    else if (command_word(0) == "trusted")
        each_hook(number_at(1));
    else if (command_word(0) == "on-fault")
        on_fault();
    else if (command_word(0) == "selectors")
        selectors(instances);
    else if (command_word(0) == "watch")
        watch();
    else
        one_of_each();
    say_end();
}
