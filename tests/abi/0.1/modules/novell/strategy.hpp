// SPDX-License-Identifier: MIT
//
// What an intercept strategy adds to the novell interface, and what all of them keep, in one layout: a swap from one to another
// goes on with the same figures.  NOVELL_STRATEGY names the one that a module is built with; without it there is none.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "hv/ext/extension.hpp"
#include "hv/ext/timer.hpp"

namespace novell {

using namespace hv;
namespace abi = hv::abi;  // a host's own headers have an abi, too

inline constexpr std::size_t kept_kinds{13};  ///< by abi::ExitKind
inline constexpr std::size_t kept_sites{16};

struct ExitCost {
    std::uint64_t count;
    std::uint64_t total_ns;  ///< from the exit until the core had answered it
};

/// An instruction that makes exits, by its address.
struct ExitSite {
    std::uint64_t rip;
    std::uint64_t kind;  ///< abi::ExitKind; 0: unused
    ExitCost cost;
};

/// Of one VCPU, by all strategies.
struct StrategyState {
    ExitCost kinds[kept_kinds];
    ExitSite sites[kept_sites];
    ExitCost elsewhere;  ///< of sites that found no place
    std::uint64_t since_ns;  ///< the exit under way; 0: none

    // Polls before a halt.
    std::uint64_t poll_began_ns;
    std::uint64_t window_ns;  ///< how long one lasts at most, as it has adapted; 0: not set yet
    std::uint64_t polls;
    std::uint64_t polls_given_up;
    std::uint64_t polled_ns;

    // Intercepts that are traded; VCPU 0's.
    std::uint64_t timer;
    std::uint64_t phase;
    std::uint64_t phase_exits;
    std::uint64_t most_exits[3];   ///< seen in a phase, by setting
    std::uint64_t rounds_out[3];   ///< for which a setting that cost too much stays off
};

/// The two numbers that parameters set; in the domain's block, since a swap keeps no parameter.
struct StrategyParameters {
    std::uint64_t first;
    std::uint64_t second;
};

/// No strategy: the interface alone.
template <typename Self>
struct Alone {
    static constexpr std::string_view name{"novell"};
    static constexpr std::string_view description{"Longhorn-era enlightenments: hypercalls, VP index, APIC MSRs"};
    static constexpr std::uint64_t more_needs{abi::need_timers};

    /// One that a strategy before this has left behind.
    static abi::Verdict timer(ext::Vcpu<Self>&, std::uint64_t timer, std::uint64_t, std::uint64_t)
    {
        static_cast<void>(ext::Timer{timer}.destroy());
        return abi::done_unchanged;
    }
};

/// What the strategies have in common: their state, and to be an heir of each other and of Alone.
template <typename Self>
struct Strategy {
    using VcpuState = StrategyState;
    static constexpr std::uint32_t state_version{2};
    static constexpr std::uint64_t more_needs{abi::need_exits | abi::need_time | abi::need_timers};

    static std::uint64_t now(const ext::Vcpu<Self>& vcpu)
    {
        const auto guest_ns = vcpu.now();
        return guest_ns ? guest_ns.value() : 0;
    }
    static abi::Verdict timer(ext::Vcpu<Self>& vcpu, std::uint64_t timer, std::uint64_t, std::uint64_t)
    {
        static_cast<void>(ext::Timer{timer}.destroy());
        vcpu.state().timer = 0;
        return abi::done;
    }
};

/// A subscription to what exits anyway.
constexpr abi::ExitSubscription anyway(abi::ExitKind kind, std::uint64_t last, std::uint32_t flags = 0)
{
    return {kind, abi::exit_passive | flags, 0, last};
}

}  // namespace novell

#ifdef NOVELL_STRATEGY_HEADER
#include NOVELL_STRATEGY_HEADER
#else
#define NOVELL_STRATEGY Alone
#endif
