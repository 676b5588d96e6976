// SPDX-License-Identifier: MIT
//
// The device's pass and the server's slice in turn, and the wakes between the two.
#include "hv/core/control/service.hpp"

namespace hv::core::control {

std::size_t ControlService::take(std::span<const std::byte> bytes)
{
    const std::size_t taken{server_.receive(bytes)};
    input_refused_ = taken < bytes.size();
    return taken;
}

bool ControlService::run()
{
    if (running_.exchange(true))
        return false;
    bool more{device_.service()};
    if (target_waiting_.exchange(false))
        target_.carry_out_requests();
    if (server_.needs_step()) {
        more |= server_.step();
        if (server_.has_output())
            device_.wake(control_port);
    }
    if (input_refused_ && server_.wants_input()) {
        input_refused_ = false;
        device_.wake(control_port);
    }
    running_.store(false);
    // Whoever came meanwhile went away again: what it came for is seen here.
    return more || device_.needs_service() || server_.needs_step() || target_waiting_.load();
}

void ControlService::events_waiting()
{
    server_.events_waiting();
    device_.wake(control_port);
}

}  // namespace hv::core::control
