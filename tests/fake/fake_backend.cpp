// SPDX-License-Identifier: MIT
//
// Virtualization as host tests have it: see fake_backend.hpp.
#include "fake_backend.hpp"

#include <algorithm>
#include <cstring>
#include <memory>

#include "hv/base/assert.hpp"
#include "hv/core/platform/platform.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/exceptions.hpp"
#include "hv/x86/msr.hpp"

namespace hv::fake {

namespace {

using core::Event;
using core::Exit;
using core::ExitKind;
using core::VcpuContext;

struct State {
    core::HvmTable table{};
    std::map<const void*, std::unique_ptr<FakeVcpu>> vcpus;
    std::map<void*, std::unique_ptr<std::vector<core::MsrIntercept>>> msr_maps;
    bool msr_map_fails{};
    unsigned creations_to_fail{};
    std::vector<unsigned> enabled;
};

State& state()
{
    static State it;
    return it;
}

Status enable_processor()
{
    state().enabled.push_back(core::platform::current_processor());
    return Done{};
}

Status vcpu_create(VcpuContext& context)
{
    HV_ASSERT(context.ledger != nullptr && context.nested_generation != nullptr);
    if (state().creations_to_fail != 0) {
        --state().creations_to_fail;
        return Error::no_memory;
    }
    auto vcpu = std::make_unique<FakeVcpu>();
    vcpu->nested_root = context.nested_root;
    vcpu->system.cr0 = x86::Cr0::CD::mask | x86::Cr0::NW::mask | x86::Cr0::ET::mask;
    context.registers = {};
    context.registers.rip = 0xfff0;
    context.registers.rflags = x86::Rflags::always_one;
    context.backend = vcpu.get();
    context.live = {.cr3 = &vcpu->system.cr3,
                    .efer = &vcpu->system.efer,
                    .code_segment = reinterpret_cast<const std::byte*>(&vcpu->system.segments[core::segment_cs]),
                    .code_attributes = &vcpu->system.segments[core::segment_cs].attributes,
                    .privilege_level = &vcpu->privilege_level,
                    .task_priority = &vcpu->task_priority,
                    .interrupt_shadow = &vcpu->interrupt_shadow};
    state().vcpus.emplace(vcpu.get(), std::move(vcpu));
    return Done{};
}

void vcpu_destroy(VcpuContext& context)
{
    HV_ASSERT(!fake_vcpu(context).loaded_on);
    state().vcpus.erase(context.backend);
    context.backend = nullptr;
}

void load(VcpuContext& context)
{
    FakeVcpu& vcpu = fake_vcpu(context);
    HV_ASSERT(!vcpu.loaded_on);
    vcpu.loaded_on = core::platform::current_processor();
}

void unload(VcpuContext& context)
{
    FakeVcpu& vcpu = fake_vcpu(context);
    HV_ASSERT(vcpu.loaded_on == core::platform::current_processor());
    vcpu.loaded_on.reset();
}

bool interrupt_possible(const VcpuContext& context)
{
    const FakeVcpu& vcpu = fake_vcpu(context);
    return x86::Rflags::IF::get(context.registers.rflags) && !vcpu.interrupt_shadow && !vcpu.queued;
}

void honour_flushes(VcpuContext& context, FakeVcpu& vcpu)
{
    const std::uint64_t generation = context.nested_generation->load();
    if (!vcpu.flush_wanted && generation == vcpu.generation_seen)
        return;
    vcpu.translations.clear();
    vcpu.flush_wanted = false;
    vcpu.nested_root = context.nested_root;
    vcpu.generation_seen = generation;
    context.entered_generation.store(generation);
    ++vcpu.flushes;
}

void deliver(VcpuContext& context, FakeVcpu& vcpu)
{
    if (!vcpu.queued)
        return;
    vcpu.delivered.push_back(*vcpu.queued);
    if (vcpu.queued->kind == core::EventKind::nmi)
        vcpu.nmi_in_service = true;
    if (vcpu.queued->kind == core::EventKind::interrupt)
        context.registers.rflags &= ~x86::Rflags::IF::mask;  // an interrupt gate's
    vcpu.queued.reset();
}

/// One entry, to the exit.
std::uint8_t privilege_level_of(const core::SystemRegisters& system)
{
    return static_cast<std::uint8_t>((system.segments[core::segment_ss].attributes >> 5) & 3);
}

/// Runs the guest's next step.
Exit step(VcpuContext& context, FakeVcpu& vcpu)
{
    if (vcpu.script.empty())
        return vcpu.when_done ? vcpu.when_done(context, vcpu) : plain_exit(ExitKind::physical_interrupt);
    const Step next = std::move(vcpu.script.front());
    vcpu.script.pop_front();
    return next(context, vcpu);
}

Exit enter(VcpuContext& context)
{
    FakeVcpu& vcpu = fake_vcpu(context);
    HV_ASSERT(vcpu.loaded_on == core::platform::current_processor());
    ++vcpu.entries;
    honour_flushes(context, vcpu);
    deliver(context, vcpu);
    if (vcpu.window_class > vcpu.task_priority && interrupt_possible(context)) {
        vcpu.window_class = 0;
        return plain_exit(ExitKind::interrupt_window);
    }
    vcpu.interrupt_shadow = 0;
    const Exit exit = step(context, vcpu);
    vcpu.privilege_level = privilege_level_of(vcpu.system);
    return exit;
}

void run(VcpuContext& context, core::ExitAnswer answer)
{
    do
        context.exit = enter(context);
    while (answer(context));
}

void read_context(const VcpuContext& context, core::ExecutionContext& out)
{
    const core::SystemRegisters& system = fake_vcpu(context).system;
    const core::Segment& code = system.segments[core::segment_cs];
    out = {.cr0 = system.cr0,
           .cr3 = system.cr3,
           .cr4 = system.cr4,
           .efer = system.efer,
           .code_base = code.base,
           .code_attributes = code.attributes,
           .privilege_level = privilege_level_of(system)};
}

Status write_system(VcpuContext& context, const core::SystemRegisters& from)
{
    if (x86::Cr0::PG::get(from.cr0) && !x86::Cr0::PE::get(from.cr0))
        return Error::invalid_argument;
    fake_vcpu(context).system = from;
    return Done{};
}

/// The system register that an MSR is, or null.
std::uint64_t* system_msr(FakeVcpu& vcpu, std::uint32_t msr)
{
    core::SystemRegisters& system = vcpu.system;
    switch (static_cast<x86::Msr>(msr)) {
    case x86::Msr::EFER: return &system.efer;
    case x86::Msr::PAT: return &system.pat;
    case x86::Msr::STAR: return &system.star;
    case x86::Msr::LSTAR: return &system.lstar;
    case x86::Msr::CSTAR: return &system.cstar;
    case x86::Msr::SFMASK: return &system.sfmask;
    case x86::Msr::KERNEL_GS_BASE: return &system.kernel_gs_base;
    case x86::Msr::SYSENTER_CS: return &system.sysenter_cs;
    case x86::Msr::SYSENTER_ESP: return &system.sysenter_esp;
    case x86::Msr::SYSENTER_EIP: return &system.sysenter_eip;
    case x86::Msr::FS_BASE: return &system.segments[core::segment_fs].base;
    case x86::Msr::GS_BASE: return &system.segments[core::segment_gs].base;
    default: break;
    }
    const auto found = vcpu.msrs.find(msr);
    return found == vcpu.msrs.end() ? nullptr : &found->second;
}

Expected<std::uint64_t> read_msr(const VcpuContext& context, std::uint32_t msr)
{
    const std::uint64_t* const place = system_msr(fake_vcpu(context), msr);
    return place == nullptr ? Expected<std::uint64_t>{Error::not_found} : *place;
}

Status write_msr(VcpuContext& context, std::uint32_t msr, std::uint64_t value)
{
    std::uint64_t* const place = system_msr(fake_vcpu(context), msr);
    if (place == nullptr)
        return Error::not_found;
    *place = value;
    return Done{};
}

/// MOV to and from a debug register, without prefixes.
Status move_debug_register(VcpuContext& context, const std::byte* bytes)
{
    FakeVcpu& vcpu = fake_vcpu(context);
    const auto operands = std::to_integer<unsigned>(bytes[2]);
    const unsigned number = operands >> 3 & 7;
    std::uint64_t& place = number < 4 ? vcpu.system.dr[number] : number % 2 == 0 ? vcpu.system.dr6 : vcpu.system.dr7;
    std::uint64_t& general = context.registers.general[operands & 7];
    if (std::to_integer<unsigned>(bytes[1]) == 0x23)
        place = general;
    else
        general = place;
    return Done{};
}

Status write_control_0(VcpuContext& context, std::uint64_t value)
{
    if (value >> 32 != 0 || (x86::Cr0::PG::get(value) && !x86::Cr0::PE::get(value)))
        return Error::invalid_argument;
    fake_vcpu(context).system.cr0 = value;
    return Done{};
}

/// MOV to CR0 and CR4, and from CR0, without prefixes.
Status move_control_register(VcpuContext& context, const std::byte* bytes)
{
    FakeVcpu& vcpu = fake_vcpu(context);
    const auto operands = std::to_integer<unsigned>(bytes[2]);
    std::uint64_t& general = context.registers.general[operands & 7];
    if (std::to_integer<unsigned>(bytes[1]) == 0x20) {
        general = vcpu.system.cr0;
        return Done{};
    }
    if ((operands >> 3 & 7) == 0)
        return write_control_0(context, general);
    if ((general & ~vcpu.offered.cr4) != 0)
        return Error::invalid_argument;
    vcpu.system.cr4 = general;
    return Done{};
}

/// Those moves, the same with debug registers, and XSETBV.
Status emulate(VcpuContext& context, const Exit& exit, const std::byte* bytes, std::uint8_t)
{
    const auto& general = context.registers.general;
    if (exit.kind == ExitKind::control_register)
        return move_control_register(context, bytes);
    if (exit.kind == ExitKind::debug_register)
        return move_debug_register(context, bytes);
    FakeVcpu& vcpu = fake_vcpu(context);
    if (exit.kind != ExitKind::set_extended_control)
        return Error::not_supported;
    const std::uint64_t value = general[core::rdx] << 32 | (general[core::rax] & 0xffff'ffff);
    if (vcpu.offered.xcr0 == 0)
        return Error::not_supported;
    if ((value & ~vcpu.offered.xcr0) != 0 || (value & 1) == 0)
        return Error::invalid_argument;
    vcpu.extended_control = value;
    return Done{};
}

void cancel_exception(VcpuContext& context)
{
    FakeVcpu& vcpu = fake_vcpu(context);
    if (std::exchange(vcpu.exception_queued, false))
        vcpu.queued.reset();
    vcpu.system.cr2 = vcpu.cr2_before;
}

Expected<void*> msr_map_create(core::Ledger&)
{
    if (std::exchange(state().msr_map_fails, false))
        return Error::no_memory;
    auto map = std::make_unique<std::vector<core::MsrIntercept>>();
    void* const key = map.get();
    state().msr_maps.emplace(key, std::move(map));
    return key;
}

/// AMD's entries: tests that look into tables find the usual bits.
constexpr core::NestedEntryFormat nested_format{.table = 0x27,
                                                .leaf = 0x65,
                                                .read = 0,
                                                .write = 0x2,
                                                .execute = 0,
                                                .deny_execute = 1ull << 63,
                                                .large = 0x80,
                                                .address_mask = 0x000f'ffff'ffff'f000};

core::HvmTable make_table(const core::HvmCapabilities& capabilities)
{
    return {
        .name = "fake",
        .capabilities = capabilities,
        .nested_format = nested_format,
        .hypercall_instruction = {0x0f, 0x01, 0xd9},
        .enable_processor = enable_processor,
        .vcpu_create = vcpu_create,
        .vcpu_destroy = vcpu_destroy,
        .load = load,
        .unload = unload,
        .run = run,
        .enter_control = [](VcpuContext& c, Exit& exit, const std::atomic<bool>&) { exit = enter(c); },
        .inject = [](VcpuContext& c, const Event& event) { fake_vcpu(c).queued = event; },
        .event_pending = [](const VcpuContext& c) { return fake_vcpu(c).queued.has_value(); },
        .cancel_exception = cancel_exception,
        .interrupt_possible = interrupt_possible,
        .nmi_possible =
            [](const VcpuContext& c) {
                const FakeVcpu& vcpu = fake_vcpu(c);
                return !vcpu.nmi_in_service && !vcpu.interrupt_shadow && !vcpu.queued;
            },
        .request_interrupt_window = [](VcpuContext& c,
                                       std::uint8_t priority) { fake_vcpu(c).window_class = priority; },
        .set_task_priority =
            [](VcpuContext& c, std::uint8_t value) {
                fake_vcpu(c).task_priority = static_cast<std::uint8_t>(value & 0xf);
            },
        .read_context = read_context,
        .read_system = [](const VcpuContext& c, core::SystemRegisters& out) { out = fake_vcpu(c).system; },
        .write_system = write_system,
        .read_msr = read_msr,
        .write_msr = write_msr,
        .emulate_system_instruction = emulate,
        .write_control_0 = write_control_0,
        .extended_control = [](const VcpuContext& c) { return fake_vcpu(c).extended_control; },
        .read_vectors =
            [](VcpuContext& c, unsigned first, std::span<std::byte> bytes) {
                std::ranges::copy(std::span{fake_vcpu(c).vectors}.subspan(16 * first, bytes.size()), bytes.begin());
            },
        .write_vectors =
            [](VcpuContext& c, unsigned first, std::span<const std::byte> bytes) {
                std::ranges::copy(bytes, std::span{fake_vcpu(c).vectors}.subspan(16 * first).begin());
            },
        .offer = [](VcpuContext& c, const core::OfferedBits& bits) { fake_vcpu(c).offered = bits; },
        .set_tsc_offset = [](VcpuContext& c, std::uint64_t offset) { fake_vcpu(c).tsc_offset = offset; },
        .flush = [](VcpuContext& c) { fake_vcpu(c).flush_wanted = true; },
        .intercept = [](VcpuContext& c, const core::Intercepts& wanted) { fake_vcpu(c).intercepts = wanted; },
        .msr_map_create = msr_map_create,
        .msr_map_destroy = [](void* map, core::Ledger&) { HV_ASSERT(state().msr_maps.erase(map) == 1); },
        .msr_map_set = [](void* map, std::span<const core::MsrIntercept> wanted) {
            state().msr_maps.at(map)->assign(wanted.begin(), wanted.end());
        },
        .intercept_control_ports = [](std::uint16_t, std::uint16_t) {},
    };
}

std::optional<Translation> walk(HostPhysical root, GuestPhysical address)
{
    if (address.raw() >> 48 != 0)
        return std::nullopt;
    std::uint64_t table = root.raw();
    bool execute{true};  // any level may deny it
    for (unsigned level = 4; level > 0; --level) {
        const unsigned shift = 12 + 9 * (level - 1);
        const auto* const entries =
            static_cast<const std::uint64_t*>(core::platform::to_pointer(HostPhysical{table}));
        const std::uint64_t entry = entries[(address.raw() >> shift) & 511];
        if (entry == 0)
            return std::nullopt;
        const std::uint64_t next = entry & nested_format.address_mask;
        execute = execute && (entry & nested_format.deny_execute) == 0;
        if (level == 1 || (entry & nested_format.large) != 0) {
            const std::uint64_t span_mask = (1ull << shift) - 1;
            return Translation{HostPhysical{((next & ~span_mask) | (address.raw() & span_mask)) & ~page_mask},
                               (entry & nested_format.write) != 0, execute};
        }
        table = next;
    }
    return std::nullopt;
}

/// The translation of the page: the one that was used before, however old, or what the tables say now.
std::byte* translate(VcpuContext& context, GuestPhysical address, bool write, Exit& fault, bool execute = false)
{
    FakeVcpu& vcpu = fake_vcpu(context);
    auto known = vcpu.translations.find(address.page_number());
    if (known == vcpu.translations.end()) {
        if (const auto found = walk(vcpu.nested_root, address))
            known = vcpu.translations.emplace(address.page_number(), *found).first;
    }
    if (known != vcpu.translations.end() && (known->second.write || !write) && (known->second.execute || !execute))
        return static_cast<std::byte*>(core::platform::to_pointer(known->second.page)) +
               address.page_offset();
    fault = plain_exit(ExitKind::nested_fault);
    fault.fault = {.address = address,
                   .write = write,
                   .execute = execute,
                   .present = known != vcpu.translations.end(),
                   .table_walk = false,
                   .instruction_bytes = 0,
                   .bytes = {}};
    return nullptr;
}

}  // namespace

const core::HvmTable& reset_backend(const core::HvmCapabilities& capabilities)
{
    state().vcpus.clear();
    state().msr_maps.clear();
    state().msr_map_fails = false;
    state().creations_to_fail = 0;
    state().enabled.clear();
    state().table = make_table(capabilities);
    return state().table;
}

std::size_t fake_msr_maps()
{
    return state().msr_maps.size();
}

const std::vector<core::MsrIntercept>& fake_msr_map(const core::VcpuContext& vcpu)
{
    return *state().msr_maps.at(fake_vcpu(vcpu).intercepts.msr_map);
}

void fail_msr_map()
{
    state().msr_map_fails = true;
}

FakeVcpu& fake_vcpu(const core::VcpuContext& vcpu)
{
    const auto found = state().vcpus.find(vcpu.backend);
    HV_ASSERT(found != state().vcpus.end());
    return *found->second;
}

unsigned fake_vcpus()
{
    return static_cast<unsigned>(state().vcpus.size());
}
void fail_vcpu_create(unsigned count)
{
    state().creations_to_fail = count;
}
std::vector<unsigned> enabled_processors()
{
    return state().enabled;
}

core::Exit plain_exit(core::ExitKind kind, std::uint8_t instruction_length)
{
    Exit exit{};
    exit.kind = kind;
    exit.instruction_length = instruction_length;
    return exit;
}

core::Exit port_exit(const core::PortAccess& access)
{
    Exit exit = plain_exit(ExitKind::port);
    exit.port = access;
    return exit;
}

Step exits(const core::Exit& exit)
{
    return [exit](VcpuContext&, FakeVcpu&) { return exit; };
}

Step raises(std::uint8_t vector, std::uint32_t error_code, std::uint64_t address, std::optional<core::Event> delivering)
{
    return [=](VcpuContext&, FakeVcpu& vcpu) {
        constexpr std::uint8_t page_fault{14};
        Exit exit = plain_exit(ExitKind::exception);
        exit.exception = {.vector = vector,
                          .in_delivery = delivering.has_value(),
                          .delivering_exception = delivering && delivering->kind == core::EventKind::exception,
                          .delivering_vector = delivering ? delivering->vector : std::uint8_t{},
                          .error_code = error_code,
                          .address = address};
        vcpu.cr2_before = vcpu.system.cr2;
        if (vector == page_fault)
            vcpu.system.cr2 = address;
        vcpu.exception_queued = !delivering;
        vcpu.queued = delivering ? delivering : Event{core::EventKind::exception, vector, x86::pushes_error_code(vector), error_code};
        return exit;
    };
}

bool guest_read(core::VcpuContext& vcpu, GuestPhysical address, void* to, std::size_t bytes,
                core::Exit& fault)
{
    HV_ASSERT(address.page_offset() + bytes <= page_size);
    const std::byte* const from = translate(vcpu, address, false, fault);
    if (from == nullptr)
        return false;
    std::memcpy(to, from, bytes);
    return true;
}

bool guest_write(core::VcpuContext& vcpu, GuestPhysical address, const void* from, std::size_t bytes,
                 core::Exit& fault)
{
    HV_ASSERT(address.page_offset() + bytes <= page_size);
    std::byte* const to = translate(vcpu, address, true, fault);
    if (to == nullptr)
        return false;
    std::memcpy(to, from, bytes);
    return true;
}

bool guest_fetch(core::VcpuContext& vcpu, GuestPhysical address, core::Exit& fault)
{
    return translate(vcpu, address, false, fault, true) != nullptr;
}

core::Exit end_of_instruction(core::VcpuContext& vcpu)
{
    constexpr std::uint64_t single_step{1 << 14};
    constexpr std::uint8_t debug{1};
    if (!x86::Rflags::TF::get(vcpu.registers.rflags))
        return plain_exit(ExitKind::physical_interrupt);
    fake_vcpu(vcpu).system.dr6 |= single_step;
    return raises(debug)(vcpu, fake_vcpu(vcpu));
}

}  // namespace hv::fake
