// SPDX-License-Identifier: MIT
//
// What an answer costs that a module has declared, for leaves and MSRs drawn at random (module.cpp): each many times,
// between two reads of the TSC, which counts instructions under `-icount`.  Prints the cheapest and the dearest median.
#include <algorithm>

#include "draw.hpp"
#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/machine.hpp"

namespace {

using namespace guest;

constexpr std::size_t rounds{33};
constexpr std::size_t warm_up{16};

template <typename Operation>
std::uint64_t median_ticks(Operation operation)
{
    std::array<std::uint64_t, rounds> ticks;
    for (std::size_t round = 0; round < warm_up; ++round)
        operation();
    for (std::uint64_t& one : ticks) {
        const std::uint64_t before{read_tsc()};
        operation();
        one = read_tsc() - before;
    }
    std::sort(ticks.begin(), ticks.end());
    return ticks[rounds / 2];
}

/// `right(answer)` is true where the guest finds what was declared.
template <typename Right>
void compare(std::string_view what, const drawn::Answers& answers, Right right)
{
    std::uint64_t least{~0ull}, most{};
    unsigned wrong{};
    for (const drawn::Answer& answer : answers) {
        wrong += right(answer) ? 0 : 1;
        const std::uint64_t ticks{median_ticks([&] { static_cast<void>(right(answer)); })};
        least = std::min(least, ticks);
        most = std::max(most, ticks);
    }
    print_line("COST ", what, ' ', least, ' ', most, ' ', wrong);
}

}  // namespace

extern "C" void guest_main()
{
    say_begin("drawn");
    if (const auto block = find_block("DrawnAnswers")) {
        const CpuidResult description{cpuid(block->base + 1)};
        const std::uint32_t first_msr{description.ebx};
        const drawn::Draw draw{drawn::draw(description.eax)};
        compare("leaves", draw.leaves, [&](const drawn::Answer& answer) {
            return cpuid(block->base + answer.place).eax == static_cast<std::uint32_t>(answer.value);
        });
        compare("reads", draw.reads, [&](const drawn::Answer& answer) {
            return read_msr(first_msr + answer.place) == answer.value;
        });
        compare("writes", draw.writes,
                [&](const drawn::Answer& answer) { return write_msr(first_msr + answer.place, answer.value); });
    }
    say_end();
}
