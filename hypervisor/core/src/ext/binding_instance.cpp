// SPDX-License-Identifier: MIT
//
// What hooks run on and with: the image, state blocks, contexts, event logs and a place for arguments
// (Seat) for the domain and for each VCPU, of an isolated instance in its own memory; and how all of it is
// given back.
#include <algorithm>
#include <cstddef>

#include "binding.hpp"
#include "hv/core/machine.hpp"

namespace hv::core {

/// What of an isolated instance's memory only the core writes, from its beginning.
struct Binding::Constants {
    abi::DomainContext domain;
    abi::VcpuContext vcpus[maximum_vcpus];
    abi::WindowGrant grants[maximum_windows];
};

Status Binding::create_isolated()
{
    const abi::Manifest& manifest = module.manifest();
    const std::uint64_t states =
        manifest.domain_state.size + std::uint64_t{manifest.vcpu_state.size} * domain.vcpu_count();
    auto made = HV_TRY(make<IsolatedMemory>(heap, machine().frames, ledger));
    isolated = made.leak();
    route.store(Route::gate);
    HV_TRY(isolated->create(sizeof(Constants), IsolatedMemory::buffer_bytes + states, domain.vcpu_count() + 1));
    buffer = isolated->writable();
    return Done{};
}

loader::ModuleMemory& Binding::image_memory()
{
    if (isolated != nullptr)
        return *isolated;
    return memory;
}

Status Binding::place_image(TextWriter& why)
{
    abi::HostTable stubs;
    const abi::HostTable& services = isolated != nullptr ? stubs_of(stubs) : host_services();
    const auto placed = module.verified().instantiate(image_memory(), services);
    if (!placed)
        return say_memory(why, placed.error());
    image = placed.value();
    hooks = image.hooks;
    return Done{};
}

Status Binding::create_contexts()
{
    const abi::Manifest& manifest = module.manifest();
    std::byte* shared = isolated != nullptr ? buffer + IsolatedMemory::buffer_bytes : nullptr;
    HV_TRY(state.create(heap, manifest.domain_state.size, shared));
    HV_TRY(create_seat(seat, 0));
    HV_TRY(subscriptions.create(heap, module));
    HV_TRY(create_events(events));
    grants =
        static_cast<abi::WindowGrant*>(heap.allocate((manifest.window_count + 1) * sizeof(abi::WindowGrant)));
    if (grants == nullptr)
        return Error::no_memory;
    context = {.domain = Handle{HandleKind::domain, number, 1, 0}.raw(),
               .domain_state = state.working,
               .grants = grants,
               .grant_count = manifest.window_count,
               .vcpu_count = domain.vcpu_count(),
               .start_reason = abi::start_create,
               .reserved = 0};
    for (unsigned index = 0; index < domain.vcpu_count(); ++index) {
        auto made = HV_TRY(make<VcpuBinding>(heap, *this, domain.vcpu(index)));
        vcpus[vcpu_count++] = made.leak();
        VcpuBinding& vcpu = *vcpus[index];
        std::byte* const own_state =
            shared != nullptr ? shared + manifest.domain_state.size + index * manifest.vcpu_state.size : nullptr;
        HV_TRY(vcpu.state.create(heap, manifest.vcpu_state.size, own_state));
        HV_TRY(create_seat(vcpu.seat, index + 1));
        HV_TRY(create_events(vcpu.events));
        vcpu.context = {.domain = context.domain,
                        .vcpu = Handle{HandleKind::vcpu, number, 1, index}.raw(),
                        .domain_state = state.working,
                        .vcpu_state = vcpu.state.working,
                        .index = index,
                        .initial_apic_id = index,  // as Domain numbers them
                        .reserved = 0};
    }
    return Done{};
}

Status Binding::create_seat(Seat& of, unsigned index)
{
    if (isolated != nullptr) {
        isolated->fill_seat(index, of);
        return Done{};
    }
    of.exchange = static_cast<Exchange*>(heap.allocate(sizeof(Exchange)));
    if (of.exchange == nullptr)
        return Error::no_memory;
    return Done{};
}

Status Binding::create_events(EventLog& of)
{
    of.use(heap.allocate(EventLog::bytes, alignof(std::max_align_t)));
    return of.room() != nullptr ? Status{Done{}} : Status{Error::no_memory};
}

/// Copies of the contexts and grants where the module can read them, with addresses as it sees them.  What it does to its own
/// memory changes nothing that the core goes by.
void Binding::show_contexts()
{
    auto& shown = *reinterpret_cast<Constants*>(isolated->constants());
    const auto address = [&](const std::uint64_t* block) {
        return reinterpret_cast<void*>(block != nullptr ? isolated->address_of(block) : 0);  // NOLINT: the module's pointer
    };
    shown.domain = context;
    shown.domain.domain_state = address(state.working);
    shown.domain.grants = reinterpret_cast<const abi::WindowGrant*>(isolated->address_of(shown.grants));
    seat.context = isolated->address_of(&shown.domain);
    std::copy_n(grants, context.grant_count, shown.grants);
    for (unsigned index = 0; index < vcpu_count; ++index) {
        shown.vcpus[index] = vcpus[index]->context;
        shown.vcpus[index].domain_state = shown.domain.domain_state;
        shown.vcpus[index].vcpu_state = address(vcpus[index]->state.working);
        vcpus[index]->seat.context = isolated->address_of(&shown.vcpus[index]);
    }
}

void Binding::set_start_reason(std::uint32_t reason)
{
    context.start_reason = reason;
    if (isolated != nullptr)
        show_contexts();
}

/// All that hooks run on and with.
void Binding::release_instance()
{
    for (unsigned index = 0; index < vcpu_count; ++index)
        release(*vcpus[index]);
    release(state);
    if (isolated == nullptr)
        heap.release(seat.exchange);
    heap.release(events.room());
    heap.release(grants);
    subscriptions.destroy(heap);
    release_allocations(*this);
    if (image.placement.address != 0)
        image_memory().release(image.placement, image.layout);
    if (isolated != nullptr)
        destroy(heap, isolated);
    isolated = nullptr;
    image = {};
    seat = {};
    grants = nullptr;
    events.use(nullptr);
}

void Binding::release(VcpuBinding& vcpu)
{
    release(vcpu.state);
    if (isolated == nullptr)
        heap.release(vcpu.seat.exchange);
    heap.release(vcpu.events.room());
    vcpu.seat = {};
    vcpu.events.use(nullptr);
}

void Binding::release(StateCopies& copies)
{
    if (isolated == nullptr)
        heap.release(copies.working);
    heap.release(copies.kept);
    copies = {};
}

}  // namespace hv::core
