// SPDX-License-Identifier: MIT
//
// An extension that a running guest goes on without, because the operator took it away or because it has failed.  What the
// instance holds goes back while the VCPUs stand still; what the guest was told of CPUID leaves and hypercall pages stays, in the
// hollow binding that is left: of one that failed in its place in the stack, where the operator sees what became of it.
#include <algorithm>
#include <utility>

#include "hook_call.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/ext/swap.hpp"
#include "hv/core/machine.hpp"
#include "standstill.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

/// What a leaf that nobody declared answers now, to VCPU 0.
LeafAnswer computed_leaf(Binding& binding, const Window& window, std::uint32_t place, std::uint32_t subleaf)
{
    VcpuBinding& own = *binding.vcpus[0];
    abi::CpuidResult& shared = own.seat.exchange->leaf;
    shared = {};
    const abi::Verdict verdict =
        call_hook(own, Hook::cpuid, binding.hooks.cpuid, window.id, place, subleaf, own.seat.shown(&shared));
    const bool answered = verdict.kind == abi::VerdictKind::done;
    return {.values = answered ? shared : abi::CpuidResult{}, .subleaf = subleaf, .declared = true};
}

bool is_nothing(const abi::CpuidResult& leaf)
{
    return (leaf.eax | leaf.ebx | leaf.ecx | leaf.edx) == 0;
}

/// Calls `visit(place, answer)` for each computed leaf that has something to say.
template <typename Visit>
Status each_computed_leaf(Binding& binding, const Window& window, Visit visit)
{
    for (std::uint32_t place = 0; place < window.length; ++place)
        for (std::uint32_t subleaf = 0; subleaf < ExtensionStack::computed_subleaves; ++subleaf) {
            if (window.leaves.find(place, binding.conditions, OfSubleaf{subleaf}) != nullptr)
                continue;
            const LeafAnswer answer = computed_leaf(binding, window, place, subleaf);
            if (!is_nothing(answer.values))
                HV_TRY(visit(place, answer));
        }
    return Done{};
}

/// Computed leaves become declared ones: first room for all of them, which may fail, then they themselves.
Status keep_computed_leaves(Binding& binding)
{
    if (binding.hooks.cpuid == nullptr)
        return Done{};
    for (Window* const window : binding.windows)
        if (window->kind == abi::WindowKind::cpuid)
            HV_TRY(each_computed_leaf(binding, *window, [&](std::uint32_t place, LeafAnswer answer) -> Status {
                answer.declared = false;
                return window->leaves.prepare(binding.heap, place, 0, answer, binding.declared);
            }));
    for (Window* const window : binding.windows)
        if (window->kind == abi::WindowKind::cpuid)
            HV_TRY(each_computed_leaf(binding, *window, [&](std::uint32_t place, const LeafAnswer& answer) -> Status {
                if (window->leaves.has(place, 0, answer))
                    window->leaves.set(place, 0, answer);
                return Done{};
            }));
    return Done{};
}

/// The tables of the next isolated instance stay loaded from now on, now that `gone` is none.
void choose_resident(Domain& domain, const ExtensionStack::Implementation& own, const Binding& gone)
{
    domain.resident_space = nullptr;
    for (const Binding* const binding : own.bindings)
        if (domain.resident_space == nullptr && binding != &gone && binding->isolated != nullptr)
            domain.resident_space = &binding->isolated->space;
}

}  // namespace

Status ExtensionStack::detach(Domain& domain, std::string_view name, TextWriter& why)
{
    HV_TRY(check_running(domain, why));
    if (find_binding(domain, name, why) == nullptr)
        return Error::not_found;
    forget_replaced(domain);  // it has a part in what the binding holds
    ExtensionStack& stack = *domain.extensions;
    if (stack.detached_.full()) {
        say(why, "as many extensions were detached from domain '", domain.name(), "' as can be: ", maximum_detached);
        return Error::limit_reached;
    }
    const Standstill standstill{domain};
    carry_out_failures(domain);
    Binding* const binding = find_binding(domain, name, why);
    if (const Status kept = keep_computed_leaves(*binding); !kept) {
        say(why, "not enough memory to keep what extension '", name, "' has told the guest");
        return kept;
    }
    log_info("domain ", domain.id, ": extension ", binding->name(), " is detached");
    const bool failed = binding->route.load() == Route::restarting;  // in the last hook
    stack.take_away(*binding);
    for (unsigned index = 0; failed && index < domain.vcpu_count(); ++index)
        machine().scheduler.unblock(domain.vcpu(index), Blocker::restarting);
    return Done{};
}

/// Cannot fail.  The VCPUs stand still.
void ExtensionStack::take_away(Binding& binding)
{
    binding.stop_hooks();
    take_off(binding);
    --count_;
    --binding.module.bindings_;
    if (Module* const before = std::exchange(binding.holdings.module_before, nullptr))
        --before->kept_;
    empty(binding);
    HV_ASSERT(detached_.push_back(&binding));   // there is room
}

/// Gives back all that the instance holds but what the guest was told.  No hook of it is called any more, and the VCPUs stand still.
void ExtensionStack::empty(Binding& binding)
{
    Implementation& own = *implementation_;
    Holdings& holdings = binding.holdings;
    own.windows.remove(binding);
    holdings.release_callbacks();
    holdings.timers.clear();
    holdings.pages.clear_handles();
    choose_resident(binding.domain, own, binding);
    machine().wait_for_turn();  // nobody has the instance's tables loaded, and no callback is under way
    binding.hollow_out();
    trim_subscriptions(binding.domain);
    BoundedText<128> ignored;
    for (Window* const window : binding.windows)
        HV_ASSERT(own.windows.enter(*window, ignored));  // it was there
}

/// An end of the domain is the end of what they hold, too.
void ExtensionStack::release_failed(Domain& domain)
{
    const auto waits = [](const Binding* binding) { return binding->route.load() == Route::ended && !binding->hollow(); };
    const auto& bindings = implementation_->bindings;
    if (std::none_of(bindings.begin(), bindings.end(), waits) ||
        (domain.state() != DomainState::running && domain.state() != DomainState::paused))
        return;
    forget_replaced(domain);  // it has a part in what the bindings hold
    const Standstill standstill{domain, Blocker::restarting};
    for (Binding* const binding : bindings)
        if (waits(binding)) {
            release_vcpus(*binding);
            binding->forget_hooks();
            empty(*binding);
        }
}

}  // namespace hv::core
