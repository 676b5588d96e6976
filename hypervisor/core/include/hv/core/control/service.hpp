// SPDX-License-Identifier: MIT
//
// The control port: the server behind port 0 of the console device, and the one way in for the processors
// that do its work.  run() is what a guest processor calls between VCPUs, after a kick, and while it is idle.
#pragma once

#include <atomic>
#include <cstddef>
#include <span>

#include "hv/core/control/server.hpp"
#include "hv/core/virtio/console_device.hpp"

namespace hv::core::control {

class ControlService final : private virtio::PortBackend {
public:
    static constexpr unsigned control_port{0};

    ControlService(virtio::ConsoleDevice& device, ControlTarget& target) : device_{device}, target_{target}, server_{target} {}

    /// Offers the control port.  Once, before the control domain starts.
    Status start() { return device_.open_port(control_port, "graft.control", *this); }

    /// One slice of the device's and the server's work; true when there is more to do now.  Any processor but
    /// the control domain's; a second one that calls returns at once, and what it came for is done by the
    /// first.  Every call that the server makes to its target, and the device to a port's backend, happens in
    /// here.
    bool run();

    /// A domain ended, a console slot changed, or the log grew.  Any processor.
    void events_waiting();
    /// The target has something to carry out (ControlTarget::carry_out_requests).  Any processor.
    void target_waiting() { target_waiting_.store(true); }

private:
    std::size_t take(std::span<const std::byte> bytes) override;
    std::size_t give(std::span<std::byte> room) override { return server_.transmit(room); }
    void opened() override { server_.connected(); }
    void closed() override { server_.disconnected(); }
    void released() override {}

    virtio::ConsoleDevice& device_;
    ControlTarget& target_;
    ControlServer server_;
    std::atomic<bool> target_waiting_{false};
    std::atomic<bool> running_{false};
    bool input_refused_{};  ///< bytes wait in the driver's memory until the server wants them
};

}  // namespace hv::core::control
