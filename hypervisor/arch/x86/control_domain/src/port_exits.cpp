// SPDX-License-Identifier: MIT
//
// The ports of the control domain that exit: configuration data of the hypervisor's own PCI function, the
// serial port that the hypervisor logs on, PM1 control.
#include "hv/arch/x86/control_domain/control_domain.hpp"
#include "hv/x86/exceptions.hpp"
#include "pci_bus.hpp"
#include "port_instructions.hpp"

namespace hv::control_domain {

namespace {

bool within(std::uint16_t port, std::uint16_t first, unsigned count)
{
    return first != 0 && port >= first && static_cast<unsigned>(port - first) < count;
}

/// RAX after an IN: one and two bytes leave the rest of the register alone.
std::uint64_t merge(std::uint64_t old, std::uint64_t value, unsigned size)
{
    return size == 4 ? value & 0xffff'ffff : (old & ~all_ones(size)) | (value & all_ones(size));
}

}  // namespace

void ControlDomain::answer_port(const core::Exit& exit)
{
    const core::PortAccess& access = exit.port;
    if (access.string) {
        odd_port_access_.log(core::LogLevel::warning, "dom0 may not use string instructions on port ",
                             Hex{access.port});
        return raise(x86::Exception::GP, true);
    }
    std::uint64_t& rax = context_.registers.general[core::rax];
    if (access.in)
        rax = merge(rax, read_port(access.port, access.size), access.size);
    else
        write_port(access.port, access.size, static_cast<std::uint32_t>(rax & all_ones(access.size)));
    advance(access.next_rip);
}

/// True when an access to the configuration data ports is meant for the hypervisor's own function.  The
/// address latch is the machine's own: the control domain writes it without an exit.
bool ControlDomain::config_target(unsigned port_offset, unsigned& register_offset) const
{
    const std::uint32_t latch = port_in(pci_address_port, 4);
    register_offset = PciLatch::Register::get(latch) * 4 + port_offset;
    return function_ != nullptr && PciLatch::Enable::get(latch) &&
           PciLatch::address(latch) == function_address_;
}

std::uint32_t ControlDomain::read_port(std::uint16_t port, unsigned size)
{
    unsigned offset{};
    if (within(port, pci_data_port, pci_data_ports) &&
        config_target(static_cast<unsigned>(port - pci_data_port), offset))
        return function_->config_read(offset, size);
    if (within(port, setup_.serial_port, 8))
        return static_cast<std::uint32_t>(all_ones(size));
    return port_in(port, size);
}

void ControlDomain::write_port(std::uint16_t port, unsigned size, std::uint32_t value)
{
    unsigned offset{};
    if (within(port, pci_data_port, pci_data_ports) &&
        config_target(static_cast<unsigned>(port - pci_data_port), offset))
        return function_->config_write(offset, size, value);
    if (within(port, setup_.serial_port, 8))
        return;
    for (const std::uint16_t control : sleep_.control)
        if (within(port, control, 2))
            return write_sleep_port(port, static_cast<unsigned>(port - control), size, value);
    // An access that begins below a port that exits and reaches into it: nobody has a reason to.
    if (!within(port, pci_data_port, pci_data_ports)) {
        odd_port_access_.log(core::LogLevel::warning, "dom0's write to port ", Hex{port}, " has no effect");
        return;
    }
    port_out(port, size, value);
}

void ControlDomain::write_sleep_port(std::uint16_t port, unsigned offset, unsigned size, std::uint32_t value)
{
    switch (judge_sleep_write(offset, size, value, power_off_type_)) {
    case SleepRequest::power_off: core::log_info("dom0 turns the machine off"); break;
    case SleepRequest::none: break;
    case SleepRequest::refused:
        refused_sleep_.log(core::LogLevel::warning,
                           "dom0 may not put the machine to sleep, only turn it off");
        return;
    }
    port_out(port, size, value);
}

}  // namespace hv::control_domain
