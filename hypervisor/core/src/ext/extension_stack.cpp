// SPDX-License-Identifier: MIT
//
// The stack of one domain: binding and unbinding, and the way of an access from its exit to whom it belongs.
// To read a write of an MSR: write_msr() finds the window, the declared answer if there is one, else the hook
// (hook_call.hpp calls it), and settle() says what the verdict means to the exit handler.
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
    auto locks = HV_TRY(make<StackLocks>(domain.heap));
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
    auto holdings = make<Holdings>(domain.heap, domain, own.locks.pages);
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
    for (unsigned index = 0; index < binding.vcpu_count; ++index) {
        Vcpu& vcpu = binding.domain.vcpu(index);
        if (std::exchange(binding.vcpus[index]->continuing, false))
            vcpu.entry_held = false;  // the guest makes its call once more
        if (std::exchange(binding.vcpus[index]->polling, false))
            vcpu.entry_held = false;
        update_hold(vcpu);
        if (binding.owns_assist(index))
            vcpu.eoi_assist = {};
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
    for (unsigned index = 0; index < domain.vcpu_count(); ++index)
        domain.vcpu(index).eoi_assist = {};
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
    if (void* const map = stack->locks_->intercepts.intercepts.msr_map; map != nullptr)
        machine().hvm.msr_map_destroy(map, domain.ledger);
    destroy(domain.heap, stack->implementation_);
    destroy(domain.heap, stack->reports_);
    destroy(domain.heap, stack->locks_);
    destroy(domain.heap, stack);
}

// ---- CPUID and MSRs
// ---------------------------------------------------------------------------------------------

namespace {

// What is rare stays out of line, so that the common way needs few registers.

template <typename Answer>
constexpr bool any(const Answer&)
{
    return true;
}

void put_field(const Vcpu& vcpu, const LeafAnswer& answer, x86::CpuidResult& result)
{
    const std::uint32_t bits = read_field(vcpu, answer.field) << answer.field_shift;
    switch (answer.field_register) {
    case 0: result.eax |= bits; return;
    case 1: result.ebx |= bits; return;
    case 2: result.ecx |= bits; return;
    default: result.edx |= bits; return;
    }
}

[[gnu::noinline]] Answered ask_cpuid(VcpuBinding& vcpu, const Window& window, std::uint32_t leaf,
                                     std::uint32_t subleaf, x86::CpuidResult& result)
{
    const auto hook = vcpu.binding.hooks.cpuid;
    result = {};
    if (hook == nullptr)
        return Answered::done;
    abi::CpuidResult& shared = vcpu.seat.exchange->leaf;
    shared = {};
    const Answered answered =
        settle(vcpu, call_hook(vcpu, Hook::cpuid, hook, window.id, leaf, subleaf, vcpu.seat.shown(&shared)));
    result = {shared.eax, shared.ebx, shared.ecx, shared.edx};
    return answered;
}

/// The whole of it: answers with a field of the VCPU, and leaves that are not declared.
[[gnu::noinline]] Answered answer_leaf(Vcpu& vcpu, const Window& window, std::uint32_t place,
                                       std::uint32_t subleaf, x86::CpuidResult& result)
{
    for (;;) {
        const DeclaredReading reading{window.binding->declare_sequence};
        const LeafAnswer* const found = find_leaf(window, place, subleaf);
        const LeafAnswer answer{found != nullptr ? *found : LeafAnswer{}};
        if (!reading.holds())
            continue;
        if (found == nullptr)
            return ask_cpuid(window.binding->of(vcpu), window, place, subleaf, result);
        result = {answer.values.eax, answer.values.ebx, answer.values.ecx, answer.values.edx};
        if (answer.field != abi::VcpuField::none)
            put_field(vcpu, answer, result);
        return Answered::done;
    }
}

[[gnu::noinline]] Answered ask_msr_read(VcpuBinding& vcpu, const Window& window, std::uint32_t offset,
                                        std::uint64_t& value)
{
    const auto hook = vcpu.binding.hooks.msr_read;
    if (hook == nullptr)
        return Answered::fault;
    std::uint64_t& shared = vcpu.seat.exchange->value;
    shared = value;
    const Answered answered =
        settle(vcpu, call_hook(vcpu, Hook::msr_read, hook, window.id, offset, vcpu.seat.shown(&shared)));
    value = shared;
    return answered;
}

[[gnu::noinline]] Answered ask_msr_write(VcpuBinding& vcpu, const Window& window, std::uint32_t offset,
                                         std::uint64_t value)
{
    const auto hook = vcpu.binding.hooks.msr_write;
    if (hook == nullptr)
        return Answered::fault;
    return settle(vcpu, call_hook(vcpu, Hook::msr_write, hook, window.id, offset, value));
}

}  // namespace

Answered ExtensionStack::cpuid(Vcpu& vcpu, std::uint32_t leaf, std::uint32_t subleaf,
                               x86::CpuidResult& result)
{
    const std::uint32_t block =
        (leaf - std::uint32_t{abi::cpuid_first_block}) / std::uint32_t{abi::cpuid_block_stride};
    const Window* const window =
        block < WindowMap::cpuid_blocks ? implementation_->windows.cpuid[block] : nullptr;
    if (window == nullptr)
        return Answered::no;
    const std::uint32_t place = leaf - static_cast<std::uint32_t>(window->base);
    if (place >= window->length) {
        result = {};
        return Answered::done;
    }
    const DeclaredReading reading{window->binding->declare_sequence};
    const LeafAnswer* const answer = find_leaf(*window, place, subleaf);
    if (answer == nullptr || answer->field != abi::VcpuField::none)
        return answer_leaf(vcpu, *window, place, subleaf, result);
    result = {answer->values.eax, answer->values.ebx, answer->values.ecx, answer->values.edx};
    return reading.holds() ? Answered::done : answer_leaf(vcpu, *window, place, subleaf, result);
}

namespace {

/// An MSR that is not declared, or whose declaration is being changed.
[[gnu::noinline]] Answered read_undeclared(Vcpu& vcpu, const Window& window, std::uint32_t msr, std::uint64_t& value)
{
    Binding& binding = *window.binding;
    const std::uint32_t offset = msr - static_cast<std::uint32_t>(window.base);
    const DeclaredReading reading{binding.declare_sequence};
    if (window.reads.find(offset, binding.conditions, any<MsrReadAnswer>) == nullptr && reading.holds())
        return ask_msr_read(binding.of(vcpu), window, offset, value);
    return vcpu.domain.extensions->read_msr(vcpu, msr, value);
}

[[gnu::noinline]] Answered write_undeclared(Vcpu& vcpu, const Window& window, std::uint32_t msr, std::uint64_t value)
{
    Binding& binding = *window.binding;
    const std::uint32_t offset = msr - static_cast<std::uint32_t>(window.base);
    const DeclaredReading reading{binding.declare_sequence};
    if (window.writes.find(offset, binding.conditions, any<MsrWriteAnswer>) == nullptr && reading.holds())
        return ask_msr_write(binding.of(vcpu), window, offset, value);
    return vcpu.domain.extensions->write_msr(vcpu, msr, value);
}

[[gnu::noinline]] Answered answer_by_kind(Vcpu& vcpu, Binding& binding, abi::MsrReadKind kind, std::uint32_t argument,
                                          std::uint64_t& value)
{
    return answer_read(binding.of(vcpu), kind, argument, value);
}

}  // namespace

Answered ExtensionStack::read_msr(Vcpu& vcpu, std::uint32_t msr, std::uint64_t& value)
{
    const Window* const window = WindowMap::find(implementation_->windows.msrs, msr);
    if (window == nullptr)
        return Answered::no;
    const std::uint32_t offset = msr - static_cast<std::uint32_t>(window->base);
    Binding& binding = *window->binding;
    const DeclaredReading reading{binding.declare_sequence};
    const MsrReadAnswer* const found = window->reads.find(offset, binding.conditions, any<MsrReadAnswer>);
    if (found == nullptr) [[unlikely]]
        return read_undeclared(vcpu, *window, msr, value);
    const abi::MsrReadKind kind = found->kind;
    const std::uint32_t argument = found->argument;
    const std::uint64_t constant = found->value;
    const std::uint64_t addend = found->addend;
    if (!reading.holds()) [[unlikely]]
        return read_undeclared(vcpu, *window, msr, value);
    if (kind == abi::MsrReadKind::constant) {
        value = constant;
        return Answered::done;
    }
    if (kind == abi::MsrReadKind::vcpu_field) {
        value = read_field(vcpu, static_cast<abi::VcpuField>(argument));
        return Answered::done;
    }
    if (kind == abi::MsrReadKind::scaled_time) {
        value = scaled_time(vcpu, constant, argument, addend);
        return Answered::done;
    }
    return answer_by_kind(vcpu, binding, kind, argument, value);
}

Answered ExtensionStack::write_msr(Vcpu& vcpu, std::uint32_t msr, std::uint64_t value)
{
    const Window* const window = WindowMap::find(implementation_->windows.msrs, msr);
    if (window == nullptr)
        return Answered::no;
    const std::uint32_t offset = msr - static_cast<std::uint32_t>(window->base);
    Binding& binding = *window->binding;
    const DeclaredReading reading{binding.declare_sequence};
    const MsrWriteAnswer* const found = window->writes.find(offset, binding.conditions, any<MsrWriteAnswer>);
    if (found == nullptr) [[unlikely]]
        return write_undeclared(vcpu, *window, msr, value);
    const abi::MsrWriteKind kind = found->kind;
    const std::uint64_t writable = found->writable;
    if (!reading.holds()) [[unlikely]]
        return write_undeclared(vcpu, *window, msr, value);
    return (value & ~writable) != 0 ? Answered::fault : answer_write(vcpu, kind, value);
}

// ---- ports and MMIO
// ---------------------------------------------------------------------------------------------

namespace {

[[gnu::noinline]] Answered ask_port(Vcpu& vcpu, const Window* window, std::uint16_t port, unsigned size, bool in,
                                    std::uint32_t& value)
{
    if (window->length - (port - window->base) < size)
        return Answered::no;
    const auto offset = static_cast<std::uint32_t>(port - window->base);
    VcpuBinding& own = window->binding->of(vcpu);
    const abi::HookTable& hooks = own.binding.hooks;
    if (in) {
        value = ~0u >> (32 - 8 * size);
        if (hooks.port_read == nullptr)
            return Answered::done;
        auto* const shared = reinterpret_cast<std::uint32_t*>(&own.seat.exchange->value);
        *shared = value;
        const Answered answered = settle(own, call_hook(own, Hook::port_read, hooks.port_read, window->id, offset,
                                                        size, own.seat.shown(shared)));
        value = *shared;
        return answered;
    }
    if (hooks.port_write == nullptr)
        return Answered::done;
    return settle(own, call_hook(own, Hook::port_write, hooks.port_write, window->id, offset, size, value));
}

}  // namespace

Answered ExtensionStack::port(Vcpu& vcpu, std::uint16_t port, unsigned size, bool in, std::uint32_t& value)
{
    const Window* const window = WindowMap::find(implementation_->windows.ports, port);
    return window == nullptr ? Answered::no : ask_port(vcpu, window, port, size, in, value);
}

Answered ExtensionStack::mmio(Vcpu& vcpu, GuestPhysical address, unsigned size, bool write,
                              std::uint64_t& value)
{
    const Window* const window = WindowMap::find(implementation_->windows.mmio, address.raw());
    if (window == nullptr || window->length - (address.raw() - window->base) < size)
        return Answered::no;
    const std::uint64_t offset = address.raw() - window->base;
    VcpuBinding& own = window->binding->of(vcpu);
    const abi::HookTable& hooks = own.binding.hooks;
    if (!write) {
        value = ~0ull >> (64 - 8 * size);
        if (hooks.mmio_read == nullptr)
            return Answered::done;
        std::uint64_t& shared = own.seat.exchange->value;
        shared = value;
        const Answered answered = settle(own, call_hook(own, Hook::mmio_read, hooks.mmio_read, window->id, offset,
                                                        size, own.seat.shown(&shared)));
        value = shared;
        return answered;
    }
    if (hooks.mmio_write == nullptr)
        return Answered::done;
    return settle(own, call_hook(own, Hook::mmio_write, hooks.mmio_write, window->id, offset, size, value));
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

}  // namespace hv::core
