// SPDX-License-Identifier: MIT
//
// MSRs as one sorted table: which bits a guest may set, and who answers.  Reserved bits and read-only
// registers are refused by the walker, so a handler starts with a legal value; order and overlap are checked
// at compile time.  What needs no thought does not belong here but in the declared answers.
#pragma once

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

template <typename T>
constexpr const MsrRule<T>* find_rule(std::span<const MsrRule<T>> rules, std::uint32_t window,
                                      std::uint32_t offset)
{
    for (const MsrRule<T>& rule : rules)
        if (rule.window == window && offset >= rule.first && offset <= rule.last)
            return &rule;
    return nullptr;
}

/// The one read path: the state block cannot change here, and the verdict says so.
template <typename T>
abi::Verdict read_msr(std::span<const MsrRule<T>> rules, const Vcpu<T>& vcpu, std::uint32_t window,
                      std::uint32_t offset, std::uint64_t& value)
{
    const MsrRule<T>* const rule{find_rule(rules, window, offset)};
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
abi::Verdict write_msr(std::span<const MsrRule<T>> rules, Vcpu<T>& vcpu, std::uint32_t window,
                       std::uint32_t offset, std::uint64_t value)
{
    const MsrRule<T>* const rule{find_rule(rules, window, offset)};
    if (rule == nullptr || rule->write == nullptr || (value & ~rule->writable) != 0)
        return abi::inject_general_protection;
    return rule->write(vcpu, offset, value) ? abi::done : abi::inject_general_protection;
}

}  // namespace hv::ext
