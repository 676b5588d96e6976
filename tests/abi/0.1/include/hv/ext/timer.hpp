// SPDX-License-Identifier: MIT
//
// A timer of one VCPU, by handle.  Plain data, so that it lies in the VCPU's state block; it belongs to the
// binding and so outlives a restart.  Times are guest time in nanoseconds.
#pragma once

#include "hv/ext/host.hpp"

namespace hv::ext {

struct Timer {
    std::uint64_t handle;

    [[nodiscard]] static Expected<Timer> create(std::uint64_t vcpu, std::uint64_t cookie)
    {
        Timer timer{};
        if (const auto answer = check(host().timer_create(vcpu, cookie, &timer.handle)); !answer)
            return answer.error();
        return timer;
    }
    /// Calls the timer hook at `deadline_ns`, and every `period_ns` after it unless that is 0.
    [[nodiscard]] Status call_at(std::uint64_t deadline_ns, std::uint64_t period_ns = 0) const
    {
        const abi::TimerSetting setting{deadline_ns, period_ns, abi::TimerAction::call_hook, 0};
        return check(host().timer_set(handle, &setting));
    }
    /// Injects `vector` without entering the module.
    [[nodiscard]] Status inject_at(std::uint64_t deadline_ns, std::uint64_t period_ns,
                                   std::uint8_t vector) const
    {
        const abi::TimerSetting setting{deadline_ns, period_ns, abi::TimerAction::inject_vector, vector};
        return check(host().timer_set(handle, &setting));
    }
    [[nodiscard]] Status cancel() const { return check(host().timer_cancel(handle)); }
    [[nodiscard]] Status destroy() const { return check(host().timer_destroy(handle)); }
};

}  // namespace hv::ext
