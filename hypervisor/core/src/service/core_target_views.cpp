// SPDX-License-Identifier: MIT
//
// What there is: domains, VCPUs, exit counts, as entries of the control protocol's lists.
#include "hv/core/service/core_target.hpp"

#include <algorithm>

#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/service/wire_text.hpp"

namespace hv::core::service {

using control::Reason;

namespace {

protocol::DomainState wire_state(DomainState state)
{
    switch (state) {
    case DomainState::building: return protocol::DomainState::building;
    case DomainState::paused: return protocol::DomainState::paused;
    case DomainState::running: return protocol::DomainState::running;
    case DomainState::ended: return protocol::DomainState::ended;
    case DomainState::dying: return protocol::DomainState::dying;
    }
    return protocol::DomainState::dying;
}

protocol::VcpuState wire_state(const Vcpu& vcpu)
{
    if (vcpu.running())
        return protocol::VcpuState::running;
    if (vcpu.runnable() || vcpu.blocked_by(Blocker::capped))
        return protocol::VcpuState::runnable;
    if (vcpu.blocked_by(Blocker::stopped))
        return protocol::VcpuState::ended;
    if (vcpu.blocked_by(Blocker::paused) || vcpu.blocked_by(Blocker::extension))
        return protocol::VcpuState::paused;
    return vcpu.blocked_by(Blocker::waiting_for_startup) ? protocol::VcpuState::stopped : protocol::VcpuState::blocked;
}

std::uint64_t all_exits(const Domain& domain)
{
    std::uint64_t sum{};
    for (unsigned index = 0; index < domain.vcpu_count(); ++index)
        sum += domain.vcpu(index).exits.total();
    return sum;
}

void describe(const Domain& domain, protocol::DomainInfo& entry)
{
    entry.domain = domain.id;
    entry.state = static_cast<std::uint32_t>(wire_state(domain.state()));
    entry.end_reason = static_cast<std::uint32_t>(domain.end_reason());
    entry.vcpus = domain.vcpu_count();
    entry.memory = domain.memory.bytes();
    entry.memory_overhead = domain.ledger.frames() * page_size - domain.memory.bytes();
    entry.uptime_ticks = platform::ticks() - domain.created_at;
    for (unsigned index = 0; index < domain.vcpu_count(); ++index)
        entry.run_ticks += domain.vcpu(index).ticks_run();
    entry.exits = all_exits(domain);
    entry.weight = domain.vcpu(0).weight;
    entry.cap = domain.vcpu(0).cap_percent;
    entry.console_slot = domain.console.slot();
    entry.extensions = domain.extensions == nullptr ? 0 : domain.extensions->size();
    entry.affinity[0] = domain.vcpu(0).affinity;
    for (std::size_t at = 0; at < domain.uuid.size(); ++at)
        entry.uuid[at] = domain.uuid[at];
    put_text(entry.name, domain.name());
    put_text(entry.reason, domain.state() == DomainState::paused ? domain.pause_text() : domain.end_text());
}

static_assert(static_cast<std::uint32_t>(EndReason::crash) == static_cast<std::uint32_t>(protocol::EndReason::crash));
static_assert(static_cast<std::uint32_t>(EndReason::destroyed) ==
              static_cast<std::uint32_t>(protocol::EndReason::destroyed));

/// Adds what one VCPU counted under every key to the entries found so far; a list is short enough to be made anew for each
/// entry that is asked for.
struct KeyedSum {
    std::uint32_t key;
    bool write;
    std::uint64_t count;
};
using KeyedSums = StaticVector<KeyedSum, 4 * KeyCounts::capacity>;

void add(KeyedSums& sums, const KeyCounts& counts, bool write)
{
    for (const KeyCounts::Slot& slot : counts.read()) {
        if (slot.count == 0)
            continue;
        bool found{};
        for (KeyedSum& sum : sums)
            if (sum.key == slot.key && sum.write == write) {
                sum.count += slot.count;
                found = true;
            }
        if (!found)
            static_cast<void>(sums.push_back({slot.key, write, slot.count}));
    }
}

}  // namespace

void CoreTarget::describe_control_domain(protocol::DomainInfo& entry) const
{
    entry.domain = protocol::control_domain;
    entry.state = static_cast<std::uint32_t>(protocol::DomainState::running);
    entry.vcpus = 1;
    entry.memory = control_domain_.memory_bytes;
    entry.uptime_ticks = platform::ticks();
    entry.run_ticks = platform::ticks();
    entry.exits = control_domain_.exits == nullptr ? 0 : control_domain_.exits->total();
    entry.affinity[0] = 1;
    put_text(entry.name, "dom0");
}

bool CoreTarget::next_domain(std::uint64_t& cursor, protocol::DomainInfo& entry)
{
    entry = {};
    if (cursor == protocol::control_domain) {
        describe_control_domain(entry);
        cursor = 1;
        return true;
    }
    if (cursor > 0xffff'ffff)
        return false;
    const Domain* const domain = domains_.next(static_cast<std::uint32_t>(cursor));
    if (domain == nullptr)
        return false;
    describe(*domain, entry);
    cursor = std::uint64_t{domain->id} + 1;
    return true;
}

Expected<bool> CoreTarget::next_vcpu(protocol::DomainId id, std::uint64_t& cursor, protocol::VcpuInfo& entry)
{
    entry = {};
    if (id == protocol::control_domain) {
        if (cursor > 0)
            return false;
        entry.state = static_cast<std::uint32_t>(protocol::VcpuState::running);
        entry.run_ticks = entry.state_ticks[0] = platform::ticks();
        entry.exits = control_domain_.exits == nullptr ? 0 : control_domain_.exits->total();
        entry.affinity[0] = 1;
        cursor = 1;
        return true;
    }
    const Domain* const domain = domains_.find(id);
    if (domain == nullptr)
        return Error::not_found;
    if (cursor >= domain->vcpu_count())
        return false;
    const Vcpu& vcpu = domain->vcpu(static_cast<unsigned>(cursor));
    entry.vcpu = vcpu.id;
    entry.state = static_cast<std::uint32_t>(wire_state(vcpu));
    entry.processor = vcpu.ticks_run() == 0 && !vcpu.running() ? ~0u : vcpu.processor();
    entry.apic_id = vcpu.apic.addressing().id;
    entry.run_ticks = vcpu.ticks_run();
    entry.exits = vcpu.exits.total();
    entry.affinity[0] = vcpu.affinity;
    const RunTimes times = machine().scheduler.run_times(vcpu, platform::ticks());
    std::copy(times.ticks.begin(), times.ticks.end(), entry.state_ticks);
    ++cursor;
    return true;
}

Expected<const ExitCounters*> CoreTarget::counters(protocol::DomainId id, unsigned vcpu) const
{
    if (id == protocol::control_domain)
        return vcpu == 0 ? control_domain_.exits : nullptr;
    const Domain* const domain = domains_.find(id);
    if (domain == nullptr)
        return Error::not_found;
    return vcpu < domain->vcpu_count() ? &domain->vcpu(vcpu).exits : nullptr;
}

/// Extension by extension, counter by counter, VCPU by VCPU.
Expected<bool> CoreTarget::next_counter(const Domain& domain, std::uint64_t& cursor, protocol::ExitCount& entry) const
{
    const std::uint64_t vcpus = domain.vcpu_count();
    const ExtensionStack* const stack = domain.extensions;
    std::uint64_t before{};
    for (unsigned position = 0; stack != nullptr && position < stack->size(); ++position) {
        const std::uint64_t here = stack->counter_count(position) * vcpus;
        const std::uint64_t at = cursor - before;
        before += here;
        if (at >= here)
            continue;
        ExtensionStack::Counter counter;
        entry.key = static_cast<std::uint32_t>(at % vcpus);
        entry.flags = position;
        stack->counter(position, static_cast<unsigned>(at / vcpus), entry.key, counter);
        entry.count = counter.value;
        put_text(entry.name, counter.name.view());
        ++cursor;
        return true;
    }
    return false;
}

/// VCPU by VCPU, reads before writes, MSR by MSR: an order that no count changes.
Expected<bool> CoreTarget::next_vcpu_msr(protocol::DomainId id, std::uint64_t& cursor, protocol::ExitCount& entry) const
{
    constexpr unsigned write_place{32}, vcpu_place{33};
    for (std::uint64_t vcpu = cursor >> vcpu_place;; ++vcpu) {
        const ExitCounters* const counts = HV_TRY(counters(id, static_cast<unsigned>(vcpu)));
        if (counts == nullptr)
            return false;
        KeyedSums sums;
        add(sums, counts->msrs.reads, false);
        add(sums, counts->msrs.writes, true);
        const KeyedSum* found{};
        std::uint64_t place_of_found{};
        for (const KeyedSum& sum : sums) {
            const std::uint64_t place = vcpu << vcpu_place | std::uint64_t{sum.write} << write_place | sum.key;
            if (place < cursor || (found != nullptr && place_of_found < place))
                continue;
            found = &sum;
            place_of_found = place;
        }
        if (found == nullptr)
            continue;
        entry.key = found->key;
        entry.flags = (found->write ? protocol::exit_count_write : 0) |
                      static_cast<std::uint32_t>(vcpu) << protocol::exit_count_vcpu_shift;
        entry.count = found->count;
        cursor = place_of_found + 1;
        return true;
    }
}

Expected<bool> CoreTarget::next_exit_count(protocol::DomainId id, protocol::ExitTable table, std::uint64_t& cursor,
                                           protocol::ExitCount& entry)
{
    entry = {};
    if (table == protocol::ExitTable::counter) {
        const Domain* const domain = domains_.find(id);
        if (domain == nullptr)
            return id == protocol::control_domain ? Expected<bool>{false} : Error::not_found;
        return next_counter(*domain, cursor, entry);
    }
    if (table == protocol::ExitTable::vcpu_msr)
        return next_vcpu_msr(id, cursor, entry);
    KeyedSums sums;
    std::array<std::uint64_t, exit_kinds> kinds{};
    std::uint64_t other{};
    for (unsigned index = 0;; ++index) {
        const ExitCounters* const counts = HV_TRY(counters(id, index));
        if (counts == nullptr)
            break;
        for (unsigned kind = 0; kind < exit_kinds; ++kind)
            kinds[kind] += counts->by_kind[kind];
        if (table != protocol::ExitTable::reason) {
            const AccessCounts& keyed = table == protocol::ExitTable::msr ? counts->msrs : counts->ports;
            add(sums, keyed.reads, false);
            add(sums, keyed.writes, true);
            other += keyed.other();
        }
    }
    if (table == protocol::ExitTable::reason) {
        while (cursor < exit_kinds && kinds[cursor] == 0)
            ++cursor;
        if (cursor >= exit_kinds)
            return false;
        entry.key = static_cast<std::uint32_t>(cursor);
        entry.count = kinds[cursor];
        put_text(entry.name, exit_kind_name(static_cast<ExitKind>(cursor)));
    } else if (cursor < sums.size()) {
        const KeyedSum& sum = sums[static_cast<std::size_t>(cursor)];
        entry.key = sum.key;
        entry.flags = sum.write ? protocol::exit_count_write : 0;
        entry.count = sum.count;
    } else if (cursor == sums.size() && other != 0) {
        entry.key = ~0u;
        entry.count = other;
        put_text(entry.name, "others");
    } else {
        return false;
    }
    ++cursor;
    return true;
}

bool CoreTarget::next_domain_ended(protocol::DomainEndedEvent& event)
{
    for (Domain* domain = domains_.next(0); domain != nullptr; domain = domains_.next(domain->id + 1)) {
        if (!domain->take_end_announcement())
            continue;
        event = {};
        event.domain = domain->id;
        event.end_reason = static_cast<std::uint32_t>(domain->end_reason());
        put_text(event.reason, domain->end_text());
        return true;
    }
    return false;
}

bool CoreTarget::next_console_changed(protocol::ConsoleChangedEvent& event) { return consoles_.next_changed(event); }

}  // namespace hv::core::service
