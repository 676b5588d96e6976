// SPDX-License-Identifier: MIT
#include "hv/arch/x86/svm/event.hpp"

#include "hv/arch/x86/svm/exit_code.hpp"
#include "hv/base/assert.hpp"
#include "hv/x86/control_registers.hpp"

namespace hv::svm {

namespace {

constexpr std::uint8_t type_of(core::EventKind kind)
{
    switch (kind) {
    case core::EventKind::interrupt: return EventFormat::external_interrupt;
    case core::EventKind::nmi: return EventFormat::nmi;
    case core::EventKind::exception: return EventFormat::exception;
    case core::EventKind::software_interrupt: return EventFormat::software_interrupt;
    }
    return EventFormat::exception;
}

/// A virtual interrupt whose only purpose is its exit.
constexpr std::uint64_t window_request{VirtualInterrupt::IRQ::mask | VirtualInterrupt::Priority::mask |
                                       VirtualInterrupt::IgnoreTpr::mask};

void assign(VcpuState& vcpu, std::uint32_t& intercepts, std::uint32_t bit, bool wanted)
{
    const std::uint32_t changed = wanted ? intercepts | bit : intercepts & ~bit;
    if (changed == intercepts)
        return;
    intercepts = changed;
    dirty(vcpu, clean_intercepts);
}

/// The processor is asked for the exit only while the task priority lets the waiting interrupt through; while
/// it does not, the guest's writes of CR8 exit, and bring us here again.  They do so for as long as a window
/// is wanted: an emulated processor does not bear such a write with a virtual interrupt pending.  A control VCPU's CR8 is
/// its own.
void update_window(VcpuState& vcpu)
{
    VmcbControlArea& control = vcpu.vmcb->control;
    const bool armed = vcpu.watch.window_class > VirtualInterrupt::TPR::get(control.virtual_interrupt);
    const std::uint64_t request =
        (control.virtual_interrupt & ~window_request) | (armed ? window_request : 0);
    if (request != control.virtual_interrupt) {
        control.virtual_interrupt = request;
        dirty(vcpu, clean_virtual_interrupt);
    }
    assign(vcpu, control.intercept_instructions, intercept_bit(ExitCode::VINTR), armed);
    assign(vcpu, control.intercept_cr, 1u << number(ExitCode::CR8_WRITE),
           watches_task_priority(vcpu));
}

void intercept_iret(VcpuState& vcpu, bool wanted)
{
    assign(vcpu, vcpu.vmcb->control.intercept_instructions, intercept_bit(ExitCode::IRET), wanted);
}

}  // namespace

std::uint64_t encode_event(const core::Event& event)
{
    return EventFormat::Valid::mask | EventFormat::Type::make(type_of(event.kind)) |
           EventFormat::Vector::make(event.kind == core::EventKind::nmi ? 2 : event.vector) |
           EventFormat::ErrorCodeValid::make(event.has_error_code) |
           EventFormat::ErrorCode::make(event.has_error_code ? event.error_code : 0);
}

std::uint64_t requeued_event(std::uint64_t exit_interrupt_info)
{
    if (!EventFormat::Valid::get(exit_interrupt_info))
        return 0;
    const std::uint8_t type = EventFormat::Type::get(exit_interrupt_info);
    const std::uint8_t vector = EventFormat::Vector::get(exit_interrupt_info);
    const bool by_instruction =
        type == EventFormat::exception && (vector == static_cast<std::uint8_t>(x86::Exception::BP) ||
                                           vector == static_cast<std::uint8_t>(x86::Exception::OF));
    if (type == EventFormat::software_interrupt || by_instruction)
        return 0;
    return exit_interrupt_info;
}

void inject_event(VcpuState& vcpu, const core::Event& event)
{
    HV_ASSERT(event.kind != core::EventKind::exception ||
              (event.vector < x86::exception_vectors && event.vector != 2));
    vcpu.vmcb->control.event_injection = encode_event(event);
    if (event.kind != core::EventKind::nmi)
        return;
    vcpu.nmi_masked = true;
    vcpu.nmi_return_pending = false;
    intercept_iret(vcpu, true);
}

void queue_exception(VcpuState& vcpu, x86::Exception vector, std::uint32_t error_code)
{
    if (event_queued(vcpu))
        return;
    const auto raw = static_cast<std::uint8_t>(vector);
    vcpu.vmcb->control.event_injection =
        encode_event({core::EventKind::exception, raw, x86::pushes_error_code(raw), error_code});
}

void cancel_exception(VcpuState& vcpu)
{
    if (vcpu.exception_queued)
        vcpu.vmcb->control.event_injection = 0;
    vcpu.exception_queued = false;
    vcpu.vmcb->save.cr2 = vcpu.cr2_before;  // whose clean bit the exit has taken away where it wrote it
}

bool watches_task_priority(const VcpuState& vcpu)
{
    return vcpu.watch.any() && VirtualInterrupt::Masking::get(vcpu.vmcb->control.virtual_interrupt);
}

bool event_queued(const VcpuState& vcpu)
{
    return EventFormat::Valid::get(vcpu.vmcb->control.event_injection);
}

bool interrupt_possible(const VcpuState& vcpu, std::uint64_t rflags)
{
    return x86::Rflags::IF::get(rflags) && !InterruptState::Shadow::get(vcpu.vmcb->control.interrupt_state) &&
           !event_queued(vcpu);
}

bool nmi_possible(const VcpuState& vcpu, std::uint64_t rip)
{
    return !vcpu.nmi_masked && !(vcpu.nmi_return_pending && rip == vcpu.nmi_return_rip) &&
           !InterruptState::Shadow::get(vcpu.vmcb->control.interrupt_state) && !event_queued(vcpu);
}

void set_interrupt_window(VcpuState& vcpu, std::uint8_t priority_class)
{
    if (vcpu.watch.window_class == priority_class)
        return;
    vcpu.watch.window_class = priority_class;
    update_window(vcpu);
}

void set_task_priority(VcpuState& vcpu, std::uint8_t priority_class)
{
    std::uint64_t& field = vcpu.vmcb->control.virtual_interrupt;
    if (VirtualInterrupt::TPR::get(field) == (priority_class & 0xf))
        return;
    field = VirtualInterrupt::TPR::set(field, priority_class & 0xf);
    dirty(vcpu, clean_virtual_interrupt);
    if (vcpu.watch.window_class != 0)
        update_window(vcpu);
}

void end_nmi(VcpuState& vcpu, std::uint64_t rip)
{
    vcpu.nmi_masked = false;
    vcpu.nmi_return_pending = true;
    vcpu.nmi_return_rip = rip;
    intercept_iret(vcpu, false);
}

}  // namespace hv::svm
