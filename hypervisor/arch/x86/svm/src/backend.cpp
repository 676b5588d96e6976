// SPDX-License-Identifier: MIT
//
// The members of the HVM function table.  The rules are in the pure files beside this one; here they meet the
// processor.
#include "hv/arch/x86/svm/backend.hpp"

#include <cstring>
#include <new>

#include "hv/arch/x86/svm/event.hpp"
#include "hv/arch/x86/svm/exits.hpp"
#include "hv/arch/x86/svm/features.hpp"
#include "hv/arch/x86/svm/guest_intercepts.hpp"
#include "hv/arch/x86/svm/intercepts.hpp"
#include "hv/arch/x86/svm/permission_map.hpp"
#include "hv/arch/x86/svm/processor.hpp"
#include "hv/arch/x86/svm/state.hpp"
#include "hv/arch/x86/svm/system_instruction.hpp"
#include "hv/arch/x86/svm/vcpu_state.hpp"
#include "hv/arch/x86/svm/vector_registers.hpp"
#include "hv/base/assert.hpp"
#include "hv/core/platform/platform.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/msr.hpp"
#include "hv/x86/page_entry.hpp"

namespace hv::svm {

namespace {

using core::Exit;
using core::VcpuContext;
using core::VcpuKind;

/// For all VCPUs of one kind.
struct PermissionMaps {
    MsrPermissionMap msrs;
    PortPermissionMap ports;
};

/// What all processors and VCPUs share.
struct Backend {
    core::FrameAllocator* frames;
    core::Ledger* ledger;
    Features features;
    core::HvmTable table;
    PermissionMaps* guest_maps;
    PermissionMaps* control_maps;
    ProcessorState processors[core::platform::maximum_processors];
};
constinit Backend backend{};

VcpuState& state_of(const VcpuContext& context)
{
    return *static_cast<VcpuState*>(context.backend);
}

constexpr unsigned control_processor{0};

constexpr std::uint64_t area_alignment{64};
constexpr std::uint64_t area_offset{page_size + (sizeof(VcpuState) + area_alignment - 1) / area_alignment *
                                                    area_alignment};

std::uint32_t as_number(x86::Msr msr)
{
    return static_cast<std::uint32_t>(msr);
}

// ---- processors
// -------------------------------------------------------------------------------------------------

Status enable_processor()
{
    const unsigned number = core::platform::current_processor();
    ProcessorState& self = backend.processors[number];
    HV_ASSERT(!self.enabled);
    const std::uint64_t vm_cr = processor::read_msr(as_number(x86::Msr::VM_CR));
    if (x86::VmCr::SVMDIS::get(vm_cr))
        return Error::not_supported;
    // An INIT would take a guest processor away from the hypervisor: as an exception it is dropped [APM2-3.41 §15.30.1].  The
    // control domain may need it: some machines are reset by it.
    if (number != control_processor)
        processor::write_msr(as_number(x86::Msr::VM_CR), vm_cr | x86::VmCr::R_INIT::mask);
    auto host_save = HV_TRY(core::OwnedFrames::allocate(*backend.frames, 0, *backend.ledger));
    auto host_vmcb = HV_TRY(core::OwnedFrames::allocate(*backend.frames, 0, *backend.ledger));
    std::memset(core::platform::to_pointer(host_save.address()), 0, page_size);
    std::memset(core::platform::to_pointer(host_vmcb.address()), 0, page_size);

    processor::write_msr(as_number(x86::Msr::EFER),
                         processor::read_msr(as_number(x86::Msr::EFER)) | x86::Efer::SVME::mask);
    processor::write_msr(as_number(x86::Msr::VM_HSAVE_PA), host_save.leak().raw());
    if (backend.features.extended_state)
        processor::enable_extended_state(backend.features.extended_state_mask);
    self.host_vmcb = host_vmcb.leak();
    processor::save_host_state(self.host_vmcb);
    self.enabled = true;
    return Done{};
}

// ---- life of a VCPU
// -----------------------------------------------------------------------------------------------

void fill_control_area(VmcbControlArea& control, const VcpuContext& context)
{
    const bool is_guest = context.kind == VcpuKind::guest;
    const Intercepts intercepts = intercepts_for(context.kind, backend.features.pause_filter);
    const PermissionMaps& maps = is_guest ? *backend.guest_maps : *backend.control_maps;
    control.intercept_cr = intercepts.cr;
    control.intercept_dr = intercepts.dr;
    control.intercept_exceptions = intercepts.exceptions;
    control.intercept_instructions = intercepts.instructions;
    control.intercept_svm = intercepts.svm;
    control.intercept_more = intercepts.more;
    control.pause_filter_count = backend.features.pause_filter ? pauses_before_exit : 0;
    control.iopm_base = core::platform::to_physical(&maps.ports);
    control.msrpm_base = core::platform::to_physical(&maps.msrs);
    control.virtual_interrupt = VirtualInterrupt::Masking::make(is_guest);
    control.nested_control = 1;
    control.nested_cr3 = context.nested_root;
}

/// The control domain's processor is its own, with bits of CR4 that are not known here.
std::uint64_t all_of_control_4(VcpuKind kind)
{
    return kind == VcpuKind::control ? ~0ull : backend.features.control_4_mask;
}

/// The x87 and SSE state of reset [SDM3-083 §10.1.1, table 10-1], in the format of XSAVE and FXSAVE.
void fill_extended_area(void* area)
{
    constexpr std::uint16_t reset_fcw{0x0040};
    constexpr std::uint32_t reset_mxcsr{0x1f80};
    constexpr std::uint64_t x87_present{1};
    constexpr std::size_t mxcsr_offset{24}, xstate_bv_offset{512};
    auto* const bytes = static_cast<std::byte*>(area);
    std::memcpy(bytes, &reset_fcw, sizeof reset_fcw);
    std::memcpy(bytes + mxcsr_offset, &reset_mxcsr, sizeof reset_mxcsr);
    if (backend.features.extended_state)
        std::memcpy(bytes + xstate_bv_offset, &x87_present, sizeof x87_present);
}

core::LiveRegisters live_registers(Vmcb& vmcb)
{
    static_assert(VirtualInterrupt::TPR::mask == 0xff);  // the first byte
    static_assert(InterruptState::Shadow::mask == 1);
    return {.cr3 = &vmcb.save.cr3,
            .efer = &vmcb.save.efer,
            .code_segment = reinterpret_cast<const std::byte*>(&vmcb.save.cs),
            .code_attributes = &vmcb.save.cs.attributes,
            .privilege_level = &vmcb.save.cpl,
            .task_priority = reinterpret_cast<const std::uint8_t*>(&vmcb.control.virtual_interrupt),
            .interrupt_shadow = &vmcb.control.interrupt_state};
}

Status vcpu_create(VcpuContext& context)
{
    const unsigned order = core::order_for_bytes(area_offset + backend.features.extended_state_bytes);
    auto block = HV_TRY(core::OwnedFrames::allocate(*backend.frames, order, *context.ledger));
    auto* const memory = static_cast<std::byte*>(core::platform::to_pointer(block.address()));
    std::memset(memory, 0, static_cast<std::size_t>(block.bytes()));
    VcpuState& vcpu = *new (memory + page_size) VcpuState{};
    vcpu.vmcb = reinterpret_cast<Vmcb*>(memory);  // zeroes
    vcpu.vmcb_address = block.address();
    vcpu.extended_area = memory + area_offset;
    vcpu.extended_control = 1;
    vcpu.block_order = order;
    vcpu.block = block.leak();
    fill_control_area(vcpu.vmcb->control, context);
    vcpu.offered = {all_of_control_4(context.kind), backend.features.efer_mask, 0};
    fill_extended_area(vcpu.extended_area);
    reset_registers(vcpu, context.registers);
    context.backend = &vcpu;
    context.live = live_registers(*vcpu.vmcb);
    return Done{};
}

void vcpu_destroy(VcpuContext& context)
{
    VcpuState& vcpu = state_of(context);
    HV_ASSERT(vcpu.processor == nullptr);
    context.backend = nullptr;
    backend.frames->release(vcpu.block, vcpu.block_order, *context.ledger);
}

void load(VcpuContext& context)
{
    VcpuState& vcpu = state_of(context);
    ProcessorState& self = backend.processors[core::platform::current_processor()];
    HV_ASSERT(self.enabled && vcpu.processor == nullptr);
    vcpu.processor = &self;
    vcpu.host_vmcb = self.host_vmcb;
    vcpu.attention = true;
    processor::load_extended_state(vcpu.extended_area, backend.features.extended_state_mask,
                                   vcpu.extended_control);
    if (context.kind == VcpuKind::control)
        return;
    if (backend.features.tsc_aux)
        processor::write_msr(as_number(x86::Msr::TSC_AUX), vcpu.tsc_aux);
    constexpr std::uint64_t breakpoints_enabled{0xff};
    if ((vcpu.vmcb->save.dr7 & breakpoints_enabled) != 0)
        pass_debug_registers(vcpu);
}

/// XCR0 as the guest has it.  While it is loaded the register itself tells: QEMU 7.2 lets XSETBV through though its intercept
/// is set, so that what was noted at the exits would be stale.
std::uint64_t extended_control(const VcpuContext& context)
{
    const VcpuState& vcpu = state_of(context);
    const bool live = vcpu.processor != nullptr && backend.features.extended_state_mask != 0;
    return live ? processor::read_extended_control() : vcpu.extended_control;
}

void unload(VcpuContext& context)
{
    VcpuState& vcpu = state_of(context);
    HV_ASSERT(vcpu.processor == &backend.processors[core::platform::current_processor()]);
    HV_ASSERT(context.kind == VcpuKind::guest);
    vcpu.extended_control = extended_control(context);
    vcpu.processor = nullptr;
    processor::save_extended_state(vcpu.extended_area, backend.features.extended_state_mask);
    if (vcpu.debug_loaded)
        take_debug_registers(vcpu);
}

// ---- running
// ------------------------------------------------------------------------------------------------------

/// A software interrupt is to return to where RIP is.  A processor that saves the next instruction's address takes it from there.
void inject(VcpuContext& context, const core::Event& event)
{
    VcpuState& vcpu = state_of(context);
    inject_event(vcpu, event);
    if (event.kind == core::EventKind::software_interrupt && backend.features.next_rip)
        vcpu.vmcb->control.next_rip = context.registers.rip;
}

/// One VMRUN and #VMEXIT.  Every instruction here is paid on every exit.  Returns the same context: the compiler keeps no
/// register over the round trip, and this is the one that is at hand after it.
[[gnu::always_inline]] inline VcpuContext& run_once(VcpuContext& before)
{
    VcpuState& vcpu = state_of(before);
    const std::uint64_t generation = before.nested_generation->load(std::memory_order_acquire);
    if (vcpu.attention || generation != before.entered_generation.load(std::memory_order_relaxed)) [[unlikely]]
        prepare_entry(vcpu, before.entered_generation, generation, backend.features.address_spaces,
                      backend.features.flush_by_address_space);
    VmcbSaveArea& entered = vcpu.vmcb->save;
    entered.rax = before.registers.general[core::rax];
    entered.rsp = before.registers.general[core::rsp];
    entered.rip = before.registers.rip;
    entered.rflags = before.registers.rflags;

    VcpuContext& context = processor::run_guest(before, vcpu.vmcb_address, vcpu.host_vmcb);

    VcpuState& after = state_of(context);
    VmcbControlArea& control = after.vmcb->control;
    const VmcbSaveArea& save = after.vmcb->save;
    control.clean_bits = clean_all;  // what is changed from here on is dirty()
    control.tlb_control = TlbControl::keep;
    control.event_injection = 0;
    if (EventFormat::Valid::get(control.exit_interrupt_info)) [[unlikely]]
        control.event_injection = requeued_event(control.exit_interrupt_info);
    context.registers.general[core::rax] = save.rax;
    context.registers.general[core::rsp] = save.rsp;
    context.registers.rip = save.rip;
    context.registers.rflags = save.rflags;
    return context;
}

[[gnu::noinline]] bool describe(VcpuContext& context, Exit& exit)
{
    return describe_exit(state_of(context), context.registers.rip, exit);
}

/// Says what the exit was.  False: the back end's own business, and the guest goes on.
template <bool next_rip>
[[gnu::always_inline]] inline bool tell(VcpuContext& context, Exit& exit)
{
    const VmcbControlArea& control = state_of(context).vmcb->control;
    const std::uint64_t code = control.exit_code;
    exit.code = code;
    exit.instruction_length = 0;
    if (next_rip && control.next_rip != 0)
        exit.instruction_length = static_cast<std::uint8_t>(control.next_rip - context.registers.rip);
    if (code >= exit_rows) [[unlikely]]
        return describe(context, exit);
    const ExitRow& row = exit_table[code];
    exit.kind = kind_of(row, control);
    return row.detail == Detail::none || describe(context, exit);
}

/// One for processors that save the next RIP, and one for those that do not.
template <bool next_rip>
void run(VcpuContext& first, core::ExitAnswer answer)
{
    VcpuContext* next = &first;
    do
        next = &run_once(*next);
    while (!tell<next_rip>(*next, next->exit) || answer(*next));
}

void enter(VcpuContext& context, Exit& exit)
{
    VcpuContext* next = &context;
    do
        next = &run_once(*next);
    while (backend.features.next_rip ? !tell<true>(*next, exit) : !tell<false>(*next, exit));
}

void enter_control(VcpuContext& context, Exit& exit, const std::atomic<bool>& nmi)
{
    processor::hold_events();
    if (!nmi.load(std::memory_order_relaxed))
        return enter(context, exit);
    processor::release_events();
    exit = {};
    exit.kind = core::ExitKind::physical_nmi;
    exit.code = number(ExitCode::NMI);
}

// ---- state
// --------------------------------------------------------------------------------------------------------

Expected<std::uint64_t> table_read_msr(const VcpuContext& context, std::uint32_t msr)
{
    if (msr == as_number(x86::Msr::TSC_AUX) && backend.features.tsc_aux)
        return state_of(context).tsc_aux;
    return read_msr(state_of(context), msr);
}

Status table_write_msr(VcpuContext& context, std::uint32_t msr, std::uint64_t value)
{
    VcpuState& vcpu = state_of(context);
    if (msr != as_number(x86::Msr::TSC_AUX) || !backend.features.tsc_aux)
        return write_msr(vcpu, msr, value);
    if (value >> 32 != 0)
        return Error::invalid_argument;
    vcpu.tsc_aux = value;
    if (vcpu.processor != nullptr)
        processor::write_msr(msr, value);
    return Done{};
}

Status table_write_system(VcpuContext& context, const core::SystemRegisters& from)
{
    return write_system(state_of(context), from, context.registers.rflags, backend.features);
}

Status emulate(VcpuContext& context, const Exit& exit, const std::byte* bytes, std::uint8_t length)
{
    VcpuState& vcpu = state_of(context);
    if (exit.kind == core::ExitKind::debug_register)
        return move_debug_register(vcpu, context.registers, {bytes, length});
    if (exit.kind != core::ExitKind::set_extended_control)
        return move_control_register(vcpu, context.registers, {bytes, length}, backend.features);
    HV_TRY(set_extended_control(vcpu, context.registers));
    if (vcpu.processor != nullptr)
        processor::write_extended_control(vcpu.extended_control);
    return Done{};
}

void set_tsc_offset(VcpuContext& context, std::uint64_t offset)
{
    VcpuState& vcpu = state_of(context);
    vcpu.vmcb->control.tsc_offset = offset;
    dirty(vcpu, clean_intercepts);
}

void flush(VcpuContext& context)
{
    VcpuState& vcpu = state_of(context);
    vcpu.flush_wanted = vcpu.attention = true;
    if (HostPhysical& root = vcpu.vmcb->control.nested_cr3; root != context.nested_root) {
        root = context.nested_root;
        dirty(vcpu, clean_nested_paging);
    }
}

// ---- intercepts that somebody asks for
// ---------------------------------------------------------------------------------------

void table_intercept(VcpuContext& context, const core::Intercepts& wanted)
{
    HV_ASSERT(context.kind == VcpuKind::guest);
    intercept(state_of(context), wanted, core::platform::to_physical(&backend.guest_maps->msrs), backend.features);
}

constexpr unsigned msr_map_order{core::order_for_bytes(sizeof(MsrPermissionMap))};

Expected<void*> msr_map_create(core::Ledger& ledger)
{
    auto frames = HV_TRY(core::OwnedFrames::allocate(*backend.frames, msr_map_order, ledger));
    return static_cast<void*>(new (core::platform::to_pointer(frames.leak()))
                                  MsrPermissionMap{backend.guest_maps->msrs});
}

void msr_map_destroy(void* map, core::Ledger& ledger)
{
    backend.frames->release(core::platform::to_physical(map), msr_map_order, ledger);
}

void intercept_control_ports(std::uint16_t first, std::uint16_t count)
{
    backend.control_maps->ports.intercept(first, count);
}

/// Entries that the processor walks for us, accessed and dirty from the start [APM2-3.41 §15.25.5].
core::NestedEntryFormat nested_format()
{
    using Entry = x86::PageEntry;
    return {.table = Entry::Present::mask | Entry::Writable::mask | Entry::User::mask | Entry::Accessed::mask,
            .leaf = Entry::Present::mask | Entry::User::mask | Entry::Accessed::mask | Entry::Dirty::mask,
            .read = 0,
            .write = Entry::Writable::mask,
            .execute = 0,
            .deny_execute = Entry::NoExecute::mask,
            .large = Entry::Large::mask,
            .address_mask = backend.features.physical_address_mask & Entry::address_mask};
}

core::HvmTable make_table()
{
    const Features& features = backend.features;
    return {
        .name = "svm",
        .capabilities = {.next_rip = features.next_rip,
                         .decode_assists = features.decode_assists,
                         .flush_by_address_space = features.flush_by_address_space,
                         .clean_bits = features.clean_bits,
                         .tsc_scaling = false,
                         .gigabyte_pages = features.gigabyte_pages,
                         .address_spaces = features.address_spaces},
        .nested_format = nested_format(),
        .hypercall_instruction = {0x0f, 0x01, 0xd9},  // VMMCALL [APM3-3.35]
        .enable_processor = enable_processor,
        .vcpu_create = vcpu_create,
        .vcpu_destroy = vcpu_destroy,
        .load = load,
        .unload = unload,
        .run = features.next_rip ? run<true> : run<false>,
        .enter_control = enter_control,
        .inject = inject,
        .event_pending = [](const VcpuContext& c) { return event_queued(state_of(c)); },
        .cancel_exception = [](VcpuContext& c) { cancel_exception(state_of(c)); },
        .interrupt_possible =
            [](const VcpuContext& c) { return interrupt_possible(state_of(c), c.registers.rflags); },
        .nmi_possible = [](const VcpuContext& c) { return nmi_possible(state_of(c), c.registers.rip); },
        .request_interrupt_window =
            [](VcpuContext& c, std::uint8_t priority) { set_interrupt_window(state_of(c), priority); },
        .set_task_priority = [](VcpuContext& c,
                                std::uint8_t value) { set_task_priority(state_of(c), value); },
        .read_context = [](const VcpuContext& c,
                           core::ExecutionContext& out) { read_context(state_of(c), out); },
        .read_system = [](const VcpuContext& c,
                          core::SystemRegisters& out) { read_system(state_of(c), out); },
        .write_system = table_write_system,
        .read_msr = table_read_msr,
        .write_msr = table_write_msr,
        .emulate_system_instruction = emulate,
        .write_control_0 =
            [](VcpuContext& c, std::uint64_t value) {
                return write_control_register(state_of(c), 0, value, backend.features);
            },
        .extended_control = extended_control,
        .read_vectors = [](VcpuContext& c, unsigned first,
                           std::span<std::byte> bytes) { read_vectors(state_of(c), backend.features, first, bytes); },
        .write_vectors =
            [](VcpuContext& c, unsigned first, std::span<const std::byte> bytes) {
                write_vectors(state_of(c), backend.features, first, bytes);
            },
        .offer = [](VcpuContext& c,
                    const core::OfferedBits& bits) { offer(state_of(c), bits, backend.features); },
        .set_tsc_offset = set_tsc_offset,
        .flush = flush,
        .intercept = table_intercept,
        .msr_map_create = msr_map_create,
        .msr_map_destroy = msr_map_destroy,
        .msr_map_set = [](void* map, std::span<const core::MsrIntercept> wanted) {
            set_msr_intercepts(*static_cast<MsrPermissionMap*>(map), wanted);
        },
        .intercept_control_ports = intercept_control_ports,
    };
}

}  // namespace

Expected<const core::HvmTable*> find_backend(core::FrameAllocator& frames, core::Ledger& ledger,
                                             TextWriter& why)
{
    const Features features = find_features(processor::cpuid);
    if (!features.usable) {
        say(why, "the processor has no SVM with nested paging");
        return Error::not_supported;
    }
    constexpr unsigned maps_order{core::order_for_bytes(sizeof(PermissionMaps))};
    auto guest_maps = core::OwnedFrames::allocate(frames, maps_order, ledger);
    auto control_maps = core::OwnedFrames::allocate(frames, maps_order, ledger);
    if (!guest_maps || !control_maps) {
        say(why, "there is no memory for the permission maps of SVM");
        return Error::no_memory;
    }
    backend = {};
    backend.frames = &frames;
    backend.ledger = &ledger;
    backend.features = features;
    backend.guest_maps = new (core::platform::to_pointer(guest_maps.value().leak())) PermissionMaps;
    backend.control_maps = new (core::platform::to_pointer(control_maps.value().leak())) PermissionMaps;
    fill_guest_maps(backend.guest_maps->msrs, backend.guest_maps->ports);
    fill_control_maps(backend.control_maps->msrs, backend.control_maps->ports);
    backend.table = make_table();
    return &backend.table;
}

}  // namespace hv::svm
