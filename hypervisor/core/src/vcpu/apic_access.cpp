// SPDX-License-Identifier: MIT
//
// The local APIC's consequences: what a write to it makes the machine do.
#include "hv/core/vcpu/exit_handlers.hpp"

#include <optional>

#include "hv/core/domain/domain.hpp"
#include "hv/core/domain/virtual_pc.hpp"
#include "hv/core/machine.hpp"
#include "hv/protocol/platform_layout.hpp"

namespace hv::core {
namespace {

/// The page that has to be a hole in the VCPU's view of memory, so that its accesses reach the local APIC;
/// nothing where none can be mapped there: at the usual place, which is kept free, and beyond what nested
/// tables reach.
std::optional<GuestPhysical> hole_for_apic(std::uint64_t apic_base)
{
    const auto page = LocalApic::mmio_page(apic_base);
    if (!page || page->raw() == protocol::local_apic_base || page->raw() >= NestedMap::address_space_bytes)
        return std::nullopt;
    return page;
}

}  // namespace

void arm_apic_timer(Vcpu& vcpu)
{
    const std::uint64_t deadline = vcpu.apic.next_deadline();
    if (deadline == no_deadline || !vcpu.domain.time.running())
        TimerQueue::cancel(vcpu.apic_timer);
    else
        machine().arm_here(vcpu.apic_timer, vcpu.domain.time.host_tick_of_guest_tick(deadline - vcpu.tsc_delta));
}

void store_task_priority(Vcpu& vcpu)
{
    machine().hvm.set_task_priority(vcpu, static_cast<std::uint8_t>(vcpu.apic.task_priority() >> 4));
}

void offer_eoi_assist(Vcpu& vcpu)
{
    const auto vector = vcpu.apic.highest_in_service();
    if (!vector || vcpu.apic.tmr(*vector) || vcpu.apic.highest_requested() || !vcpu.apic.only_in_service(*vector) ||
        vcpu.external_waiting || vcpu.nmi_waiting || (vcpu.watched.any_ended && vcpu.watched.ended.test(*vector)))
        return;
    vcpu.eoi_assist.word->fetch_or(vcpu.eoi_assist.mask);
    vcpu.eoi_assist.offered = true;
}

void take_back_eoi_assist(Vcpu& vcpu)
{
    vcpu.eoi_assist.offered = false;
    const std::uint32_t before = vcpu.eoi_assist.word->fetch_and(~vcpu.eoi_assist.mask);
    if ((before & vcpu.eoi_assist.mask) == 0)
        vcpu.apic.end_of_interrupt();  // edge-triggered and watched by nobody: no one waits for it
}

void conclude_interrupt(Vcpu& vcpu, const EndOfInterrupt& ended)
{
    if (!ended.was_in_service)
        return;
    if (ended.broadcast)
        vcpu.domain.pc->end_of_interrupt(ended.vector);
    if (vcpu.watched.any_ended && vcpu.watched.ended.test(ended.vector))
        vcpu.domain.extensions->interrupt_ended(vcpu, ended.vector);
}

bool apply_apic_effect(Vcpu& vcpu, const ApicEffect& effect)
{
    switch (effect.kind) {
    case ApicEffect::Kind::none: return true;
    case ApicEffect::Kind::refused: return false;
    case ApicEffect::Kind::end_of_interrupt:
        conclude_interrupt(vcpu, {true, effect.message.vector, effect.broadcast});
        return true;
    case ApicEffect::Kind::send: vcpu.domain.route(effect.message, vcpu.id); return true;
    case ApicEffect::Kind::deadline_changed: arm_apic_timer(vcpu); return true;
    case ApicEffect::Kind::mode_changed: arm_apic_timer(vcpu); return true;
    }
    return true;
}

bool write_apic_base(Vcpu& vcpu, std::uint64_t value)
{
    if (!vcpu.apic.takes_apic_base(value))
        return false;
    const auto hole = hole_for_apic(value);
    if (hole && !vcpu.view.open(*hole)) {
        vcpu.domain.said_apic_base.log(LogLevel::warning, "domain ", vcpu.domain.id,
                                       ": no memory to hide what lies at ", Hex{hole->raw()},
                                       " under a local APIC, which stays where it is");
        return false;
    }
    if (!hole)
        vcpu.view.close();
    vcpu.nested_root = vcpu.view.root();
    machine().hvm.flush(vcpu);
    return apply_apic_effect(vcpu, vcpu.apic.write_apic_base(value));
}

}  // namespace hv::core
