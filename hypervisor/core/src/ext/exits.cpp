// SPDX-License-Identifier: MIT
//
// The union of a domain's subscriptions to exits, and how a VCPU takes it over.
#include "exits.hpp"

#include <algorithm>

#include "hook_call.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/exit_answer.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "stack.hpp"
#include "subscribed_exit.hpp"

namespace hv::core {
namespace {

constexpr std::uint32_t bit(ExitKind kind)
{
    return 1u << static_cast<unsigned>(kind);
}

/// Which exits of the core's a kind of the ABI is.
constexpr std::uint32_t kinds_of(abi::ExitKind kind)
{
    switch (kind) {
    case abi::ExitKind::cpuid: return bit(ExitKind::cpuid);
    case abi::ExitKind::msr: return bit(ExitKind::msr_read) | bit(ExitKind::msr_write);
    case abi::ExitKind::port: return bit(ExitKind::port);
    case abi::ExitKind::exception: return bit(ExitKind::exception);
    case abi::ExitKind::control_register: return bit(ExitKind::control_register);
    case abi::ExitKind::halt: return bit(ExitKind::halt);
    case abi::ExitKind::pause: return bit(ExitKind::pause);
    case abi::ExitKind::read_tsc: return bit(ExitKind::read_tsc);
    case abi::ExitKind::invalidate_page: return bit(ExitKind::invalidate_page);
    case abi::ExitKind::debug_register: return bit(ExitKind::debug_register);
    case abi::ExitKind::page_watch: return bit(ExitKind::nested_fault);
    case abi::ExitKind::single_step: break;  // no exit is one by itself
    }
    return 0;
}

std::uint32_t number_bits(const abi::ExitSubscription& wanted)
{
    return static_cast<std::uint32_t>((std::uint64_t{2} << wanted.last) - (std::uint64_t{1} << wanted.first));
}

bool wants_reads(const abi::ExitSubscription& wanted)
{
    return (wanted.flags & abi::exit_reads) != 0 || (wanted.flags & abi::exit_writes) == 0;
}
bool wants_writes(const abi::ExitSubscription& wanted)
{
    return (wanted.flags & abi::exit_writes) != 0 || (wanted.flags & abi::exit_reads) == 0;
}

void add_registers(const abi::ExitSubscription& wanted, std::uint16_t& reads, std::uint16_t& writes)
{
    const std::uint32_t registers = number_bits(wanted);
    if (wants_reads(wanted))
        reads = static_cast<std::uint16_t>(reads | registers);
    if (wants_writes(wanted))
        writes = static_cast<std::uint16_t>(writes | registers);
}

WatchedPages watched_by(const abi::ExitSubscription& wanted)
{
    constexpr std::uint32_t directions{abi::exit_reads | abi::exit_writes | abi::exit_executes};
    const bool all = (wanted.flags & directions) == 0;
    return {wanted.first, wanted.last, all || (wanted.flags & abi::exit_reads) != 0, all || (wanted.flags & abi::exit_writes) != 0,
            all || (wanted.flags & abi::exit_executes) != 0};
}

/// DR6 and DR7 by their other names too.
void add_debug_registers(abi::ExitSubscription wanted, Intercepts& all)
{
    add_registers(wanted, all.debug_reads, all.debug_writes);
    constexpr std::uint64_t status{6}, aliases{2};
    if (wanted.last < status)
        return;
    wanted.first = (wanted.first < status ? status : wanted.first) - aliases;
    wanted.last -= aliases;
    add_registers(wanted, all.debug_reads, all.debug_writes);
}

void add(InterceptPlan& plan, const abi::ExitSubscription& wanted)
{
    Intercepts& all = plan.intercepts;
    plan.kinds |= kinds_of(wanted.kind);
    if ((wanted.flags & abi::exit_passive) != 0)
        return;
    switch (wanted.kind) {
    case abi::ExitKind::msr:
        HV_ASSERT(plan.msrs.push_back({static_cast<std::uint32_t>(wanted.first), static_cast<std::uint32_t>(wanted.last),
                                       wants_reads(wanted), wants_writes(wanted)}));  // reserve_subscriptions has counted
        return;
    case abi::ExitKind::page_watch: HV_ASSERT(plan.pages.push_back(watched_by(wanted))); return;  // counted, too
    case abi::ExitKind::single_step: plan.steps = true; return;
    case abi::ExitKind::exception: all.exceptions |= number_bits(wanted); return;
    case abi::ExitKind::control_register: return add_registers(wanted, all.control_reads, all.control_writes);
    case abi::ExitKind::debug_register: return add_debug_registers(wanted, all);
    case abi::ExitKind::pause: all.pause = true; return;
    case abi::ExitKind::read_tsc: all.read_tsc = true; return;
    case abi::ExitKind::invalidate_page: all.invalidate_page = true; return;
    default: return;  // exits always
    }
}

/// What subscriptions take of what there is a limit for, whatever conditions they hold under.
struct Needs {
    std::size_t msr_ranges{};
    std::size_t page_ranges{};
    std::uint64_t pages{};
    bool steps{};
    StaticVector<WatchedPages, NestedView::maximum_ranges> watched{};  ///< as far as they have room

    void add(const Subscriptions& of)
    {
        for (const abi::ExitSubscription& one : std::span{of.list, of.count})
            if ((one.flags & abi::exit_passive) == 0)
                add(one);
    }
    void add(const abi::ExitSubscription& one)
    {
        msr_ranges += one.kind == abi::ExitKind::msr ? 1 : 0;
        steps = steps || one.kind == abi::ExitKind::single_step;
        if (one.kind != abi::ExitKind::page_watch)
            return;
        ++page_ranges;
        pages += one.last - one.first + 1;
        static_cast<void>(watched.push_back(watched_by(one)));
    }
};

/// Of the whole stack with this one; of the binding alone, whether it has any at all.
Needs needs_with(const Binding& binding)
{
    Needs all;
    all.add(binding.subscriptions);
    for (const Binding* const other : binding.domain.extensions->implementation().bindings)
        if (&other->holdings != &binding.holdings)  // else it takes the other's place
            all.add(other->subscriptions);
    return all;
}

/// Nested tables of each VCPU, so that none of them can lack memory when it takes the subscriptions over.
Status reserve_tables(Domain& domain, const Needs& all, TextWriter& why)
{
    for (unsigned index = 0; index < domain.vcpu_count(); ++index)
        if (const Status reserved = domain.vcpu(index).view.reserve(all.watched, all.steps); !reserved) {
            trim_subscriptions(domain);
            say(why, "not enough memory for the nested tables of watched pages and single steps");
            return reserved;
        }
    return Done{};
}

Status check_watched_pages(const Needs& all, TextWriter& why)
{
    if (all.page_ranges <= NestedView::maximum_ranges && all.pages <= InterceptPlan::maximum_watched_pages)
        return Done{};
    say(why, "the domain's extensions watch more than ", NestedView::maximum_ranges, " ranges of pages, or more than ",
        InterceptPlan::maximum_watched_pages, " pages");
    return Error::limit_reached;
}

}  // namespace

Status Subscriptions::create(Heap& heap, const Module& module)
{
    const loader::Module& file = module.verified();
    if (file.exit_count() == 0)
        return Done{};
    list = static_cast<abi::ExitSubscription*>(heap.allocate(file.exit_count() * sizeof *list));
    if (list == nullptr)
        return Error::no_memory;
    for (; count < file.exit_count(); ++count)
        list[count] = file.exit(count);
    return Done{};
}

bool holds(const Binding& binding, const abi::ExitSubscription& wanted)
{
    const std::uint32_t condition = abi::exit_condition(wanted.flags);
    return condition == 0 || (binding.conditions.load(std::memory_order_relaxed) & condition_bit(condition)) != 0;
}

Status reserve_subscriptions(Binding& binding, TextWriter& why)
{
    ExtensionStack& stack = *binding.domain.extensions;
    Needs own;
    own.add(binding.subscriptions);
    const Needs all = needs_with(binding);
    if (own.page_ranges != 0)
        HV_TRY(check_watched_pages(all, why));
    if (own.page_ranges != 0 || own.steps)
        HV_TRY(reserve_tables(binding.domain, all, why));
    if (own.msr_ranges == 0)
        return Done{};
    if (all.msr_ranges > InterceptPlan::maximum_msr_ranges) {
        say(why, "the domain's extensions subscribe to more ranges of MSRs than ", InterceptPlan::maximum_msr_ranges);
        return Error::limit_reached;
    }
    InterceptPlan& plan = stack.implementation().locks.intercepts;
    if (plan.intercepts.msr_map == nullptr) {
        const auto map = machine().hvm.msr_map_create(binding.domain.ledger);
        if (!map) {
            say(why, "not enough memory for the domain's own choice of MSRs that exit");
            return map.error();
        }
        const LockGuard guard{plan.lock};
        plan.intercepts.msr_map = map.value();
    }
    return Done{};
}

void trim_subscriptions(Domain& domain)
{
    Needs all;
    for (const Binding* const binding : domain.extensions->implementation().bindings)
        all.add(binding->subscriptions);
    for (unsigned index = 0; index < domain.vcpu_count(); ++index)
        domain.vcpu(index).view.trim(all.watched, all.steps);
}

void renew_subscriptions(Domain& domain)
{
    if (domain.extensions == nullptr)
        return;
    ExtensionStack::Implementation& own = domain.extensions->implementation();
    InterceptPlan& plan = own.locks.intercepts;
    renew_run_listeners(domain);
    {
        const LockGuard guard{plan.lock};
        const Intercepts before = plan.intercepts;
        const std::uint32_t kinds_before = plan.kinds;
        const bool steps_before = plan.steps;
        const auto pages_before = plan.pages;
        plan.intercepts = {.msr_map = before.msr_map};
        plan.kinds = 0;
        plan.steps = false;
        plan.msrs.clear();
        plan.pages.clear();
        for (const Binding* const binding : own.bindings)
            if (binding->route.load(std::memory_order_acquire) != Route::ended)
                for (std::uint32_t index = 0; index < binding->subscriptions.count; ++index)
                    if (holds(*binding, binding->subscriptions.list[index]))
                        add(plan, binding->subscriptions.list[index]);
        if (before.msr_map != nullptr)
            machine().hvm.msr_map_set(before.msr_map, plan.msrs);
        else if (before == plan.intercepts && kinds_before == plan.kinds && steps_before == plan.steps &&
                 std::ranges::equal(pages_before, plan.pages))
            return;
    }
    for (unsigned index = 0; index < domain.vcpu_count(); ++index)
        domain.vcpu(index).mark(VcpuRequest::intercepts);
}

Intercepts ExtensionStack::intercepts() const
{
    const LockGuard guard{locks_->intercepts.lock};
    return locks_->intercepts.intercepts;
}

namespace {

void adopt_watched_pages(Vcpu& vcpu, std::span<const WatchedPages> pages)
{
    if (vcpu.view.watches_just(pages))
        return;
    if (vcpu.step.wanted)
        end_step(vcpu);
    HV_ASSERT(vcpu.view.watch(pages));  // reserve_subscriptions has seen to it
    vcpu.nested_root = vcpu.view.root();
    machine().hvm.flush(vcpu);
}

/// A repeated instruction is then many: the string ports' too.
void adopt_steps(Vcpu& vcpu, bool steps)
{
    follow_steps(vcpu, steps);
    VcpuExitAnswer& ports = vcpu.answers[static_cast<unsigned>(ExitKind::port)];
    if (steps && ports != answer_subscribed)
        ports = answer_by<handle_port_turn>;
}

}  // namespace

void ExtensionStack::adopt_intercepts(Vcpu& vcpu)
{
    InterceptPlan& plan = locks_->intercepts;
    StaticVector<WatchedPages, NestedView::maximum_ranges> pages;
    bool steps{};
    {
        const LockGuard guard{plan.lock};
        machine().hvm.intercept(vcpu, plan.intercepts);
        for (unsigned kind = 0; kind < exit_kinds; ++kind)
            vcpu.answers[kind] = (plan.kinds >> kind & 1) != 0 ? answer_subscribed : core_answers[kind];
        pages = plan.pages;
        steps = plan.steps;
    }
    adopt_watched_pages(vcpu, pages);
    adopt_steps(vcpu, steps);
}

}  // namespace hv::core
