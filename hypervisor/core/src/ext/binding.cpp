// SPDX-License-Identifier: MIT
//
// How a binding comes to be and goes: create() and start() do one thing after the other and stop at the first
// that fails; the destructor gives back whatever there is, so that a failure anywhere leaves nothing.
#include "binding.hpp"

#include <algorithm>
#include <cstring>

#include "failure.hpp"
#include "hook_call.hpp"
#include "hv/core/domain/virtual_pc.hpp"
#include "hv/core/machine.hpp"
#include "offer.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

void copy_words(std::uint64_t* to, const std::uint64_t* from, std::uint32_t words)
{
    for (std::uint32_t at = 0; at < words; ++at)  // a word at a time: a declared MSR may read it meanwhile
        __atomic_store_n(to + at, from[at], __ATOMIC_RELAXED);
}

/// The same by one string instruction, while nobody else looks.
void copy_words_at_once(void* to, const void* from, std::uint64_t words)
{
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

bool was_granted(const Binding& binding, std::uint32_t window)
{
    for (const abi::WindowGrant& grant : std::span{binding.grants, binding.context.grant_count})
        if (grant.id == window)
            return grant.granted != 0;
    return false;
}

/// True where the domain has something that an MMIO window must not hide, or that would hide it.
bool touches_memory(const Domain& domain, std::uint64_t base, std::uint64_t length)
{
    constexpr std::uint64_t local_apic_page{0xfee0'0000};
    for (std::uint64_t offset = 0; offset < length; offset += page_size) {
        const GuestPhysical page{base + offset};
        if (domain.memory.is_ram(page) || domain.pc->owns(page) || page.raw() == local_apic_page)
            return true;
    }
    return false;
}

Error say_memory(TextWriter& why, std::string_view name, Error error)
{
    if (error == Error::limit_reached)
        say(why, "extension '", name, "' would hold more than ", Binding::frame_limit * page_size >> 20,
            " MiB");
    else
        say(why, "not enough memory for an instance of extension '", name, "'");
    return error;
}

}  // namespace

// ---- state blocks
// -----------------------------------------------------------------------------------------------

Status StateCopies::create(Heap& heap, std::uint32_t bytes, std::byte* shared)
{
    if (bytes == 0)
        return Done{};
    working = static_cast<std::uint64_t*>(shared != nullptr ? shared : heap.allocate(bytes));
    kept = static_cast<std::uint64_t*>(heap.allocate(bytes));
    if (working == nullptr || kept == nullptr)
        return Error::no_memory;
    words = bytes / static_cast<std::uint32_t>(sizeof *working);
    return Done{};
}

void StateCopies::keep()
{
    copy_words_at_once(kept, working, words);
}

void StateCopies::keep_word_by_word()
{
    copy_words(kept, working, words);
}

void StateCopies::take_back()
{
    copy_words(working, kept, words);
}

void StateCopies::fill(std::span<const std::byte> bytes)
{
    constexpr std::size_t word{sizeof *kept};
    const std::size_t whole = bytes.size() / word;
    HV_ASSERT(bytes.size() <= words * word);
    if (words == 0)
        return;
    if (whole != words)
        clear();
    copy_words_at_once(kept, bytes.data(), whole);
    std::memcpy(kept + whole, bytes.data() + whole * word, bytes.size() % word);
    copy_words_at_once(working, kept, words);
}

void StateCopies::clear()
{
    for (std::uint32_t at = 0; at < words; ++at) {
        __atomic_store_n(working + at, 0, __ATOMIC_RELAXED);
        __atomic_store_n(kept + at, 0, __ATOMIC_RELAXED);
    }
}

// ---- VCPUs
// ------------------------------------------------------------------------------------------------------

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

// ---- making
// -----------------------------------------------------------------------------------------------------

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

void Binding::release(StateCopies& copies)
{
    if (isolated == nullptr)
        heap.release(copies.working);
    heap.release(copies.kept);
    copies = {};
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
        return say_memory(why, name(), made.error());
    HV_TRY(place_image(why));
    if (const auto made = create_contexts(); !made)
        return say_memory(why, name(), made.error());
    if (const auto made = create_holdings(); !made)
        return say_memory(why, name(), made.error());
    HV_TRY(open_windows(map, planned, why));
    if (isolated != nullptr)
        show_contexts();
    return declare_constants(why);
}

Status Binding::create_beside(const Binding& old, TextWriter& why)
{
    rehearsing = true;
    if (const auto made = options.placement == Placement::isolated ? create_isolated() : Status{Done{}}; !made)
        return say_memory(why, name(), made.error());
    HV_TRY(place_image(why));
    if (const auto made = create_contexts(); !made)
        return say_memory(why, name(), made.error());
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
        return say_memory(why, name(), placed.error());
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

Status Binding::open_windows(WindowMap& map, const PlannedWindows* planned, TextWriter& why)
{
    for (std::uint32_t index = 0; index < module.manifest().window_count; ++index) {
        const abi::WindowRequest request = module.verified().window(index);
        const PlannedWindows::Place place =
            planned != nullptr ? planned->places[index] : HV_TRY(PlannedWindows::choose(map, request, name(), why));
        grants[index] = {request.id, request.kind, 0, 0, 0, 0};
        if (place.granted)
            HV_TRY(grant_window(map, request, place.base, grants[index], why));
    }
    return Done{};
}

Status Binding::grant_window(WindowMap& map, const abi::WindowRequest& request, std::uint64_t base,
                             abi::WindowGrant& grant, TextWriter& why)
{
    if (request.kind == abi::WindowKind::mmio && touches_memory(domain, base, request.length)) {
        say(why, "extension '", name(), "' wants guest-physical addresses from ", Hex{base},
            ", where the domain has RAM or a device");
        return Error::conflict;
    }
    Window* const opened = HV_TRY(open_window(request, base, why));
    HV_TRY(map.enter(*opened, why));
    grant = {request.id, request.kind, 1, 0, opened->base, opened->length};
    return Done{};
}

Expected<Window*> Binding::open_window(const abi::WindowRequest& request, std::uint64_t base, TextWriter& why)
{
    auto made = make<Window>(heap);
    if (!made)
        return say_memory(why, name(), made.error());
    Window* const opened = made.value().leak();
    opened->binding = this;
    opened->owner = name();
    opened->id = request.id;
    opened->kind = request.kind;
    opened->base = base;
    opened->length = request.length;
    opened->match = request.hypercall;
    HV_ASSERT(windows.push_back(opened));  // the loader takes no more
    auto tables =
        request.kind == abi::WindowKind::cpuid ? opened->leaves.create(heap, request.length) : Status{Done{}};
    if (request.kind == abi::WindowKind::msr) {
        tables = opened->reads.create(heap, request.length);
        tables = tables ? opened->writes.create(heap, request.length) : tables;
    }
    if (!tables)
        return say_memory(why, name(), tables.error());
    return opened;
}

/// The const tables that the hook table names.
Status Binding::declare_constants(TextWriter& why)
{
    const loader::Module& file = module.verified();
    const auto each = [&](std::uint32_t count, auto element) -> Status {
        for (std::uint32_t index = 0; index < count; ++index) {
            const auto answer = element(index);
            if (!was_granted(*this, answer.window))
                continue;  // an optional window that could not be had
            if (const auto declared_one = declare(*this, std::span{&answer, 1}); !declared_one) {
                say(why, "extension '", name(),
                    "': a declared answer of its tables is refused: ", error_name(declared_one.error()));
                return declared_one.error();
            }
        }
        return Done{};
    };
    HV_TRY(each(file.leaf_count(), [&](std::uint32_t index) { return file.leaf(index); }));
    HV_TRY(each(file.msr_read_count(), [&](std::uint32_t index) { return file.msr_read(index); }));
    return each(file.msr_write_count(), [&](std::uint32_t index) { return file.msr_write(index); });
}

// ---- the first hooks
// --------------------------------------------------------------------------------------------

/// What an operator reads when a hook of the bind did not answer done.
Status Binding::refused(abi::Verdict verdict, std::string_view hook, TextWriter& why) const
{
    if (verdict.kind == abi::VerdictKind::done)
        return Done{};
    if (!failure.view().empty()) {
        say(why, failure.view());
        return Error::malformed;
    }
    const bool known = verdict.detail >= 1 && verdict.detail <= static_cast<std::uint32_t>(Error::gone);
    const Error error = known ? static_cast<Error>(verdict.detail) : Error::malformed;
    say(why, "extension '", name(), "' refuses: ");
    if (const std::string_view words = explained(); !words.empty())
        say(why, words);
    else
        say(why, error_name(error), " (hook ", hook, ")");
    return error;
}

Status Binding::start(std::span<const ExtensionParameter> parameters, TextWriter& why, TextWriter& field)
{
    HV_TRY(set_parameters(parameters, why, field));
    HV_TRY(create_domain(why));
    HV_TRY(fill_hypercall_pages(why));
    return initialise_vcpus(why);
}

namespace {

struct ListPlace {
    std::uint32_t index;
    std::uint32_t count;
};

/// Where parameter `at` stands among those of its key.
ListPlace place_in_list(std::span<const ExtensionParameter> parameters, std::size_t at)
{
    ListPlace place{};
    if (parameters[at].kind == ExtensionParameter::Kind::empty_list)
        return place;
    for (std::size_t other = 0; other < parameters.size(); ++other)
        if (parameters[other].key == parameters[at].key) {
            ++place.count;
            place.index += other < at ? 1 : 0;
        }
    return place;
}

}  // namespace

Status Binding::set_parameters(std::span<const ExtensionParameter> parameters, TextWriter& why,
                               TextWriter& field)
{
    for (std::size_t at = 0; at < parameters.size(); ++at) {
        const ExtensionParameter& one = parameters[at];
        const ListPlace place = place_in_list(parameters, at);
        const auto kind = check_parameter(module, one, place.count, why);
        if (!kind) {
            say(field, at);
            return kind.error();
        }
        const ShownText shown = HV_TRY(show(one));
        abi::Parameter& parameter = seat.exchange->parameter;
        parameter = {
            .key = shown.key,
            .text = shown.text,
            .number = one.number,
            .key_length = static_cast<std::uint32_t>(one.key.size()),
            .text_length = static_cast<std::uint32_t>(one.text.size()),
            .kind = kind.value(),
            .index = place.index,
            .count = place.count,
            .reserved = 0};
        const abi::Verdict verdict = call_hook(*this, Hook::parameter_set, hooks.parameter_set,
                                               seat.shown(&parameter));
        if (const auto taken = refused(verdict, "parameter_set", why); !taken) {
            say(field, at);
            return taken;
        }
    }
    return Done{};
}

/// Where the module reads a parameter's text: an isolated one in its buffer.
Expected<Binding::ShownText> Binding::show(const ExtensionParameter& parameter)
{
    if (isolated == nullptr)
        return ShownText{parameter.key.data(), parameter.text.data()};
    if (parameter.key.size() + parameter.text.size() > IsolatedMemory::buffer_bytes)
        return Error::limit_reached;
    std::ranges::copy(std::as_bytes(std::span{parameter.key}), buffer);
    std::ranges::copy(std::as_bytes(std::span{parameter.text}), buffer + parameter.key.size());
    const auto* const key = reinterpret_cast<const char*>(isolated->address_of(buffer));
    return ShownText{key, key + parameter.key.size()};
}

Status Binding::create_domain(TextWriter& why)
{
    if (hooks.domain_create != nullptr)
        HV_TRY(refused(call_hook(*this, Hook::domain_create, hooks.domain_create), "domain_create", why));
    created_ = true;
    return Done{};
}

Status Binding::fill_hypercall_pages(TextWriter& why)
{
    if (hooks.hypercall_page == nullptr)
        return Done{};
    for (std::uint32_t page = 0; page < module.manifest().hypercall_pages; ++page)
        HV_TRY(fill_hypercall_page(page, pages.hypercall_page(page), why));
    return Done{};
}

Status Binding::fill_hypercall_page(std::uint32_t index, std::byte* page, TextWriter& why)
{
    abi::HypercallPageRequest request{
        .page = index, .instruction_length = 0, .instruction = {}, .bytes = nullptr};
    for (const std::uint8_t byte : machine().hvm.hypercall_instruction)
        request.instruction[request.instruction_length++] = byte;
    request.bytes = reinterpret_cast<std::uint8_t*>(page);
    if (isolated != nullptr) {
        std::memcpy(buffer, page, page_size);
        request.bytes = reinterpret_cast<std::uint8_t*>(isolated->address_of(buffer));
    }
    seat.exchange->page_request = request;
    HV_TRY(refused(call_hook(*this, Hook::hypercall_page, hooks.hypercall_page,
                             seat.shown(&seat.exchange->page_request)),
                   "hypercall_page", why));
    if (isolated != nullptr)
        std::memcpy(page, buffer, page_size);
    return Done{};
}

Status Binding::initialise_vcpus(TextWriter& why)
{
    for (unsigned index = 0; index < vcpu_count; ++index) {
        if (hooks.vcpu_initialise != nullptr)
            HV_TRY(refused(call_hook(*vcpus[index], Hook::vcpu_initialise, hooks.vcpu_initialise),
                           "vcpu_initialise", why));
        ++initialised_vcpus_;
    }
    return Done{};
}

void Binding::stop_hooks()
{
    while (initialised_vcpus_ > 0) {
        VcpuBinding& vcpu = *vcpus[--initialised_vcpus_];
        if (hooks.vcpu_destroy != nullptr)
            static_cast<void>(call_hook(vcpu, Hook::vcpu_destroy, hooks.vcpu_destroy));
    }
    if (std::exchange(created_, false) && hooks.domain_destroy != nullptr)
        static_cast<void>(call_hook(*this, Hook::domain_destroy, hooks.domain_destroy));
}

}  // namespace hv::core
