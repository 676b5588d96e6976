// SPDX-License-Identifier: MIT
//
// The console ports of the control domain: slot N is port N of the virtio console, named graft.console.N, with the console
// of one domain behind it.  A slot outlives its domain until the control domain has read the last byte.
#pragma once

#include <array>
#include <cstdint>

#include "hv/base/expected.hpp"
#include "hv/core/domain/domain.hpp"
#include "hv/core/sync/spinlock.hpp"
#include "hv/core/virtio/console_device.hpp"
#include "hv/protocol/control.hpp"

namespace hv::core::service {

class ConsolePorts {
public:
    explicit ConsolePorts(virtio::ConsoleDevice& device);

    /// Gives the domain a slot and opens its port.  limit_reached: all slots are in use.  By the control server.
    Expected<std::uint32_t> attach(Domain& domain);
    /// The domain goes away: what it wrote last moves to the port, which closes when that has been read.
    void detach(Domain& domain);
    /// A domain wrote, or took input away: its port looks.  Any processor.
    void wake(std::uint32_t slot);
    /// A slot that changed hands since the last call; false: none.
    bool next_changed(protocol::ConsoleChangedEvent& event);

private:
    class Slot final : public virtio::PortBackend {
    public:
        std::size_t take(std::span<const std::byte> bytes) override;
        std::size_t give(std::span<std::byte> room) override;
        void opened() override {}
        void closed() override {}
        void released() override;

        ConsolePorts* ports{};
        std::uint32_t number{};
        bool in_use{};                     ///< until released()
        bool changed{};
        Domain* domain{};                  ///< null once it is gone
        ByteRing<Console::output_bytes> rest{};  ///< what a domain that is gone had written last
        Spinlock lock{};
    };

    virtio::ConsoleDevice& device_;
    std::array<Slot, protocol::maximum_consoles + 1> slots_{};
};

}  // namespace hv::core::service
