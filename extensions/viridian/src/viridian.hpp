// SPDX-License-Identifier: MIT
//
// The extension's class: its windows, its state blocks, its tables of declared answers and of handlers.  What
// needs no decision is declared; a handler stands in the file of its subject (msr, hypercall_page, hypercall,
// reference_time, tsc_invariant, apic_assist, synic, stimer, crash). Specification: [TLFS-6.0b]; deviations are listed in
// extensions/viridian/README.md.
#pragma once

#include "call.hpp"
#include "features.hpp"
#include "hv/ext/extension.hpp"
#include "hv/ext/guest_page.hpp"
#include "port_record.hpp"
#include "reference_time.hpp"
#include "stimer.hpp"
#include "tlfs_cpuid.hpp"
#include "tlfs_msr.hpp"

namespace hv::viridian {

struct Viridian;

/// Rows of the tables below.
namespace row {

inline constexpr std::uint32_t leaves_window{1};
inline constexpr std::uint32_t msrs_window{2};
inline constexpr std::uint32_t calls_window{3};
inline constexpr std::uint32_t apic_tpr{
    0x80};  // the TPR's place in the local APIC's page [SDM3-083 table 11-1]

constexpr abi::DeclaredMsrRead read_as(std::uint32_t msr, std::uint32_t condition, abi::MsrReadKind kind,
                                       std::size_t argument, std::uint64_t value = 0)
{
    return {.window = msrs_window,
            .offset = tlfs::offset_of(msr),
            .kind = kind,
            .condition = condition,
            .value = value,
            .addend = 0,
            .argument = static_cast<std::uint32_t>(argument),
            .reserved = 0};
}
constexpr abi::DeclaredMsrRead domain_field(std::uint32_t msr, std::uint32_t condition, std::size_t offset)
{
    return read_as(msr, condition, abi::MsrReadKind::domain_state, offset);
}
constexpr abi::DeclaredMsrRead vcpu_word(std::uint32_t msr, Feature feature, std::size_t offset)
{
    return read_as(msr, condition_of(feature), abi::MsrReadKind::vcpu_state, offset);
}
constexpr abi::DeclaredMsrWrite apic_write(std::uint32_t msr, abi::MsrWriteKind kind, std::uint64_t writable)
{
    return {.window = msrs_window,
            .offset = tlfs::offset_of(msr),
            .kind = kind,
            .condition = condition_of(Feature::apic),
            .writable = writable,
            .reserved = 0};
}
/// The core moves the timer by itself while its handle is at `timer_at`.
constexpr abi::DeclaredMsrWrite count_write(std::uint32_t timer, std::size_t value_at, std::size_t timer_at)
{
    return {.window = msrs_window,
            .offset = tlfs::offset_of(tlfs::HV_X64_MSR_STIMER0_COUNT + 2 * timer),
            .kind = abi::MsrWriteKind::deadline,
            .condition = condition_of(Feature::stimer),
            .writable = ~0ull,
            .reserved = abi::as_word({.value_at = static_cast<std::uint16_t>(value_at),
                                      .timer_at = static_cast<std::uint16_t>(timer_at),
                                      .unit_ns = unit_ns})};
}
/// Beside those of the groups.
inline constexpr std::uint32_t tsc_control_condition{63};
inline constexpr std::uint32_t tsc_hidden_condition{64};
constexpr std::uint32_t crash_condition{condition_of(Feature::crash)};

consteval abi::ParameterDescription features_parameter()
{
    abi::ParameterDescription features{.kind = abi::ParameterKind::text, .flags = abi::parameter_list};
    features.minimum = 1;
    features.maximum = 16;
    ext::put_text(features.key, "features");
    ext::put_text(features.choices, "default|all|base|time|apic|tlbflush|ipi|reset|crash|synic|stimer|runtime|idle|input|messages|"
                                    "!time|!apic|!tlbflush|!ipi|!reset|!crash|!synic|!stimer|!runtime|!idle|!input|!messages");
    ext::put_text(features.help, "groups of enlightenments; a word adds, !word removes");
    return features;
}

consteval abi::ParameterDescription ports_parameter()
{
    abi::ParameterDescription ports{.kind = abi::ParameterKind::text, .flags = abi::parameter_list};
    ports.minimum = 1;
    ports.maximum = 31;
    ext::put_text(ports.key, "ports");
    ext::put_text(ports.help, "channels that connections 1, 2, ... of the guest lead to");
    return ports;
}

}  // namespace row

inline constexpr std::size_t maximum_ports{4};

/// What a port's owner has sent and its VP cannot take yet; the payload is in a page of the core's.
struct WaitingRecord {
    std::uint64_t channel;  ///< that it came by; 0: the place is free
    std::uint64_t turn;
    PortHeader record;
};
inline constexpr std::size_t maximum_waiting{4};

/// The tests build another version to swap this one for.
#ifdef VIRIDIAN_PATCH
inline constexpr std::uint16_t version_patch{VIRIDIAN_PATCH};
#else
inline constexpr std::uint16_t version_patch{0};
#endif

struct Viridian {
    static constexpr ext::Info info{
        .name = "viridian",
        .version_major = 1,
        .version_minor = 3,
        .version_patch = version_patch,
        .needs = abi::need_injection | abi::need_tlb | abi::need_guest_memory | abi::need_overlays |
                 abi::need_vcpus | abi::need_time | abi::need_timers | abi::need_domain |
                 abi::need_interrupt_watch | abi::need_vector_registers | abi::need_channel | abi::need_exits,
        .hypercall_pages = 1,
        .description = "the Hv#1 interface of Microsoft's hypervisor, from its public specification"};

    /// 2: the controller and its timers were added to a VCPU's block, at its end.  3: the ports to the domain's.
    /// 4: the invariant-TSC control to the domain's, to a VCPU's what the core moves timers by.
    static constexpr std::uint32_t state_version{4};
    static constexpr std::uint32_t oldest_state_version{1};

    /// What all VCPUs of a guest see.
    struct DomainState {
        std::uint64_t guest_os_id;
        std::uint64_t hypercall;      ///< HV_X64_MSR_HYPERCALL
        std::uint64_t reference_tsc;  ///< HV_X64_MSR_REFERENCE_TSC
        std::uint64_t tsc_page;       ///< its overlay, or 0 while there was no need of one
        TscScale tsc;                 ///< what the page holds
        std::uint64_t crash_parameters[tlfs::crash_parameter_count];
        std::uint32_t tsc_sequence;
        std::uint32_t features;  ///< Features::bits(); 0 until they are known
        ext::Once identity_said;
        std::uint32_t reserved;
        std::uint64_t ports[maximum_ports];  ///< the channels that connections lead to
        WaitingRecord waiting[maximum_waiting];
        std::uint64_t waiting_payloads;  ///< a page that the guest never sees, or 0 while there was no need of one
        std::uint64_t waiting_turn;
        std::uint32_t waiting_count;
        std::uint32_t port_count;
        std::uint64_t tsc_control;          ///< HV_X64_MSR_TSC_INVARIANT_CONTROL
        std::uint64_t tsc_control_offered;  ///< 0 or 1, from the beginning of the domain on
    };

    /// What one VCPU sees, and what it asked for so far.
    struct VcpuState {
        std::uint64_t assist_register;  ///< HV_X64_MSR_VP_ASSIST_PAGE
        std::uint64_t assist_page;      ///< its overlay, or 0 while there was no need of one
        std::uint64_t flushes;
        std::uint64_t cluster_ipis;
        std::uint64_t spin_waits;
        std::uint64_t refused_calls;
        std::uint64_t scontrol;
        std::uint64_t siefp;
        std::uint64_t simp;
        std::uint64_t event_page;    ///< the overlay of SIEFP, or 0 while there was no need of one
        std::uint64_t message_page;  ///< that of SIMP
        std::uint64_t sint[tlfs::sint_count];
        SyntheticTimer timers[tlfs::stimer_count];
        /// What a timer's message says, while it waits for its slot.
        std::uint64_t waiting_expiration[tlfs::stimer_count];
        std::uint8_t waiting_sint[tlfs::stimer_count];  ///< and the queue that it is in
        std::uint16_t eoi_watched;  ///< one bit for each SINT whose end of interrupt is watched
        std::uint8_t waiting;       ///< one bit for each timer whose message waits
        std::uint8_t reserved;
        std::uint64_t messages;     ///< delivered
        std::uint64_t skipped;      ///< expirations that were not signalled
        std::uint64_t moved_by_count[tlfs::stimer_count];  ///< the handles of timers that the core moves by itself; 0: it asks
    };

    static constexpr std::array counters{
        ext::counter("flushes", offsetof(VcpuState, flushes)),
        ext::counter("cluster IPIs", offsetof(VcpuState, cluster_ipis)),
        ext::counter("long spin waits", offsetof(VcpuState, spin_waits)),
        ext::counter("refused hypercalls", offsetof(VcpuState, refused_calls)),
        ext::counter("timer messages", offsetof(VcpuState, messages)),
        ext::counter("skipped expirations", offsetof(VcpuState, skipped)),
    };

    using Domain = ext::Domain<Viridian>;
    using Vcpu = ext::Vcpu<Viridian>;

    // --- hooks ---
    static abi::Verdict parameter_set(const Domain& domain, const abi::Parameter& parameter);
    static abi::Verdict domain_create(const Domain& domain);
    static abi::Verdict thaw(const Domain& domain);
    static abi::Verdict vcpu_initialise(Vcpu& vcpu);
    static abi::Verdict vcpu_reset(Vcpu& vcpu);
    static abi::Verdict channel_message(const Domain& domain, std::uint64_t channel, const void* bytes, std::uint64_t length);
    static abi::Verdict before_entry(Vcpu& vcpu);
    static abi::Verdict timer(Vcpu& vcpu, std::uint64_t timer, std::uint64_t cookie, std::uint64_t missed);
    static abi::Verdict interrupt_ended(Vcpu& vcpu, std::uint32_t vector);
    static abi::Verdict hypercall_page(const Domain& domain, const abi::HypercallPageRequest& request);
    static abi::Verdict hypercall(Vcpu& vcpu, abi::HypercallFrame& frame);
    static abi::Verdict exit(Vcpu& vcpu, abi::ExitFrame& frame);

    // --- MSRs with a thought in them ---
    static Status write_guest_os_id(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value);
    static Status write_hypercall(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value);
    static Status write_reset(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value);
    static Expected<std::uint64_t> read_runtime(const Vcpu& vcpu, std::uint32_t offset);
    static Expected<std::uint64_t> read_idle(const Vcpu& vcpu, std::uint32_t offset);
    static Status write_reference_tsc(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value);
    static Status write_assist(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value);
    static Status write_scontrol(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value);
    static Status write_event_page(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value);
    static Status write_message_page(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value);
    static Status write_eom(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value);
    static Status write_sint(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value);
    static Expected<std::uint64_t> read_stimer(const Vcpu& vcpu, std::uint32_t offset);
    static Status write_stimer(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value);
    static Status write_crash_parameter(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value);
    static Status write_crash_control(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value);
    static Status write_tsc_control(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value);

    static Features features_of(const DomainState& state) { return Features{state.features}; }
    /// permission_denied where the domain was not given the group.
    static Status check_offered(const Vcpu& vcpu, Feature feature)
    {
        return features_of(vcpu.domain_state()).has(feature) ? Status{Done{}} : Error::permission_denied;
    }
    /// Places an overlay.  Beyond the guest's address space it is shown nowhere, and that is no error.
    static Status place(std::uint64_t domain, ext::Overlay page, GuestPhysical where, bool writable)
    {
        const auto placed = page.place(domain, where, writable);
        if (placed || placed.error() != Error::invalid_argument)
            return placed;
        static_cast<void>(page.remove(domain));
        return Done{};
    }

    static constexpr std::array windows{
        // The interface has its leaves, its MSRs and its calls at fixed places [TLFS-6.0b §2.4, §3.7,
        // Appendix C].
        ext::cpuid_block(row::leaves_window, abi::cpuid_block_stride, abi::cpuid_first_block),
        ext::fixed_msrs(row::msrs_window, tlfs::msr_base, 0x120, "synthetic MSRs"),
        ext::hypercalls_where(row::calls_window,
                              {.modes = abi::match_long_64 | abi::match_protected_32,
                               .maximum_cpl = 0,
                               .operand = static_cast<std::uint32_t>(abi::GeneralRegister::rax),
                               .mask = page_mark,
                               .value = page_mark}),
    };

    static constexpr std::array parameters{row::features_parameter(), row::ports_parameter()};

    static constexpr auto other_reads = std::to_array<abi::DeclaredMsrRead>({
        row::domain_field(tlfs::HV_X64_MSR_GUEST_OS_ID, abi::condition_always,
                          offsetof(DomainState, guest_os_id)),
        row::domain_field(tlfs::HV_X64_MSR_HYPERCALL, abi::condition_always,
                          offsetof(DomainState, hypercall)),
        row::read_as(tlfs::HV_X64_MSR_VP_INDEX, abi::condition_always, abi::MsrReadKind::vcpu_field,
                     static_cast<std::uint32_t>(abi::VcpuField::index)),
        row::read_as(tlfs::HV_X64_MSR_RESET, condition_of(Feature::reset), abi::MsrReadKind::constant, 0),
        row::read_as(tlfs::HV_X64_MSR_TIME_REF_COUNT, condition_of(Feature::time),
                     abi::MsrReadKind::scaled_time, count_shift, count_multiplier),
        row::domain_field(tlfs::HV_X64_MSR_REFERENCE_TSC, condition_of(Feature::time),
                          offsetof(DomainState, reference_tsc)),
        row::read_as(tlfs::HV_X64_MSR_ICR, condition_of(Feature::apic), abi::MsrReadKind::apic_icr, 0),
        row::read_as(tlfs::HV_X64_MSR_TPR, condition_of(Feature::apic), abi::MsrReadKind::apic_register,
                     row::apic_tpr),
        row::read_as(tlfs::HV_X64_MSR_VP_ASSIST_PAGE, condition_of(Feature::apic),
                     abi::MsrReadKind::vcpu_state, offsetof(VcpuState, assist_register)),
        row::vcpu_word(tlfs::HV_X64_MSR_SCONTROL, Feature::synic, offsetof(VcpuState, scontrol)),
        row::read_as(tlfs::HV_X64_MSR_SVERSION, condition_of(Feature::synic), abi::MsrReadKind::constant, 0,
                     tlfs::synic_version),
        row::vcpu_word(tlfs::HV_X64_MSR_SIEFP, Feature::synic, offsetof(VcpuState, siefp)),
        row::vcpu_word(tlfs::HV_X64_MSR_SIMP, Feature::synic, offsetof(VcpuState, simp)),
        row::read_as(tlfs::HV_X64_MSR_EOM, condition_of(Feature::synic), abi::MsrReadKind::constant, 0),
        row::domain_field(tlfs::HV_X64_MSR_CRASH_P0, row::crash_condition,
                          offsetof(DomainState, crash_parameters[0])),
        row::domain_field(tlfs::HV_X64_MSR_CRASH_P0 + 1, row::crash_condition,
                          offsetof(DomainState, crash_parameters[1])),
        row::domain_field(tlfs::HV_X64_MSR_CRASH_P0 + 2, row::crash_condition,
                          offsetof(DomainState, crash_parameters[2])),
        row::domain_field(tlfs::HV_X64_MSR_CRASH_P0 + 3, row::crash_condition,
                          offsetof(DomainState, crash_parameters[3])),
        row::domain_field(tlfs::HV_X64_MSR_CRASH_P4, row::crash_condition,
                          offsetof(DomainState, crash_parameters[4])),
        row::read_as(tlfs::HV_X64_MSR_CRASH_CTL, condition_of(Feature::crash), abi::MsrReadKind::constant, 0,
                     tlfs::CrashControl::defined),
        row::domain_field(tlfs::HV_X64_MSR_TSC_INVARIANT_CONTROL, row::tsc_control_condition, offsetof(DomainState, tsc_control)),
    });
    static consteval auto with_sints()
    {
        std::array<abi::DeclaredMsrRead, std::size(other_reads) + tlfs::sint_count> all{};
        std::ranges::copy(other_reads, all.begin());
        for (std::uint32_t sint = 0; sint < tlfs::sint_count; ++sint)
            all[std::size(other_reads) + sint] = row::vcpu_word(tlfs::HV_X64_MSR_SINT0 + sint, Feature::synic,
                                                                offsetof(VcpuState, sint) + sint * sizeof(std::uint64_t));
        return all;
    }
    static const std::array<abi::DeclaredMsrRead, 37> msr_reads;

    static consteval abi::DeclaredMsrWrite count_of(std::uint32_t timer)
    {
        return row::count_write(timer,
                                offsetof(VcpuState, timers) + timer * sizeof(SyntheticTimer) + offsetof(SyntheticTimer, count),
                                offsetof(VcpuState, moved_by_count) + timer * sizeof(std::uint64_t));
    }
    static const std::array<abi::DeclaredMsrWrite, 3 + tlfs::stimer_count> msr_writes;

    /// The processor's own leaf, while the guest has not asked to see its invariant counter.
    static constexpr std::array exits{
        abi::ExitSubscription{abi::ExitKind::cpuid, abi::exit_instead | row::tsc_hidden_condition << abi::exit_condition_shift,
                              tlfs::leaf_processor_power, tlfs::leaf_processor_power}};

    static const std::array<ext::MsrRule<Viridian>, 16> msrs;
};

constexpr std::array<abi::DeclaredMsrRead, 37> Viridian::msr_reads{Viridian::with_sints()};

constexpr std::array<abi::DeclaredMsrWrite, 3 + tlfs::stimer_count> Viridian::msr_writes{
    row::apic_write(tlfs::HV_X64_MSR_EOI, abi::MsrWriteKind::apic_eoi, tlfs::eoi_defined),
    row::apic_write(tlfs::HV_X64_MSR_ICR, abi::MsrWriteKind::apic_icr, ~0ull),
    row::apic_write(tlfs::HV_X64_MSR_TPR, abi::MsrWriteKind::apic_tpr, tlfs::tpr_defined),
    Viridian::count_of(0),
    Viridian::count_of(1),
    Viridian::count_of(2),
    Viridian::count_of(3),
};
static_assert(tlfs::stimer_count == 4);

}  // namespace hv::viridian
