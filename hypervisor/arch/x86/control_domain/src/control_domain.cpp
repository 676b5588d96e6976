// SPDX-License-Identifier: MIT
//
// Setting the control domain up, and its loop.  What each exit is answered with is in the files beside this
// one.
#include "hv/arch/x86/control_domain/control_domain.hpp"

#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/arch/x86/cpu/per_cpu.hpp"
#include "hv/arch/x86/platform/processors.hpp"
#include "hv/base/assert.hpp"
#include "hv/base/bytes.hpp"
#include "hv/core/boot/acpi_tables.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/exceptions.hpp"
#include "hv/x86/msr.hpp"
#include "pci_bus.hpp"
#include "port_instructions.hpp"

namespace hv::control_domain {

namespace {

constexpr std::uint16_t serial_ports{8};

/// Registers at the 64-bit entry of a kernel [BOOT-6.1 "64-bit Boot Protocol"].
core::SystemRegisters entry_registers(const core::ControlDomainEntry& entry)
{
    constexpr core::Segment code{0x10, 0xa9b, 0xffff'ffff, 0};
    constexpr core::Segment data{0x18, 0xc93, 0xffff'ffff, 0};
    core::SystemRegisters system{};
    for (core::Segment& segment : system.segments)
        segment = data;
    system.segments[core::segment_cs] = code;
    system.ldtr = {0, 0x82, 0xffff, 0};
    system.tr = {0, 0x8b, 0xffff, 0};
    system.gdtr = {entry.gdt, entry.gdt_limit};
    system.idtr = {0, 0};
    system.cr0 = x86::Cr0::PG::mask | x86::Cr0::PE::mask | x86::Cr0::ET::mask | x86::Cr0::NE::mask;
    system.cr3 = entry.page_table;
    system.cr4 = x86::Cr4::PAE::mask;
    system.efer = x86::Efer::LME::mask | x86::Efer::LMA::mask;
    system.dr6 = 0xffff'0ff0;
    system.dr7 = 0x400;
    system.pat = 0x0007'0406'0007'0406;
    return system;
}

/// Where function 0 of a device on bus 0 is in memory-mapped configuration space, if the machine has that.
std::optional<GuestRange> configuration_page(const core::FirmwareMemory& firmware, HostPhysical rsdp,
                                             PciAddress address)
{
    constexpr std::uint64_t base_offset{44};
    BoundedText<200> unused;
    const auto table = core::find_acpi_table(firmware, rsdp, "MCFG", unused);
    if (!table)
        return std::nullopt;
    const auto base = ByteReader{table.value()}.read<std::uint64_t>(base_offset);
    if (!base)
        return std::nullopt;
    const std::uint64_t offset = std::uint64_t{address.bus} << 20 | std::uint64_t{address.device} << 15;
    return GuestRange{GuestPhysical{base.value() + offset}, page_size};
}

}  // namespace

ControlDomain::ControlDomain(const Setup& setup)
    : setup_{setup},
      plan_{setup.machine, setup.own, setup.physical_address_end},
      map_{setup.frames, setup.ledger, setup.hvm.nested_format, setup.hvm.capabilities.gigabyte_pages},
      ram_map_{setup.frames, setup.ledger, setup.hvm.nested_format, setup.hvm.capabilities.gigabyte_pages},
      memory_{ram_map_}
{
}

Status ControlDomain::create(const core::ControlDomainEntry& entry, ControlFunction* function,
                             TextWriter& why)
{
    if (!map_.create() || !ram_map_.create() || !map_own_ram()) {
        say(why, "Graft needs more memory: dom0's nested page tables do not fit.");
        return Error::no_memory;
    }
    if (function != nullptr) {
        const auto place = find_free_place();
        if (!place) {
            say(why, "PCI bus 0 has no free place for the function that dom0 talks to Graft through.");
            return Error::not_found;
        }
        function_ = function;
        function_address_ = *place;
        plan_.set_window(Window::configuration, configuration_page(setup_.firmware, setup_.rsdp, *place));
    }
    find_sleep_control();
    intercept_ports();
    return create_vcpu(entry, why);
}

Status ControlDomain::create_vcpu(const core::ControlDomainEntry& entry, TextWriter& why)
{
    context_.kind = core::VcpuKind::control;
    context_.ledger = &setup_.ledger;
    context_.nested_root = map_.root();
    context_.nested_generation = &map_.generation();
    if (!setup_.hvm.vcpu_create(context_)) {
        say(why, "Graft needs more memory: dom0's processor state does not fit.");
        return Error::no_memory;
    }
    context_.registers.rip = entry.rip;
    context_.registers.general[core::rsi] = entry.boot_parameters;
    return setup_.hvm.write_system(context_, entry_registers(entry));
}

Status ControlDomain::map_own_ram()
{
    for (const core::E820Entry& entry : setup_.own) {
        const std::uint64_t begin = (entry.begin + page_mask) & ~page_mask;
        const std::uint64_t end = (entry.begin + entry.bytes) & ~page_mask;
        if (entry.type != core::E820Type::ram || begin >= end)
            continue;
        HV_TRY(map_.map(GuestPhysical{begin}, HostPhysical{begin}, end - begin, core::access_all));
        HV_TRY(ram_map_.map(GuestPhysical{begin}, HostPhysical{begin}, end - begin, core::access_all));
    }
    return Done{};
}

void ControlDomain::find_sleep_control()
{
    BoundedText<200> why;
    const auto fadt = core::find_acpi_table(setup_.firmware, setup_.rsdp, "FACP", why);
    const auto ports = fadt ? parse_sleep_ports(fadt.value()) : std::nullopt;
    if (!ports)
        return;
    sleep_ = *ports;
    power_off_type_ = find_power_off_type(setup_.firmware, setup_.rsdp, HostPhysical{sleep_.dsdt});
    if (!power_off_type_)
        core::log_warning("the firmware names no S5: dom0 cannot turn the machine off");
}

void ControlDomain::intercept_ports()
{
    const auto intercept = [this](std::uint16_t first, std::uint16_t count) {
        if (first != 0)
            setup_.hvm.intercept_control_ports(first, count);
    };
    if (function_ != nullptr)
        intercept(pci_data_port, pci_data_ports);
    intercept(setup_.serial_port, serial_ports);
    for (const std::uint16_t port : sleep_.control)
        intercept(port, 2);
}

void ControlDomain::place_window(std::optional<GuestRange> range)
{
    plan_.set_window(Window::registers, range);
    if (!range)
        return;
    // What was mapped here as a device, perhaps as a part of a large page, must now fault.
    if (!map_.unmap(range->begin, range->bytes))
        core::log_error("the registers of dom0's function cannot be placed at ", Hex{range->begin.raw()});
}

std::span<std::byte> ControlDomain::ram(GuestPhysical address, std::uint64_t bytes) const
{
    for (const core::E820Entry& entry : setup_.own)
        if (entry.type == core::E820Type::ram &&
            HostRange{HostPhysical{entry.begin}, entry.bytes}.contains(HostPhysical{address.raw()}, bytes))
            return {static_cast<std::byte*>(core::platform::to_pointer(HostPhysical{address.raw()})),
                    static_cast<std::size_t>(bytes)};
    return {};
}

void ControlDomain::run()
{
    x86::hand_over_boot_processor();
    setup_.hvm.load(context_);
    for (core::Exit exit{};;) {
        deliver_nmi();
        setup_.hvm.enter_control(context_, exit, x86::this_cpu().foreign_nmi);
        ++counters_.by_kind[static_cast<unsigned>(exit.kind)];
        dispatch(exit);
    }
}

/// NMIs that the hypervisor has not sent are the control domain's: its watchdog's, its devices'.  One that comes while one
/// of the hypervisor's own is on its way is one with it, as two of its own would be.
void ControlDomain::deliver_nmi()
{
    if (x86::this_cpu().foreign_nmi.exchange(false))
        nmi_waiting_ = true;
    if (!nmi_waiting_)
        return;
    constexpr std::uint8_t any_priority{15};
    if (!setup_.hvm.nmi_possible(context_))
        return setup_.hvm.request_interrupt_window(context_, any_priority);
    setup_.hvm.inject(context_, {core::EventKind::nmi, 2, false, 0});
    setup_.hvm.request_interrupt_window(context_, 0);
    nmi_waiting_ = false;
}

void ControlDomain::dispatch(const core::Exit& exit)
{
    switch (exit.kind) {
    case core::ExitKind::cpuid: return answer_cpuid(exit);
    case core::ExitKind::msr_read: return answer_msr(exit, false);
    case core::ExitKind::msr_write: return answer_msr(exit, true);
    case core::ExitKind::port: return answer_port(exit);
    case core::ExitKind::nested_fault: return answer_nested_fault(exit);
    case core::ExitKind::hypercall:
    case core::ExitKind::privileged_instruction: return raise(x86::Exception::UD);
    case core::ExitKind::physical_interrupt:
    case core::ExitKind::physical_nmi:
    case core::ExitKind::init_signal:
    case core::ExitKind::interrupt_window: return;
    case core::ExitKind::halt:
    case core::ExitKind::pause:
    case core::ExitKind::exception:
    case core::ExitKind::control_register:
    case core::ExitKind::debug_register:
    case core::ExitKind::invalidate_page:
    case core::ExitKind::cache_control:
    case core::ExitKind::read_tsc:
    case core::ExitKind::set_extended_control:
    case core::ExitKind::monitor:
    case core::ExitKind::task_switch:
    case core::ExitKind::shutdown:
    case core::ExitKind::invalid_state:
    case core::ExitKind::unknown: end_machine(exit);
    }
}

/// Its processor cannot go on, and without it no device works: the machine starts over, as it would at a
/// triple fault.
void ControlDomain::end_machine(const core::Exit& exit)
{
    constexpr std::uint16_t reset_port{0xcf9}, keyboard_port{0x64};
    core::SystemRegisters system{};
    setup_.hvm.read_system(context_, system);
    core::log_error("dom0 went down: ", core::exit_kind_name(exit.kind), " (exit code ", Hex{exit.code},
                    ") at RIP ", Hex{context_.registers.rip}, ", RSP ",
                    Hex{context_.registers.general[core::rsp]}, ", CR2 ", Hex{system.cr2}, ", CR3 ",
                    Hex{system.cr3}, "; the machine is reset");
    x86::stop_other_processors();
    x86::out8(reset_port, 0x02);
    x86::out8(reset_port, 0x06);
    x86::out8(keyboard_port, 0xfe);
    x86::halt_forever();
}

}  // namespace hv::control_domain
