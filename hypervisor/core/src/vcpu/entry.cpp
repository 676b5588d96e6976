// SPDX-License-Identifier: MIT
//
// What happens between an exit and the next entry: requests of other processors, and the choice of the event to inject.
#include "hv/core/vcpu/exit_handlers.hpp"

#include <utility>

#include "hv/core/domain/domain.hpp"
#include "hv/core/domain/virtual_pc.hpp"
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/reset.hpp"
#include "hv/x86/control_registers.hpp"

namespace hv::core {
namespace {

constexpr bool asked(std::uint32_t requests, VcpuRequest what)
{
    return (requests & static_cast<std::uint32_t>(what)) != 0;
}

void take_init(Vcpu& vcpu)
{
    // [SDM3-083 §10.1.1, §11.4.7.3]: INIT leaves the APIC base, and the processor waits for SIPI.
    vcpu.apic.initialize();
    vcpu.in_halt = vcpu.nmi_waiting = vcpu.external_waiting = false;
    reset_registers(vcpu);
    store_task_priority(vcpu);
    if (vcpu.domain.extensions != nullptr)
        vcpu.domain.extensions->vcpu_reset(vcpu);
}

void take_startup(Vcpu& vcpu, std::uint8_t vector)
{
    if (vcpu.started)
        return;  // a SIPI to a processor that runs is ignored
    start_real_mode(vcpu, vector);
    vcpu.started = true;
}

/// An NMI that waits for the end of a handler which runs with interrupts off can come as soon as that end switches them on.
/// A handler that has switched them on itself would leave for nothing, again and again.
bool nmi_wants_window(const Vcpu& vcpu)
{
    return vcpu.nmi_waiting && !x86::Rflags::IF::get(vcpu.registers.rflags);
}

/// The vector that would be injected if nothing but the task priority stood against it, or 0.
std::uint8_t waiting_vector(const Vcpu& vcpu)
{
    if (vcpu.window_wanted || nmi_wants_window(vcpu) || vcpu.bare_vector.load(std::memory_order_relaxed) != 0 ||
        (vcpu.external_waiting && vcpu.apic.takes_external_interrupts()))
        return 0xf0;  // these ask no priority
    const auto requested = vcpu.apic.highest_requested();
    const auto in_service = vcpu.apic.highest_in_service();
    if (!requested || (in_service && (*requested & 0xf0) <= (*in_service & 0xf0)))
        return 0;
    return *requested;
}

bool inject_external(Vcpu& vcpu)
{
    const auto vector = vcpu.domain.pc->acknowledge_pic();
    vcpu.external_waiting = vcpu.domain.pc->pic_output();
    if (!vector)
        return false;
    machine().hvm.inject(vcpu, {EventKind::interrupt, *vector, false, 0});
    return true;
}

/// What extensions have for the moment when an interrupt can be taken; true: something was injected.
bool serve_extension_window(Vcpu& vcpu)
{
    if (std::exchange(vcpu.window_wanted, false) && vcpu.domain.extensions != nullptr)
        vcpu.domain.extensions->interrupt_window(vcpu);
    const std::uint8_t vector = vcpu.bare_vector.exchange(0);
    if (vector == 0)
        return false;
    machine().hvm.inject(vcpu, {EventKind::interrupt, vector, false, 0});
    return true;
}

/// The guest takes `vector`, the highest in service now.
void follow_taken(Vcpu& vcpu, std::uint8_t vector)
{
    if (vcpu.watched.accepted.test(vector))
        vcpu.domain.extensions->interrupt_accepted(vcpu, vector);
    if (vcpu.watched.auto_eoi.test(vector))
        end_interrupt(vcpu);
}

/// What they want to see has changed, and what they follow may have come.
[[gnu::noinline]] void serve_subscribers(Vcpu& vcpu, std::uint32_t requests)
{
    if (asked(requests, VcpuRequest::intercepts))
        vcpu.domain.extensions->adopt_intercepts(vcpu);
    if (asked(requests, VcpuRequest::step))
        vcpu.domain.extensions->show_step(vcpu);
}

void leave_halt(Vcpu& vcpu)
{
    vcpu.in_halt = false;
    vcpu.domain.rouse(vcpu);
}

}  // namespace

void carry_out_requests(Vcpu& vcpu)
{
    vcpu.domain.rouse(vcpu);  // before they are taken: check_all_halted() sees the one or the other
    const std::uint32_t requests = vcpu.take_requests();
    if (asked(requests, VcpuRequest::resumed)) [[unlikely]]
        vcpu.resumed_at.store(platform::ticks(), std::memory_order_release);
    if (asked(requests, VcpuRequest::flush))
        machine().hvm.flush(vcpu);
    if (asked(requests, VcpuRequest::init))
        take_init(vcpu);
    if (asked(requests, VcpuRequest::startup))
        take_startup(vcpu, Vcpu::startup_vector(requests));
    if (asked(requests, VcpuRequest::timer) && vcpu.domain.time.running()) {
        vcpu.apic.expire(vcpu.guest_tsc(platform::ticks()));
        arm_apic_timer(vcpu);
    }
    if (asked(requests, VcpuRequest::nmi))
        vcpu.nmi_waiting = true;
    if (asked(requests, VcpuRequest::external_interrupt))
        vcpu.external_waiting = vcpu.domain.pc->pic_output();
    constexpr std::uint32_t of_subscribers{static_cast<std::uint32_t>(VcpuRequest::intercepts) |
                                           static_cast<std::uint32_t>(VcpuRequest::step)};
    constexpr std::uint32_t of_extensions{static_cast<std::uint32_t>(VcpuRequest::extension) | of_subscribers};
    if ((requests & of_extensions) != 0 && vcpu.domain.extensions != nullptr) {
        if ((requests & of_subscribers) != 0) [[unlikely]]
            serve_subscribers(vcpu, requests);
        if (asked(requests, VcpuRequest::extension))
            vcpu.domain.extensions->before_entry(vcpu);
    }
}

void prepare_entry(Vcpu& vcpu)
{
    if (!has_waiting_event(vcpu))
        return;
    const HvmTable& hvm = machine().hvm;
    const bool for_extension = vcpu.window_wanted || vcpu.bare_vector.load(std::memory_order_relaxed) != 0;
    if (vcpu.nmi_waiting && hvm.nmi_possible(vcpu)) {
        hvm.inject(vcpu, {EventKind::nmi, 2, false, 0});
        vcpu.nmi_waiting = false;
        leave_halt(vcpu);
        return;
    }
    fetch_task_priority(vcpu);
    if (hvm.interrupt_possible(vcpu)) {
        if (for_extension && serve_extension_window(vcpu)) {
            leave_halt(vcpu);
        } else if (vcpu.external_waiting && vcpu.apic.takes_external_interrupts() && inject_external(vcpu)) {
            leave_halt(vcpu);
        } else if (const auto vector = vcpu.apic.acknowledge()) {
            hvm.inject(vcpu, {EventKind::interrupt, *vector, false, 0});
            leave_halt(vcpu);
            if (vcpu.watched.any_taken) [[unlikely]]
                follow_taken(vcpu, *vector);
        }
    }
    hvm.request_interrupt_window(vcpu, static_cast<std::uint8_t>(waiting_vector(vcpu) >> 4));
}

}  // namespace hv::core
