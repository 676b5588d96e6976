// SPDX-License-Identifier: MIT
//
// A strategy that changes nothing: it counts the guest's exits by kind and by the instruction that makes them, and the time
// until the core has answered each.  `xl ext-inspect` shows the figures.
#pragma once

namespace novell {

template <typename Self>
struct Count : Strategy<Self> {
    using Vcpu = ext::Vcpu<Self>;
    static constexpr std::string_view name{"novell-count"};
    static constexpr std::string_view description{"novell, and exits counted and timed by kind and place"};

    static constexpr std::array exits{
        anyway(abi::ExitKind::cpuid, 0xffff'ffff),
        anyway(abi::ExitKind::cpuid, 0xffff'ffff, abi::exit_after),
        anyway(abi::ExitKind::msr, 0xffff'ffff),
        anyway(abi::ExitKind::msr, 0xffff'ffff, abi::exit_after),
        anyway(abi::ExitKind::port, 0xffff),
        anyway(abi::ExitKind::port, 0xffff, abi::exit_after),
        anyway(abi::ExitKind::control_register, 8, abi::exit_after),
        anyway(abi::ExitKind::halt, 0),
        anyway(abi::ExitKind::halt, 0, abi::exit_after),
        anyway(abi::ExitKind::pause, 0),
        anyway(abi::ExitKind::pause, 0, abi::exit_after),
    };

    /// Called twice for an exit: before the core answers, and after.  A control register's is counted and not timed.
    static abi::Verdict exit(Vcpu& vcpu, abi::ExitFrame& frame)
    {
        StrategyState& state = vcpu.state();
        const bool timed{frame.kind != abi::ExitKind::control_register};
        if (timed && state.since_ns == 0) {
            state.since_ns = Strategy<Self>::now(vcpu);
            return abi::done;
        }
        const std::uint64_t took{timed ? Strategy<Self>::now(vcpu) - std::exchange(state.since_ns, 0) : 0};
        add(state.kinds[static_cast<std::size_t>(frame.kind) % kept_kinds], took);
        add(site_of(state, frame), took);
        return abi::done;
    }

private:
    static void add(ExitCost& cost, std::uint64_t took)
    {
        ++cost.count;
        cost.total_ns += took;
    }
    static ExitCost& site_of(StrategyState& state, const abi::ExitFrame& frame)
    {
        const auto kind = static_cast<std::uint64_t>(frame.kind);
        for (ExitSite& site : state.sites) {
            if (site.kind == 0)
                site = {frame.rip, kind, {}};
            if (site.rip == frame.rip && site.kind == kind)
                return site.cost;
        }
        return state.elsewhere;
    }
};

}  // namespace novell

#define NOVELL_STRATEGY Count
