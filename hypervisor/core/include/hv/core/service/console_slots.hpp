// SPDX-License-Identifier: MIT
//
// The console slots of the control domain: slot N is port N of the virtio console, named graft.console.N, with the console
// of one domain behind it.  A slot outlives its domain until the control domain has read the last byte.
#pragma once

#include <array>
#include <cstdint>

#include "hv/base/expected.hpp"
#include "hv/core/control/console_stream.hpp"
#include "hv/core/domain/domain.hpp"
#include "hv/core/memory/heap.hpp"
#include "hv/protocol/control.hpp"

namespace hv::core::service {

/// Within ControlService::run() alone.
class ConsoleSlots final : private control::ConsoleOwner {
public:
    ConsoleSlots(virtio::ConsoleDevice& device, Heap& heap) : device_{device}, heap_{heap} {}

    /// Gives the domain a slot and opens its port.  Fails with limit_reached (all slots are in use) or no_memory.
    Status attach(Domain& domain);
    /// The domain goes away; its port closes when what it wrote has been read.
    void detach(Domain& domain);
    /// A slot that changed hands since the last call; false: none.
    bool next_changed(protocol::ConsoleChangedEvent& event);

private:
    struct Slot {
        control::ConsoleStream* stream;
        std::uint32_t domain;
        bool changed;
    };
    void console_released(control::ConsoleStream& stream) override;

    virtio::ConsoleDevice& device_;
    Heap& heap_;
    std::array<Slot, protocol::maximum_consoles + 1> slots_{};
};

}  // namespace hv::core::service
