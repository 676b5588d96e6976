// SPDX-License-Identifier: MIT
//
// Orders crimes of the chaos modules that it is bound to, one of each: word N of the command line is the number of the crime
// that instance N commits.  Says what became of each, and whether the others still answer.  With the first word `restart`,
// instance 0 is restarted instead: it dies in the middle of a write, and the guest counts that its writes and its state go on; until
// instances die so fast that it goes on without.
#include "extensions/chaos/crimes.hpp"
#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/machine.hpp"

namespace {

using namespace guest;

std::uint32_t msr_of(unsigned instance, std::uint32_t offset)
{
    return chaos::first_msr + instance * chaos::msrs_per_instance + offset;
}

bool is_alive(unsigned instance)
{
    return read_msr(msr_of(instance, chaos::msr_alive)) == chaos::alive_word;
}

void order(unsigned instance, std::uint64_t number)
{
    const chaos::Crime& crime = chaos::crimes[number];
    hv::BoundedText<80> name;
    hv::say(name, "crime-", number, '-', crime.name);
    const bool answered = write_msr(msr_of(instance, chaos::msr_commit), number);
    const bool survives = crime.fate == chaos::Fate::survives;
    expect(name.view(), answered == survives && is_alive(instance) == survives);
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

}  // namespace

extern "C" void guest_main()
{
    say_begin("chaos");
    if (command_word(0) == "restart") {
        restart();
        return say_end();
    }
    unsigned count{};
    while (count < chaos::instances && parse_number(command_word(count)))
        ++count;
    for (unsigned instance = 0; instance < count; ++instance) {
        const auto number = *parse_number(command_word(instance));
        if (number >= chaos::crimes.size() || !is_alive(instance))
            fact("instance", instance, ": FAILED, no such crime, or it does not answer");
        else
            order(instance, number);
    }
    say_end();
}
