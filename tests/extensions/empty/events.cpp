// SPDX-License-Identifier: MIT
//
// The hooks that do nothing which come by an event instead of an access: what a call of those costs (scripts/bench).  The guest has
// each brought about by a hypercall, its number in RAX.
#include "empty.hpp"
#include "hv/ext/extension.hpp"
#include "hv/ext/timer.hpp"

using namespace hv;

struct EmptyEvents {
    static constexpr std::uint32_t calls_window{1};
    struct VcpuState {
        ext::Timer timer;
    };
    using Vcpu = ext::Vcpu<EmptyEvents>;

    static constexpr ext::Info info{.name = "empty-events",
                                    .version_major = 1,
                                    .needs = abi::need_time | abi::need_timers | abi::need_vcpus | abi::need_injection |
                                             abi::need_exits | abi::need_interrupt_watch,
                                    .description = "hooks of events that do nothing, for scripts/bench"};
    static constexpr std::array windows{
        ext::hypercalls_where(calls_window, {.modes = abi::match_long_64, .operand = abi::match_always})};
    static constexpr std::array exits{abi::ExitSubscription{abi::ExitKind::port, 0, empty::watched_port, empty::watched_port}};

    static abi::Verdict vcpu_initialise(Vcpu& vcpu)
    {
        const auto timer = ext::Timer::create(vcpu.handle(), 1);
        if (!timer)
            return ext::refuse(timer.error());
        vcpu.state().timer = timer.value();
        return abi::done;
    }
    static abi::Verdict hypercall(Vcpu& vcpu, abi::HypercallFrame& frame)
    {
        switch (frame.general[0]) {
        case empty::go_on: return abi::again;
        case empty::kick: return as_verdict(ext::host().vcpu_kick(vcpu.handle()));
        case empty::open_window: return as_verdict(ext::host().interrupt_window_request(vcpu.handle()));
        case empty::arm_timer: return arm(vcpu);
        case empty::watch:
            return as_verdict(ext::host().interrupt_watch(vcpu.handle(), empty::watched_vector, abi::watch_accepted | abi::watch_ended));
        default: return abi::done_unchanged;
        }
    }
    static abi::Verdict hypercall_continue(Vcpu&, abi::HypercallFrame&) { return abi::done_unchanged; }
    static abi::Verdict timer(Vcpu&, std::uint64_t, std::uint64_t, std::uint64_t) { return abi::done_unchanged; }
    static abi::Verdict before_entry(Vcpu&) { return abi::done_unchanged; }
    static abi::Verdict interrupt_window(Vcpu&) { return abi::done_unchanged; }
    static abi::Verdict interrupt_accepted(Vcpu&, std::uint32_t) { return abi::done_unchanged; }
    static abi::Verdict interrupt_ended(Vcpu&, std::uint32_t) { return abi::done_unchanged; }
    static abi::Verdict exit(Vcpu&, abi::ExitFrame&) { return abi::done_unchanged; }

private:
    static abi::Verdict as_verdict(abi::Answer answer)
    {
        return answer == abi::status_ok ? abi::done_unchanged : abi::inject_general_protection;
    }
    static abi::Verdict arm(Vcpu& vcpu)
    {
        const auto now = vcpu.now();
        return now && vcpu.state().timer.call_at(now.value() + empty::timer_delay_ns) ? abi::done_unchanged
                                                                                      : abi::inject_general_protection;
    }
};

HV_EXTENSION(EmptyEvents)
