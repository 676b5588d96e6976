// SPDX-License-Identifier: MIT
//
// A module that commits the crime that its guest orders (crimes.hpp), in whichever hook it orders it: the order lies in the
// guest's memory; for the hooks of the bind, in the parameters.  Where nothing is ordered each hook does a little honest work, so
// that the guest can tell a live instance from a dead one.  For tests alone.
#include <cstring>

#include "acts.hpp"
#include "hv/abi/state_record.hpp"
#include "hv/ext/timer.hpp"

using namespace hv;
using chaos::Hook;

struct Chaos {
    enum Window : std::uint32_t {
        leaves_window = 1,
        msr_window = 2,
        call_window = 3,
        port_window = 4,
        mmio_window = 5,
    };
    static constexpr std::uint32_t first{chaos::first_msr + CHAOS_NUMBER * chaos::msrs_per_instance};
    static constexpr std::uint64_t order_at{chaos::first_order + CHAOS_NUMBER * sizeof(chaos::Order)};
    static constexpr std::uint64_t timer_delay_ns{10'000};

    struct DomainState {
        std::uint32_t bind_hook;   ///< a Hook and one; 0: no order
        std::uint32_t bind_crime;  ///< the crime and one
    };
    struct VcpuState {
        std::uint64_t commits;
        ext::Timer timer;
        std::uint64_t channel;  ///< its end; 0: not open
    };
    using Domain = ext::Domain<Chaos>;
    using Vcpu = ext::Vcpu<Chaos>;

    static constexpr ext::Info info{.name = CHAOS_NAME,
                                    .version_major = 1,
                                    .needs = abi::need_registers | abi::need_guest_memory | abi::need_allocation |
                                             abi::need_time | abi::need_timers | abi::need_vcpus | abi::need_injection |
                                             abi::need_overlays | abi::need_exits | abi::need_interrupt_watch | abi::need_channel |
                                             abi::need_run_states,
                                    .hypercall_pages = 1,
                                    .description = "commits the crime that its guest orders"};
    static constexpr std::array windows{
        ext::cpuid_block(leaves_window, 4),
        ext::fixed_msrs(msr_window, first, chaos::msrs_per_instance),
        ext::hypercalls_where(call_window, {.modes = abi::match_long_64,
                                            .maximum_cpl = 0,
                                            .operand = static_cast<std::uint32_t>(abi::GeneralRegister::rcx),
                                            .mask = ~0ull,
                                            .value = chaos::hypercall_base + CHAOS_NUMBER}),
        ext::fixed_ports(port_window, chaos::first_port + CHAOS_NUMBER * chaos::ports_per_instance,
                         chaos::ports_per_instance),
        ext::fixed_mmio(mmio_window, chaos::first_mmio + CHAOS_NUMBER * chaos::mmio_per_instance, chaos::mmio_per_instance),
    };
    static constexpr std::array leaves{abi::DeclaredLeaf{.window = leaves_window,
                                                         .leaf = 0,
                                                         .flags = abi::leaf_any_subleaf | abi::leaf_eax_plus_base,
                                                         .values = ext::signature("GraftChaos #", 3)},
                                       abi::DeclaredLeaf{.window = leaves_window,
                                                         .leaf = 1,
                                                         .flags = abi::leaf_any_subleaf,
                                                         .values = {.eax = CHAOS_NUMBER}}};
    static constexpr std::array msr_reads{abi::DeclaredMsrRead{.window = msr_window,
                                                               .offset = chaos::msr_declared,
                                                               .kind = abi::MsrReadKind::constant,
                                                               .value = chaos::alive_word}};
    static constexpr std::array parameters{
        abi::ParameterDescription{.key = "crime", .kind = abi::ParameterKind::integer, .maximum = 63, .help = "its number"},
        abi::ParameterDescription{.key = "hook", .kind = abi::ParameterKind::integer, .maximum = chaos::hooks.size() - 1, .help = "its number"},
    };

    static constexpr std::uint16_t watched_port{chaos::first_watched_port + CHAOS_NUMBER * chaos::ports_per_instance};
    static constexpr std::array exits{abi::ExitSubscription{abi::ExitKind::port, 0, watched_port, watched_port}};

    // ---- the life of a domain ----
    static abi::Verdict parameter_set(Domain domain, const abi::Parameter& parameter)
    {
        const auto state = domain.update();
        if (!state)
            return ext::refuse(state.error());
        const bool hook = std::string_view{parameter.key, parameter.key_length} == "hook";
        (hook ? state.value()->bind_hook : state.value()->bind_crime) = static_cast<std::uint32_t>(parameter.number + 1);
        const bool whole = state.value()->bind_hook != 0 && state.value()->bind_crime != 0;
        return whole ? at_bind(domain, Hook::parameter_set) : abi::done;
    }
    static abi::Verdict domain_create(Domain domain) { return at_bind(domain, Hook::domain_create); }
    static abi::Verdict hypercall_page(Domain domain, const abi::HypercallPageRequest& request)
    {
        std::memcpy(request.bytes, request.instruction, sizeof request.instruction);
        return at_bind(domain, Hook::hypercall_page);
    }
    static abi::Verdict vcpu_initialise(Vcpu& vcpu)
    {
        const auto timer = ext::Timer::create(vcpu.handle(), 1);
        if (!timer)
            return ext::refuse(timer.error());
        vcpu.state().timer = timer.value();
        const DomainState& state = vcpu.domain_state();
        return ordered_at_bind(state, Hook::vcpu_initialise) ? chaos::commit(state.bind_crime - 1, who(vcpu)) : abi::done;
    }
    static abi::Verdict vcpu_reset(Vcpu& vcpu) { return in(vcpu, Hook::vcpu_reset); }
    static abi::Verdict vcpu_destroy(Vcpu& vcpu) { return in(vcpu, Hook::vcpu_destroy); }
    static abi::Verdict domain_destroy(Domain domain) { return in(domain, Hook::domain_destroy); }
    static abi::Verdict freeze(Domain domain) { return in(domain, Hook::freeze); }
    static abi::Verdict thaw(Domain domain) { return in(domain, Hook::thaw); }

    /// An instance that exports cannot write guest memory: its order stands until who gave it takes it back.
    static abi::Verdict export_state(Domain domain, std::uint8_t* bytes, std::uint64_t capacity, std::uint64_t& used)
    {
        used = 0;
        chaos::Order order{};
        if (!standing(domain.handle(), order))
            return abi::done;
        if (order.hook == Hook::export_state)
            return chaos::commit(order.crime, who(domain));
        if (order.hook != Hook::import_state || capacity < sizeof(Record))
            return abi::done;
        const Record record{{abi::first_module_record, 1, 0, sizeof(Record) - sizeof(abi::StateRecordHeader), abi::record_of_domain},
                            {1, sizeof order.crime},
                            order.crime};
        std::memcpy(bytes, &record, sizeof record);
        used = sizeof record;
        return abi::done;
    }
    static abi::Verdict import_state(Domain domain, const std::uint8_t* bytes, std::uint64_t length)
    {
        abi::StateRecordHeader header{};
        for (std::uint64_t at = 0; at + sizeof header <= length; at += sizeof header + ((header.length + 7) & ~7u)) {
            std::memcpy(&header, bytes + at, sizeof header);
            if (header.type != abi::first_module_record)
                continue;
            std::uint32_t crime{};
            std::memcpy(&crime, bytes + at + offsetof(Record, crime), sizeof crime);
            return chaos::commit(crime % chaos::crimes.size(), who(domain));
        }
        return abi::done;
    }

    // ---- what a guest does ----
    static abi::Verdict cpuid(Vcpu& vcpu, std::uint32_t, std::uint32_t, std::uint32_t, abi::CpuidResult& result)
    {
        result.eax = static_cast<std::uint32_t>(chaos::alive_word);
        return in(vcpu, Hook::cpuid);
    }
    static abi::Verdict msr_read(Vcpu& vcpu, std::uint32_t, std::uint32_t offset, std::uint64_t& value)
    {
        switch (offset) {
        case chaos::msr_alive: value = chaos::alive_word; return abi::done_unchanged;
        case chaos::msr_commits: value = vcpu.state().commits; return abi::done_unchanged;
        case chaos::msr_age: value = age++; return abi::done_unchanged;
        case chaos::msr_selectors: value = chaos::usable_selectors(); return abi::done_unchanged;
        case chaos::msr_plain: value = chaos::alive_word; return in(vcpu, Hook::msr_read);
        default: return abi::inject_general_protection;
        }
    }
    static abi::Verdict msr_write(Vcpu& vcpu, std::uint32_t, std::uint32_t offset, std::uint64_t value)
    {
        switch (offset) {
        case chaos::msr_commit:
            if (value >= chaos::crimes.size())
                return abi::inject_general_protection;
            vcpu.state().commits += 1;
            return chaos::commit(value, who(vcpu));
        case chaos::msr_stumble: return stumble(vcpu, value);
        case chaos::msr_far_call: return far_call(vcpu, value);
        case chaos::msr_plain: return in(vcpu, Hook::msr_write);
        case chaos::msr_timer: return fire(vcpu);
        case chaos::msr_kick: return as_verdict(ext::host().vcpu_kick(vcpu.handle()));
        case chaos::msr_window: return as_verdict(ext::host().interrupt_window_request(vcpu.handle()));
        case chaos::msr_channel: return as_verdict(open_channel(vcpu));
        case chaos::msr_message: return send(vcpu);
        case chaos::msr_watch:
            return as_verdict(ext::host().interrupt_watch(vcpu.handle(), static_cast<std::uint32_t>(value),
                                                          abi::watch_accepted | abi::watch_ended));
        default: return abi::inject_general_protection;
        }
    }
    /// What it wrote to the guest stays, what it wrote to its state does not: so the next instance counts on from there.
    static abi::Verdict stumble(Vcpu& vcpu, std::uint64_t address)
    {
        std::uint64_t left{};
        const abi::HostTable& host = ext::host();
        if (host.guest_read(vcpu.domain(), address, &left, sizeof left) != abi::status_ok)
            return abi::inject_general_protection;
        vcpu.state().commits += 1;
        if (left == 0)
            return abi::done;
        --left;
        if (host.guest_write(vcpu.domain(), address, &left, sizeof left) == abi::status_ok)
            chaos::read_null();
        return abi::inject_general_protection;
    }
    static abi::Verdict far_call(Vcpu& vcpu, std::uint64_t address)
    {
        const abi::HostTable& host = ext::host();
        std::uint64_t selector{};
        constexpr std::uint64_t none{};
        if (host.guest_read(vcpu.domain(), address, &selector, sizeof selector) != abi::status_ok)
            return abi::inject_general_protection;
        if (selector == none)
            return abi::done;
        if (host.guest_write(vcpu.domain(), address, &none, sizeof none) == abi::status_ok)
            chaos::far_call(static_cast<std::uint16_t>(selector - 1));
        return abi::inject_general_protection;
    }
    static abi::Verdict hypercall(Vcpu& vcpu, abi::HypercallFrame& frame)
    {
        constexpr unsigned rdx{2};
        const abi::Verdict verdict = in(vcpu, Hook::hypercall);
        if (verdict.kind == abi::VerdictKind::done && (frame.general[rdx] & 1) != 0)
            return abi::again;
        frame.general[0] = chaos::alive_word;
        return verdict;
    }
    static abi::Verdict hypercall_continue(Vcpu& vcpu, abi::HypercallFrame& frame)
    {
        frame.general[0] = chaos::alive_word;
        return in(vcpu, Hook::hypercall_continue);
    }
    static abi::Verdict mmio_read(Vcpu& vcpu, std::uint32_t, std::uint64_t, std::uint32_t, std::uint64_t& value)
    {
        value = static_cast<std::uint32_t>(chaos::alive_word);
        return in(vcpu, Hook::mmio_read);
    }
    static abi::Verdict mmio_write(Vcpu& vcpu, std::uint32_t, std::uint64_t, std::uint32_t, std::uint64_t)
    {
        return in(vcpu, Hook::mmio_write);
    }
    static abi::Verdict port_read(Vcpu& vcpu, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t& value)
    {
        value = static_cast<std::uint32_t>(chaos::alive_word);
        return in(vcpu, Hook::port_read);
    }
    static abi::Verdict port_write(Vcpu& vcpu, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t)
    {
        return in(vcpu, Hook::port_write);
    }
    static abi::Verdict exit(Vcpu& vcpu, abi::ExitFrame&) { return in(vcpu, Hook::exit); }
    static abi::Verdict timer(Vcpu& vcpu, std::uint64_t, std::uint64_t, std::uint64_t) { return in(vcpu, Hook::timer); }
    static abi::Verdict channel_message(Domain domain, std::uint64_t, const void*, std::uint64_t)
    {
        return in(domain, Hook::channel_message);
    }
    static abi::Verdict before_entry(Vcpu& vcpu) { return in(vcpu, Hook::before_entry); }
    static abi::Verdict interrupt_window(Vcpu& vcpu) { return in(vcpu, Hook::interrupt_window); }
    static abi::Verdict interrupt_accepted(Vcpu& vcpu, std::uint32_t) { return in(vcpu, Hook::interrupt_accepted); }
    static abi::Verdict interrupt_ended(Vcpu& vcpu, std::uint32_t) { return in(vcpu, Hook::interrupt_ended); }
    static abi::Verdict run_state_changed(Vcpu& vcpu, abi::RunState, abi::RunState, std::uint64_t)
    {
        return in(vcpu, Hook::run_state_changed);
    }

private:
    struct Record {
        abi::StateRecordHeader header;
        abi::StateField field;
        std::uint32_t crime;
    };
    static inline constinit std::uint64_t age{};

    /// The view is a pointer to it and nothing else.
    template <typename View>
    static std::uint64_t context_address(const View& view)
    {
        static_assert(sizeof view == sizeof(std::uint64_t));
        std::uint64_t address;
        std::memcpy(&address, &view, sizeof address);
        return address;
    }
    static chaos::Criminal who(const Vcpu& vcpu) { return {vcpu.domain(), vcpu.handle(), context_address(vcpu)}; }
    static chaos::Criminal who(const Domain& domain) { return {domain.handle(), 0, context_address(domain)}; }
    static std::uint64_t domain_of(const Vcpu& vcpu) { return vcpu.domain(); }
    static std::uint64_t domain_of(const Domain& domain) { return domain.handle(); }

    static bool standing(std::uint64_t domain, chaos::Order& order)
    {
        return ext::host().guest_read(domain, order_at, &order, sizeof order) == abi::status_ok &&
               order.magic == chaos::order_magic && order.crime < chaos::crimes.size();
    }
    template <typename View>
    static abi::Verdict in(const View& view, Hook hook)
    {
        chaos::Order order{};
        if (!standing(domain_of(view), order) || order.hook != hook)
            return abi::done;
        const std::uint32_t crime = order.crime;
        order.magic = 0;
        if (ext::host().guest_write(domain_of(view), order_at, &order, sizeof order) != abi::status_ok)
            return abi::done;
        return chaos::commit(crime, who(view));
    }
    static bool ordered_at_bind(const DomainState& state, Hook hook)
    {
        return state.bind_crime != 0 && state.bind_hook == static_cast<std::uint32_t>(hook) + 1;
    }
    static abi::Verdict at_bind(const Domain& domain, Hook hook)
    {
        return ordered_at_bind(domain.state(), hook) ? chaos::commit(domain.state().bind_crime - 1, who(domain)) : abi::done;
    }
    static abi::Verdict as_verdict(abi::Answer answer)
    {
        return answer == abi::status_ok ? abi::done : abi::inject_general_protection;
    }
    static abi::Answer open_channel(Vcpu& vcpu)
    {
        constexpr char name[]{'c', 'h', 'a', 'o', 's', '0' + CHAOS_NUMBER / 2};
        std::uint64_t channel{vcpu.state().channel};
        const abi::Answer answer = channel != 0 ? abi::status_ok : ext::host().channel_open(vcpu.domain(), name, sizeof name, &channel);
        vcpu.state().channel = channel;
        return answer;
    }
    static abi::Verdict send(Vcpu& vcpu)
    {
        constexpr char message{'!'};
        const abi::Answer opened = open_channel(vcpu);
        return as_verdict(opened != abi::status_ok ? opened : ext::host().channel_send(vcpu.state().channel, &message, sizeof message));
    }
    static abi::Verdict fire(Vcpu& vcpu)
    {
        const auto now = vcpu.now();
        return now && vcpu.state().timer.call_at(now.value() + timer_delay_ns) ? abi::done : abi::inject_general_protection;
    }
};

HV_EXTENSION(Chaos)
