// SPDX-License-Identifier: MIT
//
// A domain's memory and registers, written while it is built and read when it stands still.
#include "hv/core/service/core_target.hpp"

#include "hv/core/machine.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"

namespace hv::core::service {

using control::Reason;
using control::refuse;
using control::refuse_field;

namespace {

Segment segment_of(const protocol::SegmentRegister& wire)
{
    return {wire.selector, wire.attributes, wire.limit, wire.base};
}

protocol::SegmentRegister wire_segment(const Segment& segment)
{
    return {segment.base, segment.limit, segment.selector, segment.attributes};
}

/// CR8 is the upper four bits of the task priority [SDM3-083 §10.8.6.1].
constexpr std::uint64_t highest_priority_class{15};

/// Everything that the wire form has but CR8, which the local APIC keeps; what it lacks (MSRs, debug registers) stays as it is.
void adopt(SystemRegisters& system, const protocol::VcpuRegisters& wire)
{
    for (unsigned index = 0; index < 6; ++index)
        system.segments[index] = segment_of(wire.segments[index]);
    system.ldtr = segment_of(wire.ldtr);
    system.tr = segment_of(wire.tr);
    system.gdtr = {wire.gdtr.base, wire.gdtr.limit};
    system.idtr = {wire.idtr.base, wire.idtr.limit};
    system.cr0 = wire.cr0;
    system.cr2 = wire.cr2;
    system.cr3 = wire.cr3;
    system.cr4 = wire.cr4;
    system.efer = wire.efer;
}

}  // namespace

Status CoreTarget::write_memory(protocol::DomainId id, std::uint64_t address, std::span<const std::byte> bytes,
                                Reason& reason)
{
    Domain& domain = *HV_TRY(guest(id, reason));
    if (domain.state() == DomainState::running)
        return refuse(reason, Error::conflict, "domain ", domain.name(), " is running");
    if (!domain.memory.guest().write(GuestPhysical{address}, bytes))
        return refuse_field(reason, Error::out_of_range, "/address", "guest-physical ", Hex{address}, " and the ",
                            bytes.size(), " bytes from there are not all RAM of domain ", domain.name());
    return Done{};
}

Status CoreTarget::read_memory(protocol::DomainId id, std::uint64_t address, std::span<std::byte> room, Reason& reason)
{
    const Domain& domain = *HV_TRY(guest(id, reason));
    if (!domain.memory.guest().read(GuestPhysical{address}, room))
        return refuse_field(reason, Error::out_of_range, "/address", "guest-physical ", Hex{address}, " and the ",
                            room.size(), " bytes from there are not all RAM of domain ", domain.name());
    return Done{};
}

Status CoreTarget::set_registers(protocol::DomainId id, std::uint32_t index, const protocol::VcpuRegisters& wire,
                                 Reason& reason)
{
    Domain& domain = *HV_TRY(guest(id, reason));
    if (domain.state() != DomainState::building)
        return refuse(reason, Error::conflict, "domain ", domain.name(), " is built already");
    if (index >= domain.vcpu_count())
        return refuse_field(reason, Error::out_of_range, "/vcpu", "domain ", domain.name(), " has no VCPU ", index);
    if (wire.cr8 > highest_priority_class)
        return refuse_field(reason, Error::invalid_argument, "/registers/cr8", "CR8 is at most ", highest_priority_class,
                            ", not ", wire.cr8);
    Vcpu& vcpu = domain.vcpu(index);
    SystemRegisters system{};
    machine().hvm.read_system(vcpu, system);
    adopt(system, wire);
    if (!machine().hvm.write_system(vcpu, system))
        return refuse_field(reason, Error::invalid_argument, "/registers",
                            "no processor accepts this combination of control registers and segments");
    for (unsigned number = 0; number < 16; ++number)
        vcpu.registers.general[number] = wire.general[number];
    vcpu.registers.rip = wire.rip;
    vcpu.registers.rflags = wire.rflags;
    vcpu.apic.set_task_priority(static_cast<std::uint8_t>(wire.cr8 << 4));
    store_task_priority(vcpu);
    vcpu.started = true;
    vcpu.dead_halt = false;
    if (vcpu.blocked_by(Blocker::waiting_for_startup))
        machine().scheduler.unblock(vcpu, Blocker::waiting_for_startup);
    return Done{};
}

Status CoreTarget::get_registers(protocol::DomainId id, std::uint32_t index, protocol::VcpuRegisters& wire,
                                 Reason& reason)
{
    Domain& domain = *HV_TRY(guest(id, reason));
    if (domain.state() == DomainState::running)
        return refuse(reason, Error::conflict, "domain ", domain.name(), " is running");
    if (index >= domain.vcpu_count())
        return refuse_field(reason, Error::out_of_range, "/vcpu", "domain ", domain.name(), " has no VCPU ", index);
    Vcpu& vcpu = domain.vcpu(index);
    Scheduler::wait_until_off(vcpu);
    SystemRegisters system{};
    machine().hvm.read_system(vcpu, system);
    wire = {};
    for (unsigned number = 0; number < 16; ++number)
        wire.general[number] = vcpu.registers.general[number];
    wire.rip = vcpu.registers.rip;
    wire.rflags = vcpu.registers.rflags;
    wire.cr0 = system.cr0;
    wire.cr2 = system.cr2;
    wire.cr3 = system.cr3;
    wire.cr4 = system.cr4;
    wire.cr8 = *vcpu.live.task_priority;
    wire.efer = system.efer;
    for (unsigned number = 0; number < 6; ++number)
        wire.segments[number] = wire_segment(system.segments[number]);
    wire.ldtr = wire_segment(system.ldtr);
    wire.tr = wire_segment(system.tr);
    wire.gdtr = {system.gdtr.base, system.gdtr.limit, 0};
    wire.idtr = {system.idtr.base, system.idtr.limit, 0};
    return Done{};
}

}  // namespace hv::core::service
