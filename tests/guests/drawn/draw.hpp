// SPDX-License-Identifier: MIT
//
// Answers drawn at random from a seed: which leaves and MSRs the module of this folder declares, and what they say.  The
// guest draws the same, so that it knows where to look and what it must find.
#pragma once

#include <array>
#include <cstdint>

namespace drawn {

inline constexpr unsigned of_each{24};
inline constexpr std::uint32_t first_leaf{2};  ///< behind the signature and the description
inline constexpr std::uint32_t leaves{0x100};
inline constexpr std::uint32_t msrs{0x200};

/// An MSR reads as this number or, of a leaf, its EAX is the lower half.
struct Answer {
    std::uint32_t place;
    std::uint64_t value;
};
using Answers = std::array<Answer, of_each>;

struct Draw {
    Answers leaves{};
    Answers reads{};
    Answers writes{};  ///< accepted and dropped; the value is what the guest writes
};

class Generator {
public:
    explicit constexpr Generator(std::uint64_t seed) : state_{seed * 2 + 1} {}
    constexpr std::uint64_t next()
    {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return state_ * 0x2545'f491'4f6c'dd1d;
    }

private:
    std::uint64_t state_;
};

/// Different places from `first` to below `end`, in no order.
constexpr Answers draw_places(Generator& generator, std::uint32_t first, std::uint32_t end)
{
    Answers answers{};
    for (unsigned index = 0; index < of_each;) {
        const auto place = static_cast<std::uint32_t>(first + (generator.next() >> 32) % (end - first));
        bool taken{};
        for (unsigned other = 0; other < index; ++other)
            taken = taken || answers[other].place == place;
        if (!taken)
            answers[index++] = {place, generator.next()};
    }
    return answers;
}

constexpr Draw draw(std::uint64_t seed)
{
    Generator generator{seed};
    Draw result;
    result.leaves = draw_places(generator, first_leaf, leaves);
    result.reads = draw_places(generator, 0, msrs);
    result.writes = draw_places(generator, 0, msrs);
    return result;
}

}  // namespace drawn
