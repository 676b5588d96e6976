// SPDX-License-Identifier: MIT
//
// CPUID leaves that must be computed at each execution, as one sorted table.  Leaves with fixed values are
// declared answers and cost no call; a leaf that is in neither reads as zeros.
#pragma once

#include "hv/ext/context.hpp"

namespace hv::ext {

/// A leaf, or a run of them, relative to the window's block.
template <typename T>
struct LeafRule {
    std::uint32_t window;
    std::uint32_t first;
    std::uint32_t last;
    abi::CpuidResult (*compute)(const Vcpu<T>&, std::uint32_t leaf, std::uint32_t subleaf);
};

template <typename T>
consteval bool ascending_and_disjoint(std::span<const LeafRule<T>> rules)
{
    for (std::size_t index = 0; index < rules.size(); ++index) {
        if (rules[index].first > rules[index].last || rules[index].compute == nullptr)
            return false;
        if (index == 0)
            continue;
        const LeafRule<T>& before = rules[index - 1];
        if (before.window > rules[index].window ||
            (before.window == rules[index].window && before.last >= rules[index].first))
            return false;
    }
    return true;
}

template <typename T>
abi::Verdict compute_leaf(std::span<const LeafRule<T>> rules, const Vcpu<T>& vcpu, std::uint32_t window,
                          std::uint32_t leaf, std::uint32_t subleaf, abi::CpuidResult& result)
{
    for (const LeafRule<T>& rule : rules)
        if (rule.window == window && leaf >= rule.first && leaf <= rule.last)
            result = rule.compute(vcpu, leaf, subleaf);
    return abi::done_unchanged;
}

}  // namespace hv::ext
