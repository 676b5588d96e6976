// SPDX-License-Identifier: MIT
//
// The empty hooks that no access of a guest calls: those of the bind and the end, of pauses, of state, of channels, of resets and run states
// (scripts/bench).  Most of them come one directly after another: each reads the time-stamp counter as it begins and as it ends, so that
// from one's end to the next one's beginning is the price of one call and what the core does between the two.  Built twice, since freeze, thaw and
// vcpu_reset come once to each instance of a stack.  At the domain's end it says in the log, a line for each hook, `life HOOK GAP BEGAN ENDED`: the
// least gap before it, and when it last began and ended.
#include <algorithm>

#include "empty.hpp"
#include "hv/ext/extension.hpp"

using namespace hv;

constexpr std::array names{"empty-life-0", "empty-life-1"};

enum class Of : unsigned {
    parameter_set, domain_create, hypercall_page, vcpu_initialise, vcpu_reset, vcpu_destroy, domain_destroy, channel_message,
    run_state_changed, freeze, thaw, export_state, import_state,
};
constexpr std::array<std::string_view, 13> hook_names{"parameter_set", "domain_create", "hypercall_page", "vcpu_initialise", "vcpu_reset",
    "vcpu_destroy", "domain_destroy", "channel_message", "run_state_changed", "freeze", "thaw", "export_state", "import_state"};

struct Times {
    std::uint64_t least_gap{~0ull}, began{}, ended{};
};
constinit std::array<Times, hook_names.size()> times{};
constinit std::uint64_t last_end{};

void say(Of which)
{
    const Times& of = times[static_cast<unsigned>(which)];
    ext::log(abi::LogLevel::info, "life ", hook_names[static_cast<unsigned>(which)], ' ', of.least_gap, ' ', of.began, ' ', of.ended);
}

/// One hook, from its beginning to its end.
class Timed {
public:
    explicit Timed(Of which) : of_{times[static_cast<unsigned>(which)]}
    {
        of_.began = __builtin_ia32_rdtsc();
        if (last_end != 0)
            of_.least_gap = std::min(of_.least_gap, of_.began - last_end);
    }
    ~Timed() { of_.ended = last_end = __builtin_ia32_rdtsc(); }
    Timed(const Timed&) = delete;
    Timed& operator=(const Timed&) = delete;

private:
    Times& of_;
};

struct EmptyLife {
    static constexpr std::uint32_t msrs_window{1};
    struct DomainState {
        std::uint64_t channel;
    };
    using Domain = ext::Domain<EmptyLife>;
    using Vcpu = ext::Vcpu<EmptyLife>;

    static constexpr ext::Info info{.name = names[LIFE_NUMBER],
                                    .version_major = 1,
                                    .needs = abi::need_channel | abi::need_run_states,
                                    .hypercall_pages = 4,
                                    .description = "hooks of a domain's life that do nothing, for scripts/bench"};
    static constexpr std::array windows{ext::fixed_msrs(msrs_window, empty::first_life_msr + LIFE_NUMBER, 1)};
    static constexpr std::array parameters{abi::ParameterDescription{
        .key = "numbers", .kind = abi::ParameterKind::integer, .flags = abi::parameter_list, .maximum = 9, .help = "told, and forgotten"}};

    static abi::Verdict parameter_set(Domain, const abi::Parameter&) { return timed(Of::parameter_set); }
    static abi::Verdict domain_create(Domain) { return timed(Of::domain_create); }
    static abi::Verdict hypercall_page(Domain, const abi::HypercallPageRequest&) { return timed(Of::hypercall_page); }
    static abi::Verdict vcpu_initialise(Vcpu&) { return timed(Of::vcpu_initialise); }
    static abi::Verdict vcpu_reset(Vcpu&) { return timed(Of::vcpu_reset); }
    static abi::Verdict vcpu_destroy(Vcpu&) { return timed(Of::vcpu_destroy); }
    static abi::Verdict domain_destroy(Domain)
    {
        static_cast<void>(timed(Of::domain_destroy));
        for (unsigned hook = 0; hook < hook_names.size(); ++hook)
            say(static_cast<Of>(hook));
        return abi::done;
    }
    static abi::Verdict channel_message(Domain, std::uint64_t, const void*, std::uint64_t) { return timed(Of::channel_message); }
    static abi::Verdict run_state_changed(Vcpu&, abi::RunState, abi::RunState, std::uint64_t) { return timed(Of::run_state_changed); }
    static abi::Verdict freeze(Domain) { return timed(Of::freeze); }
    static abi::Verdict thaw(Domain) { return timed(Of::thaw); }
    /// Of an instance that rehearses a rollback it is the last hook.
    static abi::Verdict export_state(Domain, std::uint8_t*, std::uint64_t, std::uint64_t& used)
    {
        used = 0;
        static_cast<void>(timed(Of::export_state));
        say(Of::export_state);
        return abi::done;
    }
    static abi::Verdict import_state(Domain, const std::uint8_t*, std::uint64_t) { return timed(Of::import_state); }

    /// Opens its end of the channel, and where the other's is open too sends as much as waits there.
    static abi::Verdict msr_write(Vcpu& vcpu, std::uint32_t, std::uint32_t, std::uint64_t)
    {
        constexpr char name[]{'l', 'i', 'f', 'e'};
        constexpr char message{'!'};
        const auto state = vcpu.update_domain();
        if (!state)
            return abi::inject_general_protection;
        std::uint64_t& channel = state.value()->channel;
        if (channel == 0 && ext::host().channel_open(vcpu.domain(), name, sizeof name, &channel) != abi::status_ok)
            return abi::inject_general_protection;
        while (ext::host().channel_send(channel, &message, sizeof message) == abi::status_ok) {
        }
        return abi::done;
    }

private:
    static abi::Verdict timed(Of which)
    {
        const Timed now{which};
        return abi::done_unchanged;
    }
};

HV_EXTENSION(EmptyLife)
