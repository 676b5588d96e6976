// SPDX-License-Identifier: MIT
//
// A strategy that trades intercepts at run time: it looks at CR3, at the system-call and segment MSRs, and at halts, each for a
// period in turn and then at nothing, and counts.  What costs more exits in its period than `most-exits` is left out for some rounds, so
// that a busy guest pays for being looked at only now and then.
#pragma once

namespace novell {

template <typename Self>
struct Trade : Strategy<Self> {
    using Vcpu = ext::Vcpu<Self>;
    static constexpr std::string_view name{"novell-trade"};
    static constexpr std::string_view description{"novell, and intercepts switched on and off in turn"};
    static constexpr std::uint32_t settings{3};  ///< conditions 1 to this; phase 0 has none
    static constexpr std::uint64_t rounds_without{8};
    static constexpr std::uint64_t usual_period_ms{10}, usual_most_exits{500};

    static constexpr std::uint32_t when(std::uint32_t setting) { return setting << abi::exit_condition_shift; }
    static constexpr std::array exits{
        abi::ExitSubscription{abi::ExitKind::control_register, abi::exit_writes | when(1), 3, 3},
        abi::ExitSubscription{abi::ExitKind::msr, when(2), 0x174, 0x176},              // SYSENTER_*
        abi::ExitSubscription{abi::ExitKind::msr, when(2), 0xc000'0081, 0xc000'0084},  // STAR to SFMASK
        abi::ExitSubscription{abi::ExitKind::msr, when(2), 0xc000'0100, 0xc000'0102},  // FS, GS, KERNEL_GS_BASE
        abi::ExitSubscription{abi::ExitKind::halt, when(3), 0, 0},
        // So that it starts after a swap, too: no service that acts can be asked before the instance stands in its place.
        anyway(abi::ExitKind::cpuid, 0xffff'ffff),
        anyway(abi::ExitKind::port, 0xffff),
    };
    static constexpr std::array parameters{
        abi::ParameterDescription{.key = "most-exits",
                                  .kind = abi::ParameterKind::integer,
                                  .minimum = 1,
                                  .maximum = 1'000'000,
                                  .help = "exits in a period that are too many"},
        abi::ParameterDescription{.key = "period-ms",
                                  .kind = abi::ParameterKind::integer,
                                  .minimum = 1,
                                  .maximum = 10'000,
                                  .help = "how long each setting is on"}};

    static abi::Verdict parameter_set(ext::Domain<Self> domain, const abi::Parameter& parameter)
    {
        const auto state = domain.update();
        if (!state)
            return ext::refuse(state.error());
        const bool period{std::string_view{parameter.key, parameter.key_length} == "period-ms"};
        (period ? state.value()->strategy.first : state.value()->strategy.second) =
            static_cast<std::uint64_t>(parameter.number);
        return abi::done;
    }

    static abi::Verdict exit(Vcpu& vcpu, abi::ExitFrame& frame)
    {
        StrategyState& state = vcpu.state();
        const bool starts{vcpu.index() == 0 && state.timer == 0};
        if (starts)
            start(vcpu);
        if (frame.kind == abi::ExitKind::cpuid || frame.kind == abi::ExitKind::port)
            return starts ? abi::done : abi::done_unchanged;
        ++state.phase_exits;
        ++state.kinds[static_cast<std::size_t>(frame.kind) % kept_kinds].count;
        return abi::done;
    }
    static abi::Verdict vcpu_initialise(Vcpu& vcpu)
    {
        if (vcpu.index() == 0)
            start(vcpu);
        return abi::done;
    }

    /// The next period.
    static abi::Verdict timer(Vcpu& vcpu, std::uint64_t timer, std::uint64_t, std::uint64_t)
    {
        StrategyState& state = vcpu.state();
        if (timer != state.timer)
            return Strategy<Self>::timer(vcpu, timer, 0, 0);
        if (state.phase != 0) {
            const std::size_t setting{static_cast<std::size_t>(state.phase) - 1};
            set(vcpu, state.phase, 0);
            judge(state, setting, most_exits(vcpu));
        }
        state.phase_exits = 0;
        state.phase = next_of(state);
        if (state.phase != 0)
            set(vcpu, state.phase, 1);
        return abi::done;
    }

private:
    static std::uint64_t at_least_one(std::uint64_t value, std::uint64_t usual) { return value != 0 ? value : usual; }
    static std::uint64_t most_exits(const Vcpu& vcpu)
    {
        return at_least_one(__atomic_load_n(&vcpu.domain_state().strategy.second, __ATOMIC_RELAXED), usual_most_exits);
    }
    static void set(const Vcpu& vcpu, std::uint64_t condition, std::uint32_t on)
    {
        static_cast<void>(ext::host().set_condition(vcpu.domain(), static_cast<std::uint32_t>(condition), on));
    }
    static void judge(StrategyState& state, std::size_t setting, std::uint64_t most)
    {
        if (state.phase_exits > state.most_exits[setting])
            state.most_exits[setting] = state.phase_exits;
        if (state.phase_exits > most)
            state.rounds_out[setting] = rounds_without;
    }
    /// The next setting that is not left out; after the last of a round comes nothing.
    static std::uint64_t next_of(StrategyState& state)
    {
        for (std::uint64_t next = state.phase + 1; next <= settings; ++next) {
            if (state.rounds_out[next - 1] == 0)
                return next;
            --state.rounds_out[next - 1];
        }
        return 0;
    }
    static void start(Vcpu& vcpu)
    {
        constexpr std::uint64_t ns_per_ms{1'000'000};
        const std::uint64_t ms{
            at_least_one(__atomic_load_n(&vcpu.domain_state().strategy.first, __ATOMIC_RELAXED), usual_period_ms)};
        const auto made = ext::Timer::create(vcpu.handle(), 0);
        if (!made)
            return;  // the next exit tries again
        vcpu.state().timer = made.value().handle;
        static_cast<void>(made.value().call_at(Strategy<Self>::now(vcpu) + ms * ns_per_ms, ms * ns_per_ms));
    }
};

}  // namespace novell

#define NOVELL_STRATEGY Trade
