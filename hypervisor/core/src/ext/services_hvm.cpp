// SPDX-License-Identifier: MIT
//
// Services on a VCPU's registers, events and translations.
#include <cstring>

#include "hv/core/machine.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "service_call.hpp"

namespace hv::core::services {
namespace {

constexpr std::uint32_t lowest_vector{16};
constexpr std::uint32_t highest_vector{255};
constexpr std::uint32_t system_groups{abi::registers_control | abi::registers_segments |
                                      abi::registers_debug | abi::registers_system_call};

constexpr bool wants(std::uint32_t groups, std::uint32_t group)
{
    return (groups & group) != 0;
}

abi::SegmentRegister shown(const Segment& segment)
{
    return {segment.selector, segment.attributes, segment.limit, segment.base};
}
abi::SegmentRegister shown(const DescriptorTable& table)
{
    return {0, 0, table.limit, table.base};
}
Segment taken(const abi::SegmentRegister& segment)
{
    return {segment.selector, segment.attributes, segment.limit, segment.base};
}

void read_segments(const SystemRegisters& system, abi::GuestRegisters& to)
{
    to.es = shown(system.segments[segment_es]);
    to.cs = shown(system.segments[segment_cs]);
    to.ss = shown(system.segments[segment_ss]);
    to.ds = shown(system.segments[segment_ds]);
    to.fs = shown(system.segments[segment_fs]);
    to.gs = shown(system.segments[segment_gs]);
    to.ldtr = shown(system.ldtr);
    to.tr = shown(system.tr);
    to.gdtr = shown(system.gdtr);
    to.idtr = shown(system.idtr);
}

void write_segments(SystemRegisters& system, const abi::GuestRegisters& from)
{
    system.segments[segment_es] = taken(from.es);
    system.segments[segment_cs] = taken(from.cs);
    system.segments[segment_ss] = taken(from.ss);
    system.segments[segment_ds] = taken(from.ds);
    system.segments[segment_fs] = taken(from.fs);
    system.segments[segment_gs] = taken(from.gs);
    system.ldtr = taken(from.ldtr);
    system.tr = taken(from.tr);
    system.gdtr = {from.gdtr.base, from.gdtr.limit};
    system.idtr = {from.idtr.base, from.idtr.limit};
}

void read_system(const SystemRegisters& system, std::uint32_t groups, abi::GuestRegisters& to)
{
    if (wants(groups, abi::registers_control)) {
        to.cr0 = system.cr0;
        to.cr2 = system.cr2;
        to.cr3 = system.cr3;
        to.cr4 = system.cr4;
        to.efer = system.efer;
    }
    if (wants(groups, abi::registers_segments))
        read_segments(system, to);
    if (wants(groups, abi::registers_debug)) {
        to.dr6 = system.dr6;
        to.dr7 = system.dr7;
    }
    if (!wants(groups, abi::registers_system_call))
        return;
    to.kernel_gs_base = system.kernel_gs_base;
    to.star = system.star;
    to.lstar = system.lstar;
    to.cstar = system.cstar;
    to.sfmask = system.sfmask;
    to.sysenter_cs = system.sysenter_cs;
    to.sysenter_esp = system.sysenter_esp;
    to.sysenter_eip = system.sysenter_eip;
    to.pat = system.pat;
}

void write_system(SystemRegisters& system, std::uint32_t groups, const abi::GuestRegisters& from)
{
    if (wants(groups, abi::registers_control)) {
        system.cr0 = from.cr0;
        system.cr2 = from.cr2;
        system.cr3 = from.cr3;
        system.cr4 = from.cr4;
        system.efer = from.efer;
    }
    if (wants(groups, abi::registers_segments))
        write_segments(system, from);
    if (wants(groups, abi::registers_debug)) {
        system.dr6 = from.dr6;
        system.dr7 = from.dr7;
    }
    if (!wants(groups, abi::registers_system_call))
        return;
    system.kernel_gs_base = from.kernel_gs_base;
    system.star = from.star;
    system.lstar = from.lstar;
    system.cstar = from.cstar;
    system.sfmask = from.sfmask;
    system.sysenter_cs = from.sysenter_cs;
    system.sysenter_esp = from.sysenter_esp;
    system.sysenter_eip = from.sysenter_eip;
    system.pat = from.pat;
}

Status check_groups(std::uint32_t groups, const void* registers)
{
    if (registers == nullptr || groups == 0 || (groups & ~abi::registers_all) != 0)
        return Error::invalid_argument;
    return Done{};
}

Status write_registers(Vcpu& vcpu, std::uint32_t groups, const abi::GuestRegisters& from)
{
    constexpr std::uint64_t highest_class{15};
    if (wants(groups, abi::registers_control) && from.cr8 > highest_class)
        return Error::invalid_argument;
    if (wants(groups, system_groups)) {
        SystemRegisters system{};
        machine().hvm.read_system(vcpu, system);
        write_system(system, groups, from);
        HV_TRY(machine().hvm.write_system(vcpu, system));
    }
    if (wants(groups, abi::registers_control)) {
        vcpu.apic.set_task_priority(static_cast<std::uint8_t>(from.cr8 << 4));
        store_task_priority(vcpu);
    }
    if (wants(groups, abi::registers_general))
        std::memcpy(vcpu.registers.general, from.general, sizeof from.general);
    if (wants(groups, abi::registers_control_flow)) {
        vcpu.registers.rip = from.rip;
        vcpu.registers.rflags = from.rflags;
    }
    return Done{};
}

/// Bit `index` of the module's mask; a null one has all.
bool is_chosen(const std::uint64_t* vcpus, std::uint32_t words, unsigned index)
{
    return vcpus == nullptr || (index / 64 < words && (vcpus[index / 64] >> (index % 64) & 1) != 0);
}

}  // namespace

Answer registers_read(std::uint64_t vcpu, std::uint32_t groups, abi::GuestRegisters* registers)
{
    return serve_vcpu(vcpu, abi::need_registers, [&](HookCall& call, VcpuBinding& own) -> Status {
        HV_TRY(check_groups(groups, registers));
        HV_TRY(check_still(call, own));
        if (wants(groups, system_groups)) {
            SystemRegisters system{};
            machine().hvm.read_system(own.vcpu, system);
            read_system(system, groups, *registers);
        }
        if (wants(groups, abi::registers_control)) {
            fetch_task_priority(own.vcpu);
            registers->cr8 = own.vcpu.apic.task_priority() >> 4;
        }
        if (wants(groups, abi::registers_general))
            std::memcpy(registers->general, own.vcpu.registers.general, sizeof registers->general);
        if (wants(groups, abi::registers_control_flow)) {
            registers->rip = own.vcpu.registers.rip;
            registers->rflags = own.vcpu.registers.rflags;
        }
        return Done{};
    });
}

Answer registers_write(std::uint64_t vcpu, std::uint32_t groups, const abi::GuestRegisters* registers)
{
    return serve_vcpu(vcpu, abi::need_registers, [&](HookCall& call, VcpuBinding& own) -> Status {
        HV_TRY(check_groups(groups, registers));
        HV_TRY(check_still(call, own));
        return write_registers(own.vcpu, groups, *registers);
    });
}

Answer inject_interrupt(std::uint64_t vcpu, std::uint32_t vector, std::uint32_t how)
{
    return serve_vcpu(vcpu, abi::need_injection, [&](HookCall&, VcpuBinding& own) -> Status {
        if (vector < lowest_vector || vector > highest_vector || how > abi::inject_bare)
            return Error::invalid_argument;
        if (how == abi::inject_local_apic) {
            if (own.vcpu.apic.accept(static_cast<std::uint8_t>(vector), TriggerMode::edge))
                own.vcpu.notice_interrupt();
            return Done{};
        }
        std::uint8_t none{0};
        if (!own.vcpu.bare_vector.compare_exchange_strong(none, static_cast<std::uint8_t>(vector)))
            return Error::busy;  // one waits to be taken
        own.vcpu.notice_interrupt();
        return Done{};
    });
}

Answer inject_nmi(std::uint64_t vcpu)
{
    return serve_vcpu(vcpu, abi::need_injection, [&](HookCall&, VcpuBinding& own) -> Status {
        own.vcpu.request(VcpuRequest::nmi);
        return Done{};
    });
}

Answer interrupt_window_request(std::uint64_t vcpu)
{
    return serve_vcpu(vcpu, abi::need_injection, [&](HookCall& call, VcpuBinding& own) -> Status {
        if (call.binding->hooks.interrupt_window == nullptr)
            return Error::invalid_argument;
        own.ask(VcpuBinding::Pending::window);
        return Done{};
    });
}

Answer tlb_flush(std::uint64_t domain, const std::uint64_t* vcpus, std::uint32_t words, std::uint32_t how)
{
    return serve_domain(domain, abi::need_tlb, [&](HookCall& call) -> Status {
        if (how > abi::flush_non_global || (vcpus != nullptr && words == 0))
            return Error::invalid_argument;
        for (unsigned index = 0; index < call.binding->vcpu_count; ++index) {
            if (!is_chosen(vcpus, words, index))
                continue;
            call.binding->vcpus[index]->vcpu.mark(VcpuRequest::flush);
            call.flushed_vcpus =
                ((call.after & HookCall::flushed) != 0 ? call.flushed_vcpus : 0) | 1ull << index;
            call.after |= HookCall::flushed;
        }
        return Done{};
    });
}

Answer hypercall_instruction(std::uint8_t* bytes, std::uint32_t* length)
{
    return serve(0, [&](HookCall&) -> Status {
        if (bytes == nullptr || length == nullptr)
            return Error::invalid_argument;
        *length = 0;
        for (const std::uint8_t byte : machine().hvm.hypercall_instruction)
            bytes[(*length)++] = byte;
        return Done{};
    });
}

}  // namespace hv::core::services
