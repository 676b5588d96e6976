// SPDX-License-Identifier: MIT
//
// Orders crimes of the chaos modules that it is bound to, one of each: word N of the command line is the number of the crime
// that instance N commits.  Says what became of each, and whether the others still answer.
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

}  // namespace

extern "C" void guest_main()
{
    say_begin("chaos");
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
