// SPDX-License-Identifier: MIT
//
// The console device's surroundings on this machine: the control domain's RAM, its processor's interrupts, and the window
// of its registers.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "hv/arch/x86/control_domain/control_domain.hpp"
#include "hv/core/virtio/console_device.hpp"
#include "hv/core/virtio/device_host.hpp"

namespace hv {

class ControlEndpoint final : public core::virtio::DeviceHost, public control_domain::ControlFunction {
public:
    ControlEndpoint() : device_{*this} {}

    [[nodiscard]] core::virtio::ConsoleDevice& device() { return device_; }
    void attach(control_domain::ControlDomain& domain) { domain_.store(&domain, std::memory_order_release); }
    /// Sends what a register access could not: see send_msi.  By the service, on a guest processor.
    void send_deferred();

    // ---- what the device asks for
    Expected<std::span<std::byte>> map(GuestPhysical address, std::uint64_t bytes) override;
    /// On a guest processor a physical IPI.  On the control domain's own, whose interrupt command register may be in the
    /// middle of its own use, the message is put down and a guest processor sends it.
    void send_msi(const core::virtio::MsiMessage& message) override;
    void kick() override;
    void kick_soon() override;
    void place_window(std::optional<GuestPhysical> base) override;

    // ---- the control domain's exits
    std::uint32_t config_read(unsigned offset, unsigned size) override { return device_.config_read(offset, size); }
    void config_write(unsigned offset, unsigned size, std::uint32_t value) override
    {
        device_.config_write(offset, size, value);
    }
    std::uint64_t bar_read(std::uint64_t offset, unsigned size) override { return device_.bar_read(offset, size); }
    void bar_write(std::uint64_t offset, unsigned size, std::uint64_t value) override
    {
        device_.bar_write(offset, size, value);
    }

private:
    std::atomic<control_domain::ControlDomain*> domain_{};
    std::array<std::atomic<std::uint64_t>, 8> deferred_{};
    core::virtio::ConsoleDevice device_;
};

}  // namespace hv
