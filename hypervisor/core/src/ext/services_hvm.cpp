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
/// A register of 64 bits by its two names, and the group that it goes with.
struct PlainRegister {
    std::uint32_t group;
    std::uint64_t SystemRegisters::*own;
    std::uint64_t abi::GuestRegisters::*module;
};
constexpr PlainRegister plain_registers[]{
    {abi::registers_control, &SystemRegisters::cr0, &abi::GuestRegisters::cr0},
    {abi::registers_control, &SystemRegisters::cr2, &abi::GuestRegisters::cr2},
    {abi::registers_control, &SystemRegisters::cr3, &abi::GuestRegisters::cr3},
    {abi::registers_control, &SystemRegisters::cr4, &abi::GuestRegisters::cr4},
    {abi::registers_control, &SystemRegisters::efer, &abi::GuestRegisters::efer},
    {abi::registers_debug, &SystemRegisters::dr6, &abi::GuestRegisters::dr6},
    {abi::registers_debug, &SystemRegisters::dr7, &abi::GuestRegisters::dr7},
    {abi::registers_system_call, &SystemRegisters::kernel_gs_base, &abi::GuestRegisters::kernel_gs_base},
    {abi::registers_system_call, &SystemRegisters::star, &abi::GuestRegisters::star},
    {abi::registers_system_call, &SystemRegisters::lstar, &abi::GuestRegisters::lstar},
    {abi::registers_system_call, &SystemRegisters::cstar, &abi::GuestRegisters::cstar},
    {abi::registers_system_call, &SystemRegisters::sfmask, &abi::GuestRegisters::sfmask},
    {abi::registers_system_call, &SystemRegisters::sysenter_cs, &abi::GuestRegisters::sysenter_cs},
    {abi::registers_system_call, &SystemRegisters::sysenter_esp, &abi::GuestRegisters::sysenter_esp},
    {abi::registers_system_call, &SystemRegisters::sysenter_eip, &abi::GuestRegisters::sysenter_eip},
    {abi::registers_system_call, &SystemRegisters::pat, &abi::GuestRegisters::pat},
};
/// The six by SegmentIndex.
constexpr abi::SegmentRegister abi::GuestRegisters::*segment_registers[]{
    &abi::GuestRegisters::es, &abi::GuestRegisters::cs, &abi::GuestRegisters::ss,
    &abi::GuestRegisters::ds, &abi::GuestRegisters::fs, &abi::GuestRegisters::gs};

/// Calls `visit` with each pair of registers of these groups: the hypervisor's and the module's.
template <typename System, typename Module, typename Visit>
void for_each_pair(System& system, Module& module, std::uint32_t groups, Visit visit)
{
    for (const PlainRegister& plain : plain_registers)
        if (wants(groups, plain.group))
            visit(system.*plain.own, module.*plain.module);
    if (!wants(groups, abi::registers_segments))
        return;
    for (unsigned index = 0; index < 6; ++index)
        visit(system.segments[index], module.*segment_registers[index]);
    visit(system.ldtr, module.ldtr);
    visit(system.tr, module.tr);
    visit(system.gdtr, module.gdtr);
    visit(system.idtr, module.idtr);
}

std::uint64_t shown(std::uint64_t value) { return value; }
void take(std::uint64_t& own, std::uint64_t value) { own = value; }
void take(Segment& own, const abi::SegmentRegister& from)
{
    own = {from.selector, from.attributes, from.limit, from.base};
}
void take(DescriptorTable& own, const abi::SegmentRegister& from) { own = {from.base, from.limit}; }

void read_system(const SystemRegisters& system, std::uint32_t groups, abi::GuestRegisters& to)
{
    for_each_pair(system, to, groups, [](const auto& own, auto& module) { module = shown(own); });
}

void write_system(SystemRegisters& system, std::uint32_t groups, const abi::GuestRegisters& from)
{
    for_each_pair(system, from, groups, [](auto& own, const auto& module) { take(own, module); });
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
    return serve_vcpu(vcpu, abi::need_registers | acts, [&](HookCall& call, VcpuBinding& own) -> Status {
        HV_TRY(check_groups(groups, registers));
        HV_TRY(check_still(call, own));
        return write_registers(own.vcpu, groups, *registers);
    });
}

Answer inject_interrupt(std::uint64_t vcpu, std::uint32_t vector, std::uint32_t how)
{
    return serve_vcpu(vcpu, abi::need_injection | acts, [&](HookCall&, VcpuBinding& own) -> Status {
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
    return serve_vcpu(vcpu, abi::need_injection | acts, [&](HookCall&, VcpuBinding& own) -> Status {
        own.vcpu.request(VcpuRequest::nmi);
        return Done{};
    });
}

Answer interrupt_window_request(std::uint64_t vcpu)
{
    return serve_vcpu(vcpu, abi::need_injection | acts, [&](HookCall& call, VcpuBinding& own) -> Status {
        if (call.binding->hooks.interrupt_window == nullptr)
            return Error::invalid_argument;
        own.ask(VcpuBinding::Pending::window);
        return Done{};
    });
}

Answer tlb_flush(std::uint64_t domain, const std::uint64_t* vcpus, std::uint32_t words, std::uint32_t how)
{
    return serve_domain(domain, abi::need_tlb | acts, [&](HookCall& call) -> Status {
        if (how > abi::flush_non_global || (vcpus != nullptr && words == 0))
            return Error::invalid_argument;
        for (unsigned index = 0; index < call.binding->vcpu_count; ++index) {
            if (!is_chosen(vcpus, words, index))
                continue;
            current_turns().of[index] = call.binding->vcpus[index]->vcpu.mark(VcpuRequest::flush);
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
