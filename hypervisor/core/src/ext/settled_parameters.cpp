// SPDX-License-Identifier: MIT
//
// A list that is only appended to, so that its readers need no lock.
#include "hv/core/ext/settled_parameters.hpp"

namespace hv::core {

void SettledParameters::clear()
{
    SettledParameter* one = first_.exchange(nullptr);
    while (one != nullptr) {
        SettledParameter* const next = one->next.load();
        destroy(heap_, one);
        one = next;
    }
    end_ = &first_;
    count_ = 0;
}

Status SettledParameters::add(std::string_view key, std::string_view value)
{
    if (key.empty() || key.size() > SettledParameter::longest_key ||
        value.size() > SettledParameter::longest_value)
        return Error::invalid_argument;
    const LockGuard guard{lock_};
    if (count_ == maximum)
        return Error::limit_reached;
    SettledParameter* const added = HV_TRY(make<SettledParameter>(heap_)).leak();
    say(added->key, key);
    say(added->value, value);
    end_->store(added, std::memory_order_release);
    end_ = &added->next;
    ++count_;
    return Done{};
}

const SettledParameter* SettledParameters::at(std::uint64_t index) const
{
    const SettledParameter* one = first_.load(std::memory_order_acquire);
    for (; one != nullptr && index != 0; --index)
        one = one->next.load(std::memory_order_acquire);
    return one;
}

}  // namespace hv::core
