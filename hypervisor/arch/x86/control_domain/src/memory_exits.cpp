// SPDX-License-Identifier: MIT
//
// Nested page faults of the control domain: devices that it touches for the first time, the registers of the
// hypervisor's own PCI function, memory that is not its own.
#include <algorithm>

#include "hv/arch/x86/control_domain/control_domain.hpp"
#include "hv/core/emulate/code_mode.hpp"
#include "hv/core/emulate/mmio_access.hpp"
#include "hv/core/memory/guest_walk.hpp"
#include "hv/x86/exceptions.hpp"
#include "hv/x86/page_entry.hpp"
#include "port_instructions.hpp"

namespace hv::control_domain {

/// Where the memory accesses of an emulated instruction go.
struct MemoryAccess {
    ControlDomain& domain;
    core::ExecutionContext execution;

    Expected<GuestPhysical> translate(GuestLinear address, bool write) const
    {
        const core::LinearAccess access{
            .write = write, .user = execution.privilege_level == 3, .execute = false};
        const auto walk = core::walk_guest_tables(domain.memory_, execution, address, access);
        if (!walk)
            return Error::not_found;
        return walk->address;
    }

    Expected<std::uint64_t> read(GuestLinear linear, unsigned size) const
    {
        const GuestPhysical address = HV_TRY(translate(linear, false));
        switch (domain.plan_.region(address)) {
        case Region::window: return read_window(address, size);
        case Region::hidden:
        case Region::outside: return all_ones(size);
        case Region::device: return Error::not_supported;
        case Region::own_ram: break;
        }
        std::uint64_t value{};
        HV_TRY(domain.memory_.read(address, std::as_writable_bytes(std::span{&value, 1}).first(size)));
        return value;
    }

    Status write(GuestLinear linear, unsigned size, std::uint64_t value) const
    {
        const GuestPhysical address = HV_TRY(translate(linear, true));
        switch (domain.plan_.region(address)) {
        case Region::window: write_window(address, size, value); return Done{};
        case Region::hidden:
        case Region::outside: return Done{};
        case Region::device: return Error::not_supported;
        case Region::own_ram: break;
        }
        return domain.memory_.write(address, std::as_bytes(std::span{&value, 1}).first(size));
    }

private:
    /// Offset in the window that holds the address, and which window that is.
    struct Place {
        bool registers;
        std::uint64_t offset;
    };
    [[nodiscard]] Place place(GuestPhysical address) const
    {
        const auto registers = domain.plan_.window(Window::registers);
        if (registers && registers->contains(address))
            return {true, address.raw() - registers->begin.raw()};
        return {false, address.page_offset()};
    }
    [[nodiscard]] std::uint64_t read_window(GuestPhysical address, unsigned size) const
    {
        const Place found = place(address);
        if (found.registers)
            return domain.function_->bar_read(found.offset, size);
        if (size > 4)
            return all_ones(size);
        return domain.function_->config_read(static_cast<unsigned>(found.offset), size);
    }
    void write_window(GuestPhysical address, unsigned size, std::uint64_t value) const
    {
        const Place found = place(address);
        if (found.registers)
            domain.function_->bar_write(found.offset, size, value);
        else if (size <= 4)
            domain.function_->config_write(static_cast<unsigned>(found.offset), size,
                                           static_cast<std::uint32_t>(value));
    }
};

void ControlDomain::answer_nested_fault(const core::Exit& exit)
{
    const GuestPhysical address = exit.fault.address;
    switch (plan_.region(address)) {
    case Region::own_ram:
    case Region::device:
        if (map_on_demand(address))
            return;
        core::log_error("no memory is left to map dom0's device at ", Hex{address.raw()});
        return end_machine(exit);
    // The page of configuration space too is trapped for reading: what lies in it may be a read of a register, by the
    // capability for PCI configuration access [VIRTIO-1.2 §4.1.4.9].
    case Region::window: return emulate_access(exit);
    case Region::hidden:
        hidden_access_.log(core::LogLevel::warning, "dom0 touched memory that is not its own, at ",
                           Hex{address.raw()}, " (RIP ", Hex{context_.registers.rip},
                           "): such reads give ones, such writes are dropped");
        return emulate_access(exit);
    case Region::outside:
        wild_access_.log(core::LogLevel::warning, "dom0 touched ", Hex{address.raw()},
                         ", which is beyond the processor's physical addresses");
        return emulate_access(exit);
    }
}

/// Maps the largest page around the address that holds nothing but what the control domain may reach.
bool ControlDomain::map_on_demand(GuestPhysical address)
{
    for (const std::uint64_t bytes : {x86::huge_page_size, x86::large_page_size, page_size}) {
        const GuestRange range{GuestPhysical{address.raw() & ~(bytes - 1)}, bytes};
        if (!plan_.may_map(range))
            continue;
        const auto mapped = map_.map(range.begin, HostPhysical{range.begin.raw()}, bytes, core::access_all);
        // The page itself mapped already: the processor knew an older translation, and asks again.
        if (mapped || (bytes == page_size && mapped.error() == Error::already_exists))
            return true;
        if (mapped.error() != Error::already_exists)
            return false;
    }
    return false;
}

void ControlDomain::emulate_access(const core::Exit& exit)
{
    core::SystemRegisters system{};
    setup_.hvm.read_system(context_, system);
    MemoryAccess access{*this, {}};
    setup_.hvm.read_context(context_, access.execution);
    core::emulate::Segments segments{};
    for (unsigned index = 0; index < 6; ++index)
        segments.segments[index] = {system.segments[index].base, system.segments[index].limit,
                                    system.segments[index].attributes};
    const auto mode = core::emulate::mode_of(access.execution);
    const Status done = core::emulate::emulate_access(code(), mode, context_.registers, segments, access);
    if (done) {
        context_.end_instruction();
        return;
    }
    odd_memory_access_.log(core::LogLevel::warning, "dom0's access to ", Hex{exit.fault.address.raw()},
                           " at RIP ", Hex{context_.registers.rip},
                           " cannot be carried out: ", error_name(done.error()));
    raise(x86::Exception::GP, true);
}

}  // namespace hv::control_domain
