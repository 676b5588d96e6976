// SPDX-License-Identifier: MIT
//
// A strategy that polls before a halt: the VCPU stays awake for a while, in which an event reaches it without the way through
// the scheduler.  The while doubles when an event came in it, up to `poll-us`, and halves when none did.
#pragma once

namespace novell {

template <typename Self>
struct Poll : Strategy<Self> {
    using Vcpu = ext::Vcpu<Self>;
    static constexpr std::string_view name{"novell-poll"};
    static constexpr std::string_view description{"novell, and a poll before each halt"};
    static constexpr std::uint64_t usual_poll_us{50};
    static constexpr std::uint64_t shortest_window_ns{1000};

    static constexpr std::array exits{abi::ExitSubscription{abi::ExitKind::halt, 0, 0, 0}};
    static constexpr std::array parameters{abi::ParameterDescription{.key = "poll-us",
                                                                     .kind = abi::ParameterKind::integer,
                                                                     .minimum = 1,
                                                                     .maximum = 10'000,
                                                                     .help = "the longest poll, microseconds"}};

    static abi::Verdict parameter_set(ext::Domain<Self> domain, const abi::Parameter& parameter)
    {
        const auto state = domain.update();
        if (!state)
            return ext::refuse(state.error());
        state.value()->strategy.first = static_cast<std::uint64_t>(parameter.number);
        return abi::done;
    }

    static abi::Verdict exit(Vcpu& vcpu, abi::ExitFrame& frame)
    {
        StrategyState& state = vcpu.state();
        const std::uint64_t now{Strategy<Self>::now(vcpu)};
        if (frame.value == 0)
            begin(state, longest(vcpu), now);
        if (now - state.poll_began_ns < state.window_ns)
            return abi::again;
        ++state.polls_given_up;
        state.polled_ns += now - state.poll_began_ns;
        state.window_ns = state.window_ns / 2 < shortest_window_ns ? shortest_window_ns : state.window_ns / 2;
        state.poll_began_ns = 0;
        return abi::done;
    }

private:
    /// A poll that is still open was ended by an event.
    static void begin(StrategyState& state, std::uint64_t most, std::uint64_t now)
    {
        if (state.window_ns == 0)
            state.window_ns = most;
        else if (state.poll_began_ns != 0)
            state.window_ns *= 2;
        if (state.window_ns > most)
            state.window_ns = most;
        ++state.polls;
        state.poll_began_ns = now;
    }
    static std::uint64_t longest(const Vcpu& vcpu)
    {
        const std::uint64_t us{__atomic_load_n(&vcpu.domain_state().strategy.first, __ATOMIC_RELAXED)};
        return (us != 0 && us <= 10'000 ? us : usual_poll_us) * 1000;
    }
};

}  // namespace novell

#define NOVELL_STRATEGY Poll
