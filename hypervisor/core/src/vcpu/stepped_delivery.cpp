// SPDX-License-Identifier: MIT
#include "hv/core/vcpu/stepped_delivery.hpp"

#include <utility>

#include "hv/core/domain/domain.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/single_step.hpp"

namespace hv::core {
namespace {

void change_root(Vcpu& vcpu, HostPhysical root)
{
    vcpu.nested_root = root;
    machine().hvm.flush(vcpu);
}

/// Of an event that the processor has queued again, or an instruction's that has moved nothing yet.
bool is_cut_short(const Vcpu& vcpu, const SteppedDelivery& delivery)
{
    if (vcpu.registers.rip != delivery.rip || vcpu.registers.general[rsp] != delivery.rsp)
        return false;
    return delivery.by_software || machine().hvm.event_pending(vcpu);
}

}  // namespace

void arm_delivery(Vcpu& vcpu)
{
    SteppedDelivery& delivery = vcpu.step.delivery;
    delivery = {.armed = true, .by_software = false, .rip = vcpu.registers.rip, .rsp = vcpu.registers.general[rsp], .instruction = 0};
    change_root(vcpu, vcpu.view.barred_root());
}

void arm_software_interrupt(Vcpu& vcpu, std::uint8_t vector, std::uint8_t length)
{
    const std::uint64_t instruction = vcpu.registers.rip;
    vcpu.registers.rip += length;
    machine().hvm.inject(vcpu, {EventKind::software_interrupt, vector, false, 0});
    intercept_for_step(vcpu, true);  // a fault of the instruction's is to have its RIP
    arm_delivery(vcpu);
    vcpu.step.delivery.by_software = true;
    vcpu.step.delivery.instruction = instruction;
}

DeliveryEnd finish_delivery(Vcpu& vcpu)
{
    const SteppedDelivery delivery = std::exchange(vcpu.step.delivery, {});
    const Exit& exit = vcpu.exit;
    change_root(vcpu, vcpu.view.root());
    if (delivery.by_software)
        intercept_for_step(vcpu, false);
    if (exit.kind == ExitKind::nested_fault && exit.fault.execute && !exit.fault.table_walk)
        return DeliveryEnd::at_handler;
    if (!is_cut_short(vcpu, delivery))
        return DeliveryEnd::elsewhere;
    if (delivery.by_software)
        vcpu.registers.rip = delivery.instruction;
    return DeliveryEnd::cut_short;
}

}  // namespace hv::core
