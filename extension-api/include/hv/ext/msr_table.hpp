// SPDX-License-Identifier: MIT
//
// MSRs as one sorted table: which bits a guest may set, and who answers.  Reserved bits and read-only
// registers are refused by the walker, so a handler starts with a legal value; order and overlap are checked
// at compile time.  What needs no thought does not belong here but in the declared answers.
#pragma once

#include <algorithm>
#include <array>

#include "hv/ext/context.hpp"

namespace hv::ext {

/// One MSR or a run of them, by offset in the window.  A null handler, a bit outside `writable` and an Error
/// of the handler are #GP(0) in the guest.
template <typename T>
struct MsrRule {
    std::uint32_t window;
    std::uint32_t first;
    std::uint32_t last;
    std::uint64_t writable;
    Expected<std::uint64_t> (*read)(const Vcpu<T>&, std::uint32_t offset);
    Status (*write)(Vcpu<T>&, std::uint32_t offset, std::uint64_t value);
    bool read_blocks{};  ///< after a read the VCPU blocks, as the reader arranged by vcpu_block
};

template <typename T>
consteval bool ascending_and_disjoint(std::span<const MsrRule<T>> rules)
{
    for (std::size_t index = 0; index < rules.size(); ++index) {
        if (rules[index].first > rules[index].last)
            return false;
        if (index == 0)
            continue;
        const MsrRule<T>& before = rules[index - 1];
        if (before.window > rules[index].window ||
            (before.window == rules[index].window && before.last >= rules[index].first))
            return false;
    }
    return true;
}

namespace detail {

/// The offsets that a table with a place for each has to have room for; 0 where such a table would be large, or there are
/// several windows.
template <typename Rules>
consteval std::size_t places_wanted(const Rules& rules)
{
    constexpr std::size_t largest{1024}, most_rules{255};
    if (rules.empty() || rules.size() > most_rules || rules.front().window != rules.back().window || rules.back().last >= largest)
        return 0;
    return rules.back().last + std::size_t{1};
}

/// For each offset the rule's number from 1 on, or 0.
template <std::size_t N, typename Rules>
consteval std::array<std::uint8_t, N> places(const Rules& rules)
{
    std::array<std::uint8_t, N> found{};
    for (std::size_t index = 0; index < rules.size(); ++index)
        for (std::size_t offset = rules[index].first; offset <= rules[index].last && offset < N; ++offset)
            found[offset] = static_cast<std::uint8_t>(index + 1);
    return found;
}
template <const auto& rules>
inline constexpr std::array<std::uint8_t, places_wanted(rules)> places_of{places<places_wanted(rules)>(rules)};

}  // namespace detail

/// The rule of an offset in a sorted table; null where there is none.
template <typename T>
constexpr const MsrRule<T>* find_rule(std::span<const MsrRule<T>> rules, std::uint32_t window, std::uint32_t offset)
{
    const auto behind = std::ranges::partition_point(rules, [=](const MsrRule<T>& rule) {
        return rule.window < window || (rule.window == window && rule.first <= offset);
    });
    if (behind == rules.begin())
        return nullptr;
    const MsrRule<T>& last = *(behind - 1);
    return last.window == window && offset <= last.last ? &last : nullptr;
}

/// The same of a table that is known here: as fast for its last rule as for its first.
template <const auto& rules>
constexpr auto find_rule(std::uint32_t window, std::uint32_t offset) -> decltype(rules.data())
{
    if constexpr (detail::places_wanted(rules) != 0) {
        constexpr const auto& places = detail::places_of<rules>;
        if (window != rules.front().window || offset >= places.size() || places[offset] == 0)
            return nullptr;
        return &rules[places[offset] - 1u];
    } else {
        using Rule = typename std::remove_cvref_t<decltype(rules)>::value_type;
        return find_rule(std::span<const Rule>{rules}, window, offset);
    }
}

/// The one read path: the state block cannot change here, and the verdict says so.
template <typename T>
abi::Verdict read_by(const MsrRule<T>* rule, const Vcpu<T>& vcpu, std::uint32_t offset, std::uint64_t& value)
{
    if (rule == nullptr || rule->read == nullptr)
        return abi::inject_general_protection;
    const auto answer = rule->read(vcpu, offset);
    if (!answer)
        return abi::inject_general_protection;
    value = answer.value();
    if (rule->read_blocks)
        return {abi::VerdictKind::block, abi::verdict_unchanged, 0};
    return abi::done_unchanged;
}

/// The one write path.  A handler that fails must have changed nothing.
template <typename T>
abi::Verdict write_by(const MsrRule<T>* rule, Vcpu<T>& vcpu, std::uint32_t offset, std::uint64_t value)
{
    if (rule == nullptr || rule->write == nullptr || (value & ~rule->writable) != 0)
        return abi::inject_general_protection;
    return rule->write(vcpu, offset, value) ? abi::done : abi::inject_general_protection;
}

template <typename T>
abi::Verdict read_msr(std::span<const MsrRule<T>> rules, const Vcpu<T>& vcpu, std::uint32_t window,
                      std::uint32_t offset, std::uint64_t& value)
{
    return read_by(find_rule(rules, window, offset), vcpu, offset, value);
}
template <typename T>
abi::Verdict write_msr(std::span<const MsrRule<T>> rules, Vcpu<T>& vcpu, std::uint32_t window,
                       std::uint32_t offset, std::uint64_t value)
{
    return write_by(find_rule(rules, window, offset), vcpu, offset, value);
}

}  // namespace hv::ext
