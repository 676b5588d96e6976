// SPDX-License-Identifier: MIT
//
// Hypercalls as one sorted table of code and handler.  Where the code of a call is found in its registers is
// the guest interface's business: the author's class says so in hypercall_code.
#pragma once

#include <algorithm>

#include "hv/ext/context.hpp"

namespace hv::ext {

template <typename T>
struct HypercallRule {
    std::uint64_t code;
    abi::Verdict (*call)(Vcpu<T>&, abi::HypercallFrame&);
};

template <typename T>
consteval bool ascending(std::span<const HypercallRule<T>> rules)
{
    for (std::size_t index = 0; index < rules.size(); ++index)
        if (rules[index].call == nullptr || (index > 0 && rules[index - 1].code >= rules[index].code))
            return false;
    return true;
}

/// The rule of a code, or null.
template <typename T>
constexpr const HypercallRule<T>* find_rule(std::span<const HypercallRule<T>> rules, std::uint64_t code)
{
    const auto found = std::ranges::lower_bound(rules, code, {}, &HypercallRule<T>::code);
    return found != rules.end() && found->code == code ? &*found : nullptr;
}

/// A general register of a frame, by name.
constexpr std::uint64_t& reg(abi::HypercallFrame& frame, abi::GeneralRegister name)
{
    return frame.general[static_cast<std::uint32_t>(name)];
}
constexpr const std::uint64_t& reg(const abi::HypercallFrame& frame, abi::GeneralRegister name)
{
    return frame.general[static_cast<std::uint32_t>(name)];
}

}  // namespace hv::ext
