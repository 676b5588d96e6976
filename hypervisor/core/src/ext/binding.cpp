// SPDX-License-Identifier: MIT
//
// How a binding comes to be and goes: create() does one thing after the other and stops at the first that
// fails; the destructor gives back whatever there is, so that a failure anywhere leaves nothing.  The
// parts: what hooks run on (binding_instance.cpp), windows (binding_windows.cpp), the hooks of the bind and
// the end (binding_hooks.cpp), state blocks (state_copies.cpp).
#include "binding.hpp"

#include "failure.hpp"
#include "hook_call.hpp"
#include "hv/core/machine.hpp"
#include "offer.hpp"
#include "stack.hpp"

namespace hv::core {

VcpuBinding::VcpuBinding(Binding& owner, Vcpu& of)
    : binding{owner}, vcpu{of}, block_timer{*this}, run_changes_told{of.run_changes.count()}
{
}

void VcpuBinding::ask(Pending what)
{
    pending.fetch_or(static_cast<std::uint32_t>(what), std::memory_order_acq_rel);
    vcpu.request(VcpuRequest::extension);
}

void VcpuBinding::take_over(VcpuBinding& before)
{
    abi::HypercallFrame& frame = seat.exchange->frame;
    open_call = before.open_call;
    open_call.window = same_window(binding, before.binding, open_call.window);
    frame = open_call;
    hypercall_length = before.hypercall_length;
    continuing = std::exchange(before.continuing, false);
    pending.fetch_or(before.pending.exchange(0));
    pauses.store(before.pauses.exchange(0));
    held.store(before.held.exchange(false));
    wake = before.wake;
    wake_deadline_ns = before.wake_deadline_ns;
    block_timer.deadline_ns = before.block_timer.deadline_ns;
    block_timer.armed.store(before.block_timer.armed.exchange(false));
    eoi_assist_page = std::exchange(before.eoi_assist_page, 0);
    wants_window = std::exchange(before.wants_window, false);
    watch = std::exchange(before.watch, {});
    run_changes_told = hears_run_states(before.binding) ? before.run_changes_told : vcpu.run_changes.count();
    take_over_poll(*this, before);
}

VcpuBinding* Binding::vcpu_of(std::uint64_t handle)
{
    const Handle parts{handle};
    if (!parts.is_of(HandleKind::vcpu, number) || parts.generation() != 1 || parts.index() >= vcpu_count)
        return nullptr;
    return vcpus[parts.index()];
}

Window* Binding::window(std::uint32_t id, abi::WindowKind kind)
{
    for (Window* const one : windows)
        if (one->id == id && one->kind == kind)
            return one;
    return nullptr;
}

Binding::Binding(Domain& owner, Module& of, Holdings& holds, BindOptions how)
    : domain{owner},
      module{of},
      holdings{holds},
      number{holds.number},
      ledger{frame_limit, &owner.ledger},
      heap{machine().frames, ledger},
      memory{machine().frames, ledger},
      options{how},
      needs{of.manifest().needs},
      serial{(of.manifest().flags & abi::manifest_serial) != 0},
      pages{holds.pages},
      timers{holds.timers}
{
    if (options.placement == Placement::trusted)
        trusted_instances.fetch_add(1);
}

Binding::~Binding()
{
    if (options.placement == Placement::trusted)
        trusted_instances.fetch_sub(1);
    cancel_block_timers();
    for (Window* const one : windows)
        destroy_window(one);
    release_instance();
    settled.clear();
    for (unsigned index = 0; index < vcpu_count; ++index)
        destroy(heap, vcpus[index]);
    HV_ASSERT(heap.allocations() == 0 && ledger.frames() == 0);
}

void Binding::destroy_window(Window* window)
{
    window->leaves.destroy(heap);
    window->reads.destroy(heap);
    window->writes.destroy(heap);
    destroy(heap, window);
}

void Binding::hollow_out()
{
    if (hollow())
        return;  // since it failed
    kept_name_.append(module.name());
    cancel_block_timers();
    detach(*this);
    hooks = {};
    release_instance();
    for (std::size_t index = windows.size(); index-- > 0;) {
        Window* const one = windows[index];
        if (one->kind == abi::WindowKind::cpuid || one->kind == abi::WindowKind::msr)
            continue;
        destroy_window(one);
        windows.erase(&windows[index]);
    }
    for (Window* const window : windows)
        window->owner = name();
}

void Binding::cancel_block_timers()
{
    bool any{};
    for (unsigned index = 0; index < vcpu_count; ++index) {
        any = any || vcpus[index]->block_timer.armed.load() || vcpus[index]->block_timer.firing.load() != 0;
        TimerQueue::cancel(vcpus[index]->block_timer);
    }
    if (any)
        machine().wait_for_turn();  // a callback may be under way
}

void Binding::take_residence(const Binding& before)
{
    if (before.isolated != nullptr && domain.resident_space == &before.isolated->space)
        domain.resident_space = isolated != nullptr ? &isolated->space : nullptr;
}

void Binding::arm_block_timers()
{
    for (unsigned index = 0; index < vcpu_count; ++index)
        if (BlockTimer& timer = vcpus[index]->block_timer; timer.armed.load() && domain.time.running())
            machine().arm_here(timer, domain.time.host_tick_of(timer.deadline_ns));
}

Status Binding::create(WindowMap& map, const PlannedWindows* planned, TextWriter& why)
{
    if (const auto made = options.placement == Placement::isolated ? create_isolated() : Status{Done{}}; !made)
        return say_memory(why, made.error());
    HV_TRY(place_image(why));
    if (const auto made = create_contexts(); !made)
        return say_memory(why, made.error());
    if (const auto made = create_holdings(); !made)
        return say_memory(why, made.error());
    HV_TRY(open_windows(map, planned, why));
    if (isolated != nullptr)
        show_contexts();
    return declare_constants(why);
}

Status Binding::create_beside(const Binding& old, TextWriter& why)
{
    rehearsing = true;
    if (const auto made = options.placement == Placement::isolated ? create_isolated() : Status{Done{}}; !made)
        return say_memory(why, made.error());
    HV_TRY(place_image(why));
    if (const auto made = create_contexts(); !made)
        return say_memory(why, made.error());
    HV_TRY(open_same_windows(*this, old, why));
    HV_TRY(reserve_subscriptions(*this, why));
    if (isolated != nullptr)
        show_contexts();
    return declare_constants(why);
}

Status Binding::create_holdings()
{
    HV_TRY(timers.create(vcpu_count));
    return pages.create_hypercall_pages(module.manifest().hypercall_pages);
}

/// What an operator reads where memory for an instance is short.
Error Binding::say_memory(TextWriter& why, Error error) const
{
    if (error == Error::limit_reached)
        say(why, "extension '", name(), "' would hold more than ", frame_limit * page_size >> 20, " MiB");
    else
        say(why, "not enough memory for an instance of extension '", name(), "'");
    return error;
}

}  // namespace hv::core
