// SPDX-License-Identifier: MIT
//
// What a domain was given: the one object that CPUID, MSRs and hypercalls all ask, so that they cannot
// disagree.  The groups are those of the parameter `features`.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace hv::viridian {

enum class Feature : std::uint32_t {
    base = 0,
    time = 1,
    apic = 2,
    tlbflush = 3,
    ipi = 4,
    reset = 5,
    crash = 6,
};
inline constexpr std::array<std::string_view, 7> feature_names{"base", "time",  "apic", "tlbflush",
                                                               "ipi",  "reset", "crash"};

/// A set of groups.  `base` is always in it.
class Features {
public:
    constexpr explicit Features(std::uint32_t bits) : bits_{bits | bit(Feature::base)} {}

    [[nodiscard]] static constexpr Features all() { return Features{(1u << feature_names.size()) - 1}; }
    [[nodiscard]] static constexpr Features base_alone() { return Features{0}; }

    [[nodiscard]] constexpr bool has(Feature feature) const { return (bits_ & bit(feature)) != 0; }
    [[nodiscard]] constexpr std::uint32_t bits() const { return bits_; }
    friend constexpr bool operator==(const Features&, const Features&) = default;

    /// One element of the list: a group's name adds it, `!name` takes it away, `all` and `default` are every
    /// group. Nothing where the word is none of these; `!base` is refused, since nothing works without it.
    [[nodiscard]] constexpr std::optional<Features> with(std::string_view word) const
    {
        if (word == "all" || word == "default")
            return all();
        const bool remove{word.starts_with('!')};
        if (remove)
            word.remove_prefix(1);
        for (std::uint32_t index = 0; index < feature_names.size(); ++index) {
            if (feature_names[index] != word)
                continue;
            if (!remove)
                return Features{bits_ | 1u << index};
            if (index == static_cast<std::uint32_t>(Feature::base))
                return std::nullopt;
            return Features{bits_ & ~(1u << index)};
        }
        return std::nullopt;
    }

private:
    static constexpr std::uint32_t bit(Feature feature) { return 1u << static_cast<std::uint32_t>(feature); }
    std::uint32_t bits_;
};

/// The condition of the declared answers of a group (declared.hpp: numbers from 1).
constexpr std::uint32_t condition_of(Feature feature)
{
    return static_cast<std::uint32_t>(feature) + 1;
}

}  // namespace hv::viridian
