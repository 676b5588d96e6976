// SPDX-License-Identifier: MIT
//
// What a domain was given: the one object that CPUID, MSRs and hypercalls all ask, so that they cannot
// disagree.  The groups are those of the parameter `features`.
#pragma once

#include <array>
#include <bit>
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
    synic = 7,
    stimer = 8,
    runtime = 9,
    idle = 10,
    input = 11,
    messages = 12,
};

/// A group, and those that a guest cannot use it without.
struct FeatureGroup {
    std::string_view name;
    std::uint32_t needs{};  ///< bits of groups
    bool by_default{true};
};
constexpr std::uint32_t bit_of(Feature feature)
{
    return 1u << static_cast<std::uint32_t>(feature);
}
inline constexpr std::array<FeatureGroup, 13> feature_groups{{
    {"base"},
    {"time"},
    {"apic"},
    {"tlbflush"},
    {"ipi"},
    {"reset", 0, false},
    {"crash"},
    {"synic"},
    {"stimer", bit_of(Feature::time) | bit_of(Feature::synic)},
    {"runtime", 0, false},
    {"idle", 0, false},
    {"input"},
    {"messages", bit_of(Feature::synic), false},
}};

/// A set of groups.  `base` is always in it.
class Features {
public:
    constexpr explicit Features(std::uint32_t bits) : bits_{bits | bit_of(Feature::base)} {}

    [[nodiscard]] static constexpr Features all() { return Features{(1u << feature_groups.size()) - 1}; }
    /// What a guest gets whose config does not say.
    [[nodiscard]] static constexpr Features by_default()
    {
        std::uint32_t bits{};
        for (std::uint32_t group = 0; group < feature_groups.size(); ++group)
            bits |= feature_groups[group].by_default ? 1u << group : 0;
        return Features{bits};
    }
    [[nodiscard]] static constexpr Features base_alone() { return Features{0}; }

    [[nodiscard]] constexpr bool has(Feature feature) const { return (bits_ & bit_of(feature)) != 0; }
    [[nodiscard]] constexpr std::uint32_t bits() const { return bits_; }
    friend constexpr bool operator==(const Features&, const Features&) = default;

    /// One element of the list: a group's name adds it, `!name` takes it and what needs it away, `all` adds every group and
    /// `default` those that a guest has whose config does not say.  Nothing where the word is none of these; `!base` is
    /// refused, since nothing works without it.
    [[nodiscard]] constexpr std::optional<Features> with(std::string_view word) const
    {
        if (word == "all")
            return all();
        if (word == "default")
            return Features{bits_ | by_default().bits()};
        const bool remove{word.starts_with('!')};
        if (remove)
            word.remove_prefix(1);
        for (std::uint32_t index = 0; index < feature_groups.size(); ++index) {
            if (feature_groups[index].name != word)
                continue;
            if (!remove)
                return Features{bits_ | 1u << index};
            if (index == static_cast<std::uint32_t>(Feature::base))
                return std::nullopt;
            return Features{bits_ & ~(1u << index)}.without_those_that_need(index);
        }
        return std::nullopt;
    }

    /// A group of the set and one that it needs and the set lacks, by their positions; nothing where all have what they need.
    struct Lack {
        std::uint32_t group;
        std::uint32_t needed;
    };
    [[nodiscard]] constexpr std::optional<Lack> lack() const
    {
        for (std::uint32_t group = 0; group < feature_groups.size(); ++group) {
            const std::uint32_t lacking{(bits_ >> group & 1) != 0 ? feature_groups[group].needs & ~bits_ : 0};
            if (lacking != 0)
                return Lack{group, static_cast<std::uint32_t>(std::countr_zero(lacking))};
        }
        return std::nullopt;
    }

private:
    [[nodiscard]] constexpr Features without_those_that_need(std::uint32_t needed) const
    {
        std::uint32_t left{bits_};
        for (std::uint32_t group = 0; group < feature_groups.size(); ++group)
            if ((feature_groups[group].needs >> needed & 1) != 0)
                left &= ~(1u << group);
        return Features{left};
    }
    std::uint32_t bits_;
};
static_assert(!Features::all().lack() && !Features::by_default().lack() && !Features::base_alone().lack());

/// The condition of the declared answers of a group (declared.hpp: numbers from 1).
constexpr std::uint32_t condition_of(Feature feature)
{
    return static_cast<std::uint32_t>(feature) + 1;
}

}  // namespace hv::viridian
