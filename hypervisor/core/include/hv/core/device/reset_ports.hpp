// SPDX-License-Identifier: MIT
//
// The two PC ports at which software resets the machine: the reset control register at 0xcf9 and the keyboard
// controller's command port 0x64.  There is no keyboard controller behind it.
#pragma once

#include <cstdint>

#include "hv/core/device/power_sink.hpp"
#include "hv/protocol/platform_layout.hpp"

namespace hv::core {

struct ResetPortsState {
    std::uint8_t control{};  ///< bits 1 and 3 of 0xcf9 as last written

    friend bool operator==(const ResetPortsState&, const ResetPortsState&) = default;
};

class ResetPorts {
public:
    explicit ResetPorts(PowerSink& sink) : sink_{sink} {}

    void reset()
    {
        auto& [control] = state_;
        control = 0;
    }

    /// 0x64 reads as a status that is never "input buffer full", so that a guest which waits for that before
    /// it writes the reset command does so at once, and always "output buffer full", so that a driver which
    /// drains the controller sees at once that there is none.
    [[nodiscard]] std::uint8_t read(std::uint16_t port) const
    {
        if (port == protocol::reset_port)
            return state_.control;
        return port == protocol::keyboard_controller_port ? no_controller : 0xff;
    }

    /// A write of 0xfe to 0x64 or of bit 2 to 0xcf9 asks for a reset; others have no effect.
    void write(std::uint16_t port, std::uint8_t value)
    {
        if (port == protocol::reset_port) {
            state_.control = value & kept;
            if ((value & reset_processor) != 0)
                sink_.reset_requested();
        } else if (port == protocol::keyboard_controller_port && value == pulse_reset_line) {
            sink_.reset_requested();
        }
    }

    [[nodiscard]] const ResetPortsState& save() const { return state_; }
    [[nodiscard]] bool restore(const ResetPortsState& state)
    {
        if ((state.control & ~kept) != 0)
            return false;
        state_ = state;
        return true;
    }

private:
    static constexpr std::uint8_t no_controller{0xfd};
    static constexpr std::uint8_t pulse_reset_line{0xfe};
    static constexpr std::uint8_t reset_processor{1 << 2};
    static constexpr std::uint8_t kept{1 << 1 | 1 << 3};

    PowerSink& sink_;
    ResetPortsState state_{};
};

}  // namespace hv::core
