// SPDX-License-Identifier: MIT
//
// The viridian module with two things more for the tests of hot swap, which it has no reason to have by itself: a call that
// gives way as often as it is told, and timers that note when they fire.  All else is viridian's, by its own hooks.
#include <atomic>
#include <bit>

#include "hv/ext/timer.hpp"
#include "viridian.hpp"

namespace hv::viridian {
namespace {

constexpr std::uint32_t arm_msr{0x110};    ///< offset; written: both timers are to fire after that many nanoseconds
constexpr std::uint32_t fired_msr{0x111};  ///< offset; read: how often they have, and in bits 63:32 how often wrongly
constexpr std::uint64_t giving_call{0x7f01};
#ifdef PROBE_FAILS
constexpr std::uint32_t fails_after{2000};  ///< steps of calls that gave way, of one instance: then it dies in the next
#else
constexpr std::uint32_t fails_after{0};
#endif
std::atomic<std::uint32_t> continued;
constexpr std::uint64_t first_cookie{100};  ///< those below are viridian's own
constexpr std::uint64_t gap_ns{300};  ///< between the one's deadline and the other's

struct Probed {
    using DomainState = Viridian::DomainState;
    struct VcpuState {
        Viridian::VcpuState of_viridian;
        ext::Timer timers[2];
        std::uint64_t armed;  ///< how often
        std::uint64_t fired;
        std::uint64_t wrong;  ///< not armed, or out of order
    };
    static_assert(offsetof(VcpuState, of_viridian) == 0);
    using Domain = ext::Domain<Probed>;
    using Vcpu = ext::Vcpu<Probed>;

    static constexpr ext::Info info{Viridian::info};
    static constexpr auto windows{Viridian::windows};
    static constexpr auto parameters{Viridian::parameters};
    static constexpr auto msr_reads{Viridian::msr_reads};
    static constexpr auto msr_writes{Viridian::msr_writes};

    // A context is a pointer, whoever's it is.
    static Viridian::Domain plain(const Domain& domain) { return std::bit_cast<Viridian::Domain>(domain); }
    static Viridian::Vcpu plain(const Vcpu& vcpu) { return std::bit_cast<Viridian::Vcpu>(vcpu); }

    static abi::Verdict parameter_set(const Domain& domain, const abi::Parameter& parameter)
    {
        return Viridian::parameter_set(plain(domain), parameter);
    }
    static abi::Verdict domain_create(const Domain& domain) { return Viridian::domain_create(plain(domain)); }
    static abi::Verdict thaw(const Domain& domain) { return Viridian::thaw(plain(domain)); }
    static abi::Verdict hypercall_page(const Domain& domain, const abi::HypercallPageRequest& request)
    {
        return Viridian::hypercall_page(plain(domain), request);
    }
    static abi::Verdict vcpu_initialise(Vcpu& vcpu)
    {
        auto own = plain(vcpu);
        return Viridian::vcpu_initialise(own);
    }
    static abi::Verdict interrupt_ended(Vcpu& vcpu, std::uint32_t vector)
    {
        auto own = plain(vcpu);
        return Viridian::interrupt_ended(own, vector);
    }
    static abi::Verdict vcpu_reset(Vcpu& vcpu)
    {
        auto own = plain(vcpu);
        return Viridian::vcpu_reset(own);
    }
    static abi::Verdict msr_read(const Vcpu& vcpu, std::uint32_t window, std::uint32_t offset, std::uint64_t& value)
    {
        if (offset != fired_msr)
            return ext::read_msr<Viridian>(Viridian::msrs, plain(vcpu), window, offset, value);
        value = vcpu.state().wrong << 32 | vcpu.state().fired;
        return abi::done_unchanged;
    }
    static abi::Verdict msr_write(Vcpu& vcpu, std::uint32_t window, std::uint32_t offset, std::uint64_t value)
    {
        if (offset == arm_msr)
            return arm(vcpu, value) ? abi::done : abi::inject_general_protection;
        auto own = plain(vcpu);
        return ext::write_msr<Viridian>(Viridian::msrs, own, window, offset, value);
    }

    /// Which of the two is the first changes each time.
    static Status arm(Vcpu& vcpu, std::uint64_t after_ns)
    {
        VcpuState& state = vcpu.state();
        for (std::uint64_t index = 0; index < 2; ++index)
            if (state.timers[index].handle == 0)
                state.timers[index] = HV_TRY(ext::Timer::create(vcpu.handle(), first_cookie + index));
        const std::uint64_t deadline{HV_TRY(vcpu.now()) + after_ns};
        const std::uint64_t first{++state.armed % 2};
        HV_TRY(state.timers[first].call_at(deadline));
        return state.timers[1 - first].call_at(deadline + gap_ns);
    }
    static abi::Verdict timer(Vcpu& vcpu, std::uint64_t timer, std::uint64_t cookie, std::uint64_t missed)
    {
        if (cookie < first_cookie) {
            auto own = plain(vcpu);
            return Viridian::timer(own, timer, cookie, missed);
        }
        VcpuState& state = vcpu.state();
        const bool second{state.fired % 2 != 0};
        const std::uint64_t expected{second ? 1 - state.armed % 2 : state.armed % 2};
        state.wrong += cookie != first_cookie + expected || state.fired >= 2 * state.armed ? 1 : 0;
        state.fired += 1;
        return abi::done;
    }

    static abi::Verdict hypercall(Vcpu& vcpu, abi::HypercallFrame& frame)
    {
        using R = abi::GeneralRegister;
        if (frame.mode == abi::GuestMode::long_64 && ext::reg(frame, R::rcx) == giving_call) {
            frame.continuation[0] = ext::reg(frame, R::rdx);
            frame.continuation[1] = 0;
            return abi::again;
        }
        auto own = plain(vcpu);
        return Viridian::hypercall(own, frame);
    }
    static abi::Verdict hypercall_continue(Vcpu&, abi::HypercallFrame& frame)
    {
        if (fails_after != 0 && ++continued == fails_after)
            __builtin_trap();
        frame.continuation[1] = frame.continuation[1] * 31 + frame.continuation[0];
        if (frame.continuation[0] != 0 && --frame.continuation[0] != 0)
            return abi::again;
        ext::reg(frame, abi::GeneralRegister::rax) = frame.continuation[1];
        return abi::done;
    }
};

}  // namespace
}  // namespace hv::viridian

HV_EXTENSION(hv::viridian::Probed)
