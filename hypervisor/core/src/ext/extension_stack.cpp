// SPDX-License-Identifier: MIT
//
// The stack of one domain: announcing, binding and unbinding, and what an operator sees of it.  The way of a guest's access to
// whom it belongs is access.cpp.
#include "hv/core/ext/extension_stack.hpp"

#include <algorithm>
#include <utility>

#include "hv/core/ext/failure_report.hpp"
#include "hook_call.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/ext/swap.hpp"
#include "hv/core/machine.hpp"
#include "stack.hpp"

namespace hv::core {

// ---- binding
// ----------------------------------------------------------------------------------------------------

namespace {

/// The pages of all bindings of a domain form a ring.
void join(GuestPages& ring, GuestPages& pages)
{
    pages.next = ring.next;
    ring.next = &pages;
}

void leave(GuestPages& pages)
{
    GuestPages* before = &pages;
    while (before->next != &pages)
        before = before->next;
    before->next = pages.next;
    pages.next = &pages;
}

}  // namespace

Binding* find_binding(const Domain& domain, std::string_view name, TextWriter& why)
{
    if (domain.extensions != nullptr)
        for (Binding* const binding : domain.extensions->implementation().bindings)
            if (binding->name() == name)
                return binding;
    say(why, "domain '", domain.name(), "' has no extension '", name, "'");
    return nullptr;
}

void take_out(ExtensionStack::Implementation& own, Binding& binding)
{
    binding.holdings.release_callbacks();
    leave(binding.pages);
    own.windows.remove(binding);
}

namespace {

/// What can be said of a stack before any window is looked at.
Status check_list(std::span<Module* const> modules, std::size_t& culprit, TextWriter& why)
{
    for (culprit = 0; culprit < modules.size(); ++culprit) {
        if (culprit == ExtensionStack::Implementation::maximum_bindings) {
            say(why, "a domain has at most ", culprit, " extensions");
            return Error::limit_reached;
        }
        const auto before = modules.first(culprit);
        if (std::find(before.begin(), before.end(), modules[culprit]) != before.end()) {
            say(why, "extension '", modules[culprit]->name(), "' is twice in the domain's stack");
            return Error::already_exists;
        }
    }
    return Done{};
}

}  // namespace

Expected<ExtensionStack*> ExtensionStack::create(Domain& domain)
{
    auto stack = HV_TRY(make<ExtensionStack>(domain.heap));
    auto locks = HV_TRY(make<StackLocks>(domain.heap, domain.heap));
    auto reports = HV_TRY(make<FailureReports>(domain.heap, domain.heap));
    auto implementation = HV_TRY(make<Implementation>(domain.heap, *locks));
    stack->locks_ = locks.leak();
    stack->reports_ = reports.leak();
    stack->implementation_ = implementation.leak();
    return stack.leak();
}

Expected<ExtensionStack*> ExtensionStack::of(Domain& domain)
{
    if (domain.extensions == nullptr)
        domain.extensions = HV_TRY(create(domain));
    return domain.extensions;
}

Status ExtensionStack::bind(Domain& domain, Module& module, std::span<const ExtensionParameter> parameters,
                            BindOptions options, TextWriter& why, TextWriter& field)
{
    if (domain.state() != DomainState::building) {
        say(why, "extensions are bound while a domain is being built");
        return Error::conflict;
    }
    auto stack = of(domain);
    if (!stack) {
        say(why, "not enough memory for an extension stack");
        return stack.error();
    }
    const Status bound = stack.value()->add(domain, module, parameters, options, why, field);
    if (!bound && stack.value()->count_ == 0 && stack.value()->plan_ == nullptr)
        discard(domain, domain.extensions);
    return bound;
}

/// What can be said of a module's place in the stack without an instance.
Status ExtensionStack::check_place(const Module& module, TextWriter& why) const
{
    if (implementation_->bindings.full()) {
        say(why, "a domain has at most ", Implementation::maximum_bindings, " extensions");
        return Error::limit_reached;
    }
    for (const Binding* const other : implementation_->bindings)
        if (other->name() == module.name()) {
            say(why, "extension '", module.name(), "' is in the domain's stack already");
            return Error::already_exists;
        }
    return Done{};
}

Status ExtensionStack::announce(Domain& domain, std::span<Module* const> modules, std::size_t& culprit,
                                TextWriter& why)
{
    if (domain.state() != DomainState::building || domain.extensions != nullptr) {
        say(why, "a domain's extensions are announced once, before the first is bound");
        return Error::conflict;
    }
    HV_TRY(check_list(modules, culprit, why));
    culprit = modules.size();
    auto stack = of(domain);
    auto plan = stack ? make<WindowPlan>(domain.heap) : Expected<Owned<WindowPlan>>{stack.error()};
    if (!plan)
        say(why, "not enough memory for an extension stack");
    const Status decided =
        plan ? plan.value()->decide(domain.heap, modules, culprit, why) : Status{plan.error()};
    if (decided)
        stack.value()->plan_ = plan.value().leak();
    else if (stack)
        discard(domain, domain.extensions);
    return decided;
}

Status ExtensionStack::complete(Domain& domain, TextWriter& why)
{
    if (plan_ == nullptr)
        return Done{};
    if (count_ < plan_->size()) {
        say(why, "of the ", plan_->size(), " extensions that were announced ", count_, " are bound");
        return Error::conflict;
    }
    destroy(domain.heap, std::exchange(plan_, nullptr));
    return Done{};
}

/// What was planned for the instance that is bound next; null without a plan.
Expected<const PlannedWindows*> ExtensionStack::planned_for(const Module& module, TextWriter& why) const
{
    if (plan_ == nullptr)
        return nullptr;
    if (count_ < plan_->size() && plan_->at(count_).generation == module.generation())
        return &plan_->at(count_);
    say(why, "extension '", module.name(), "' is not the one that was announced for place ", count_);
    return Error::conflict;
}

Status ExtensionStack::add(Domain& domain, Module& module, std::span<const ExtensionParameter> parameters,
                           BindOptions options, TextWriter& why, TextWriter& field)
{
    Implementation& own = *implementation_;
    HV_TRY(check_place(module, why));
    const PlannedWindows* const planned = HV_TRY(planned_for(module, why));
    auto holdings = make<Holdings>(domain.heap, domain, own.locks.pages, own.locks.channels);
    auto made = holdings ? make<Binding>(domain.heap, domain, module, *holdings.value(), options)
                         : Expected<Owned<Binding>>{holdings.error()};
    if (!made) {
        say(why, "not enough memory for an instance of extension '", module.name(), "'");
        return made.error();
    }
    Binding& binding = *made.value();
    if (const Status placed = binding.create(own.windows, planned, why); !placed) {
        own.windows.remove(binding);
        return placed;
    }
    HV_TRY(put_on_top(binding, parameters, why, field));
    static_cast<void>(holdings.value().leak());
    static_cast<void>(made.value().leak());
    return Done{};
}

/// Calls the first hooks of a binding whose windows are in the map.  Where one fails nothing leads to it any more.
Status ExtensionStack::put_on_top(Binding& binding, std::span<const ExtensionParameter> parameters, TextWriter& why,
                                  TextWriter& field)
{
    Implementation& own = *implementation_;
    Domain& domain = binding.domain;
    if (!own.bindings.empty())
        join(own.bindings[0]->pages, binding.pages);
    else if (!detached_.empty())
        join(detached_[0]->pages, binding.pages);
    {
        const LockGuard guard{own.locks.holds};
        HV_ASSERT(own.bindings.push_back(&binding));  // there is room; its hooks may already ask for what needs the stack
    }
    const Status room = reserve_subscriptions(binding, why);
    if (const Status started = room ? binding.start(parameters, why, field) : room; !started) {
        binding.stop_hooks();
        take_out(own, binding);
        take_off(binding);
        renew_subscriptions(domain);
        trim_subscriptions(domain);
        return started;
    }
    renew_subscriptions(domain);
    if (domain.resident_space == nullptr && binding.isolated != nullptr)
        domain.resident_space = &binding.isolated->space;
    ++count_;
    ++binding.module.bindings_;
    return Done{};
}

/// No VCPU has anything of the binding under way any more, and it is not in the stack.
void ExtensionStack::take_off(Binding& binding)
{
    Implementation& own = *implementation_;
    {
        const LockGuard guard{own.locks.holds};
        own.bindings.erase(std::find(own.bindings.begin(), own.bindings.end(), &binding));
    }
    release_vcpus(binding);
}

/// Nothing that the instance had under way with a VCPU, or wanted of it, stands any more.
void ExtensionStack::release_vcpus(Binding& binding)
{
    for (unsigned index = 0; index < binding.vcpu_count; ++index) {
        Vcpu& vcpu = binding.domain.vcpu(index);
        VcpuBinding& its = *binding.vcpus[index];
        if (std::exchange(its.continuing, false))
            vcpu.entry_held = false;  // the guest makes its call once more
        if (std::exchange(its.polling, false))
            vcpu.entry_held = false;
        its.pauses.store(0);
        its.held.store(false);
        its.watch = {};
        update_hold(vcpu);
        renew_watched(vcpu);
        if (std::exchange(its.eoi_assist_page, 0) != 0)
            vcpu.eoi_assist = {};
        vcpu.renew_entry_extras();
    }
}

void ExtensionStack::unbind_all(Domain& domain)
{
    if (domain.extensions == nullptr)
        return;
    forget_replaced(domain);
    Implementation& own = *domain.extensions->implementation_;
    for (std::size_t index = own.bindings.size(); index-- > 0;)
        own.bindings[index]->stop_hooks();
    for (unsigned index = 0; index < domain.vcpu_count(); ++index) {
        domain.vcpu(index).eoi_assist = {};
        domain.vcpu(index).watched = {};
        domain.vcpu(index).renew_entry_extras();
    }
    domain.resident_space = nullptr;
    while (!own.bindings.empty()) {
        Binding* const top = own.bindings.back();
        Holdings* const holdings = &top->holdings;
        --top->module.bindings_;
        if (holdings->module_before != nullptr)
            --holdings->module_before->kept_;
        take_out(own, *top);
        destroy(domain.heap, top);
        destroy(domain.heap, holdings);
        own.bindings.pop_back();
    }
    while (!domain.extensions->detached_.empty())
        domain.extensions->forget_detached(*domain.extensions->detached_.back());
    discard(domain, domain.extensions);
}

void ExtensionStack::discard(Domain& domain, ExtensionStack* stack)
{
    if (domain.extensions == stack)
        domain.extensions = nullptr;
    destroy(domain.heap, stack->plan_);
    stack->locks_->control_channels.clear();
    if (void* const map = stack->locks_->intercepts.intercepts.msr_map; map != nullptr)
        machine().hvm.msr_map_destroy(map, domain.ledger);
    destroy(domain.heap, stack->implementation_);
    destroy(domain.heap, stack->reports_);
    destroy(domain.heap, stack->locks_);
    destroy(domain.heap, stack);
}

// ---- for the operator
// -------------------------------------------------------------------------------------------

const Module& ExtensionStack::module(unsigned position) const
{
    return implementation_->bindings[position]->module;
}

std::uint64_t ExtensionStack::generation() const
{
    return implementation_->generation;
}

ExtensionStack::Description ExtensionStack::describe(unsigned position) const
{
    const Binding& binding = *implementation_->bindings[position];
    const abi::Manifest& manifest = binding.module.manifest();
    Description result{.name = binding.name(),
                       .version = {manifest.version_major, manifest.version_minor, manifest.version_patch},
                       .cpuid_base = 0,
                       .memory_bytes = (binding.ledger.frames() + binding.holdings.ledger.frames()) * page_size,
                       .placement = binding.options.placement,
                       .on_fault = binding.options.on_fault,
                       .restarts = binding.holdings.restarts.count,
                       .failed = binding.route.load() == Route::ended};
    for (const Window* const window : binding.windows)
        if (window->kind == abi::WindowKind::cpuid && result.cpuid_base == 0)
            result.cpuid_base = static_cast<std::uint32_t>(window->base);
    return result;
}

unsigned ExtensionStack::counter_count(unsigned position) const
{
    return implementation_->bindings[position]->module.verified().counter_count();
}

void ExtensionStack::counter(unsigned position, unsigned index, unsigned vcpu, Counter& counter) const
{
    const Binding& binding = *implementation_->bindings[position];
    const abi::CounterDescription described = binding.module.verified().counter(index);
    say(counter.name, std::string_view{described.name});
    const StateCopies& state = binding.vcpus[vcpu]->state;
    if (state.kept != nullptr)  // else its memory has gone back
        counter.value = __atomic_load_n(state.kept + described.offset / sizeof *state.kept, __ATOMIC_RELAXED);
}

ControlChannels ExtensionStack::control_channels() const
{
    return ControlChannels{locks_->control_channels};
}

const SettledParameter* ExtensionStack::settled(unsigned position, std::uint64_t index) const
{
    return implementation_->bindings[position]->settled.at(index);
}

}  // namespace hv::core
