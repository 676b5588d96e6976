// SPDX-License-Identifier: MIT
//
// The PC around a guest's processors: interrupt controllers, timers, clock, serial port, power.  One lock for all of it; the
// devices themselves know neither locks nor host time.  Ports and addresses: protocol/platform_layout.hpp.
#pragma once

#include <cstdint>
#include <optional>

#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/control/console_stream.hpp"

namespace hv::core {

class Domain;
struct VirtualPcDevices;

/// All functions: any processor that runs a VCPU of the domain, or the control server.
class VirtualPc {
public:
    explicit VirtualPc(Domain& domain);
    /// Makes the devices in reset state.  Once.  Fails with no_memory.
    Status create();
    ~VirtualPc();
    VirtualPc(const VirtualPc&) = delete;
    VirtualPc& operator=(const VirtualPc&) = delete;

    [[nodiscard]] std::uint32_t read_port(std::uint16_t port, unsigned size);
    void write_port(std::uint16_t port, unsigned size, std::uint32_t value);
    /// True for addresses of memory-mapped devices (the I/O APIC).
    [[nodiscard]] bool owns(GuestPhysical address) const;
    [[nodiscard]] std::uint64_t read_mmio(GuestPhysical address, unsigned size);
    void write_mmio(GuestPhysical address, unsigned size, std::uint64_t value);

    /// The PICs' output, and the vector that an acknowledge cycle gives.
    [[nodiscard]] bool pic_output() const;
    [[nodiscard]] std::optional<std::uint8_t> acknowledge_pic();
    /// A level-triggered vector left service in some local APIC.
    void end_of_interrupt(std::uint8_t vector);

    /// The ACPI power button is pressed.
    void press_power_button();
    /// Who is told that the operator typed, or that there is room for output again.
    [[nodiscard]] control::ConsoleListener* console_listener();
    /// The guest's time stands still, or goes on: deadlines are withdrawn and armed again.
    void freeze();
    void thaw();

private:
    friend struct VirtualPcDevices;
    Domain& domain_;
    VirtualPcDevices* devices_{};
};

}  // namespace hv::core
