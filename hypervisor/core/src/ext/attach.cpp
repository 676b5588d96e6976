// SPDX-License-Identifier: MIT
//
// An extension for a guest that is there already.  The instance is placed and its windows are allotted in a copy of the domain's
// map while the guest runs; then the VCPUs stand still, the map is exchanged, and the first hooks are called as at a bind.
#include <utility>

#include "hook_call.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/ext/swap.hpp"
#include "hv/core/machine.hpp"
#include "standstill.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

Error say_no_memory(const Module& module, Error error, TextWriter& why)
{
    say(why, "not enough memory to attach extension '", module.name(), "'");
    return error;
}

/// The guest's time stands still: the instance hears of it as the others did.
void tell_of_freeze(Binding& binding)
{
    if (binding.hooks.freeze != nullptr)
        settle(binding, call_hook(binding, Hook::freeze, binding.hooks.freeze));
}

}  // namespace

Status ExtensionStack::attach(Domain& domain, Module& module, std::span<const ExtensionParameter> parameters,
                              BindOptions options, TextWriter& why, TextWriter& field)
{
    HV_TRY(check_running(domain, why));
    const auto stack = domain.extensions != nullptr ? Expected<ExtensionStack*>{domain.extensions} : create(domain);
    if (!stack)
        return say_no_memory(module, stack.error(), why);
    forget_replaced(domain);
    const Status attached = stack.value()->attach_instance(domain, module, parameters, options, why, field);
    if (!attached && stack.value()->count_ == 0 && stack.value()->detached_.empty())
        discard(domain, stack.value());
    return attached;
}

/// What goes wrong here has changed nothing that a guest can reach.
Status ExtensionStack::attach_instance(Domain& domain, Module& module, std::span<const ExtensionParameter> parameters,
                                       BindOptions options, TextWriter& why, TextWriter& field)
{
    HV_TRY(check_place(module, why));
    auto windows = make<WindowMap>(domain.heap);
    auto holdings = make<Holdings>(domain.heap, domain, implementation_->locks.pages,
                                    implementation_->locks.channels);
    if (!windows || !holdings)
        return say_no_memory(module, windows ? holdings.error() : windows.error(), why);
    auto made = make<Binding>(domain.heap, domain, module, *holdings.value(), options);
    if (!made)
        return say_no_memory(module, made.error(), why);
    *windows.value() = implementation_->windows;
    if (const Binding* const rest = find_detached(module.name()))
        windows.value()->remove(*rest);
    HV_TRY(made.value()->create(*windows.value(), nullptr, why));
    HV_TRY(put_under_guest(domain, *made.value(), *windows.value(), parameters, why, field));
    static_cast<void>(holdings.value().leak());
    static_cast<void>(made.value().leak());
    return Done{};
}

Status ExtensionStack::put_under_guest(Domain& domain, Binding& binding, WindowMap& windows,
                                       std::span<const ExtensionParameter> parameters, TextWriter& why, TextWriter& field)
{
    const Standstill standstill{domain};
    ExtensionStack* const before = std::exchange(domain.extensions, this);
    std::swap(implementation_->windows, windows);
    if (const Status started = put_on_top(binding, parameters, why, field); !started) {
        binding.pages.clear();  // while no VCPU has a translation of them
        std::swap(implementation_->windows, windows);
        domain.extensions = before;
        return started;
    }
    if (Binding* const rest = find_detached(binding.name())) {
        binding.pages.take_hypercall_places(rest->pages);  // a guest that calls all the time never sees its own page
        forget_detached(*rest);
    }
    if (implementation_->frozen)
        tell_of_freeze(binding);
    log_info("domain ", domain.id, ": extension ", binding.name(), " is attached");
    return Done{};
}

Binding* ExtensionStack::find_detached(std::string_view name) const
{
    for (Binding* const rest : detached_)
        if (rest->name() == name)
            return rest;
    return nullptr;
}

void ExtensionStack::forget_detached(Binding& rest)
{
    Domain& domain = rest.domain;
    Holdings* const holdings = &rest.holdings;
    take_out(*implementation_, rest);
    for (std::size_t index = detached_.size(); index-- > 0;)
        if (detached_[index] == &rest)
            detached_.erase(&detached_[index]);
    destroy(domain.heap, &rest);
    destroy(domain.heap, holdings);
}

}  // namespace hv::core
