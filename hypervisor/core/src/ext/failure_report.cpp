// SPDX-License-Identifier: MIT
#include "hv/core/ext/failure_report.hpp"

#include <algorithm>

#include "backtrace.hpp"
#include "failure.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::core {
namespace {

/// The newest of what was recorded for one VCPU, or for the domain's hooks.
void collect(FailureReport& report, const EventLog& log, std::uint32_t vcpu)
{
    for (std::size_t index = 0; log.room() != nullptr && index < EventLog::capacity; ++index) {
        const HookEvent event = log.at(index);
        if (event.ticks == 0)
            continue;
        if (report.event_count < std::size(report.events)) {
            report.events[report.event_count++] = {event, vcpu};
            continue;
        }
        ReportEvent* const oldest = std::ranges::min_element(
            report.events, {}, [](const ReportEvent& one) { return one.event.ticks; });
        if (oldest->event.ticks < event.ticks)
            *oldest = {event, vcpu};
    }
}

void collect_events(FailureReport& report, const Binding& binding)
{
    collect(report, binding.events, FailureReport::of_domain);
    for (unsigned index = 0; index < binding.vcpu_count; ++index)
        collect(report, binding.vcpus[index]->events, index);
    std::sort(report.events, report.events + report.event_count,
              [](const ReportEvent& one, const ReportEvent& other) { return one.event.ticks < other.event.ticks; });
}

void describe(FailureReport& report, const Binding& binding)
{
    const loader::ModuleFacts facts = binding.module.facts();
    report.module.append(binding.name());
    report.version[0] = facts.version_major;
    report.version[1] = facts.version_minor;
    report.version[2] = facts.version_patch;
    report.hash = facts.hash;
    report.generation = binding.module.generation();
    report.placement = binding.options.placement;
    report.image = binding.image.placement.address;
}

void add_fault(FailureReport& report, const HookCall& call, const platform::HookFault& fault)
{
    const Seat& seat = call.vcpu != nullptr ? call.vcpu->seat : call.binding->seat;
    report.has_registers = true;
    report.fault = fault;
    report.frame_count = walk_stack(*call.binding, seat, fault, report.frames);
}

template <typename Show, typename T>
void show_own(Show show, const T* own, std::uint64_t bytes, bool writable)
{
    const auto* const first = reinterpret_cast<const std::byte*>(own);
    show(reinterpret_cast<std::uintptr_t>(own), std::span{first, own != nullptr ? static_cast<std::size_t>(bytes) : 0}, writable, false);
}

/// What a trusted instance calls its own; of the VCPUs', the blocks of the hook's.  Nothing else of the hypervisor's.
template <typename Show>
void show_trusted(const HookCall& call, bool thrown_out, Show show)
{
    Binding& binding = *call.binding;
    const auto part = [&](const loader::Region& of, bool writable, bool executable) {
        show(binding.image.placement.address + of.offset,
             std::span<const std::byte>{binding.image.placement.bytes}.subspan(static_cast<std::size_t>(of.offset),
                                                                               static_cast<std::size_t>(of.bytes)),
             writable, executable);
    };
    part(binding.image.layout.text, false, true);
    part(binding.image.layout.rodata, false, false);
    part(binding.image.layout.data, true, false);
    show_own(show, &binding.context, sizeof binding.context, false);
    show_own(show, binding.state.working, binding.state.words * sizeof(std::uint64_t), true);
    if (call.vcpu != nullptr) {
        show_own(show, &call.vcpu->context, sizeof call.vcpu->context, false);
        show_own(show, call.vcpu->state.working, call.vcpu->state.words * sizeof(std::uint64_t), true);
    }
    if (thrown_out)
        show(platform::last_hook_stack().address, platform::last_hook_stack().bytes, true, false);
    const LockGuard guard{binding.allocation_lock};
    for (const Binding::Allocation* one = binding.allocations; one != nullptr; one = one->next)
        show_own(show, one->bytes, one->length, true);
}

/// All that the call's instance could reach, as FailureCore::take asks for it.
template <typename Show>
void show_memory(const HookCall& call, bool thrown_out, Show show)
{
    const Seat& seat = call.vcpu != nullptr ? call.vcpu->seat : call.binding->seat;
    if (call.binding->isolated != nullptr)
        call.binding->isolated->visit(seat.stack, show);
    else
        show_trusted(call, thrown_out, show);
}

}  // namespace

FailureReports::~FailureReports()
{
    for (FailureReport* const report : reports_)
        if (report != nullptr)
            destroy(heap_, report);
}

bool FailureReports::add(const HookCall& call, std::string_view reason, const platform::HookFault* fault, OnFault action,
                         bool in_bind)
{
    auto made = make<FailureReport>(heap_);
    const LockGuard guard{lock_};
    const std::uint64_t number = count_.load(std::memory_order_relaxed) + 1;
    FailureReport*& place = reports_[(number - 1) % kept];
    count_.store(number, std::memory_order_release);
    if (place != nullptr)
        destroy(heap_, std::exchange(place, nullptr));
    if (!made)
        return false;
    FailureReport& report = *made.value();
    report.number = number;
    report.ticks = platform::ticks();
    report.reason.append(reason);
    report.hook = name_of(call.hook);
    report.vcpu = call.vcpu != nullptr ? call.vcpu->vcpu.id : FailureReport::of_domain;
    report.action = action;
    report.in_bind = in_bind;
    describe(report, *call.binding);
    if (fault != nullptr)
        add_fault(report, call, *fault);
    collect_events(report, *call.binding);
    place = made.value().leak();
    return in_bind || core_.take(number, [&](auto show) { show_memory(call, fault != nullptr, show); });
}

const FailureReport* FailureReports::find(std::string_view module, std::uint32_t skip) const
{
    const std::uint64_t newest = count_.load(std::memory_order_relaxed);
    for (std::uint64_t back = 0; back < std::min<std::uint64_t>(newest, kept); ++back) {
        const FailureReport* const report = reports_[(newest - 1 - back) % kept];
        if (report != nullptr && (module.empty() || report->module.view() == module) && skip-- == 0)
            return report;
    }
    return nullptr;
}

}  // namespace hv::core
