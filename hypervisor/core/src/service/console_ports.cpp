// SPDX-License-Identifier: MIT
#include "hv/core/service/console_ports.hpp"

#include "hv/base/bounded_text.hpp"
#include "hv/core/domain/virtual_pc.hpp"

namespace hv::core::service {
namespace {

ConsolePorts* the_ports{};

void output_ready(std::uint32_t slot)
{
    if (slot != 0)
        the_ports->wake(slot);
}

}  // namespace

ConsolePorts::ConsolePorts(virtio::ConsoleDevice& device) : device_{device}
{
    the_ports = this;
    for (std::uint32_t number = 0; number < slots_.size(); ++number) {
        slots_[number].ports = this;
        slots_[number].number = number;
    }
}

Expected<std::uint32_t> ConsolePorts::attach(Domain& domain)
{
    for (std::uint32_t number = 1; number < slots_.size(); ++number) {
        Slot& slot = slots_[number];
        if (slot.in_use)
            continue;
        BoundedText<virtio::ConsoleDevice::maximum_port_name> name;
        say(name, "graft.console.", number);
        if (!device_.open_port(number, name.view(), slot))
            continue;
        LockGuard guard{slot.lock};
        slot.in_use = slot.changed = true;
        slot.domain = &domain;
        domain.console.slot = number;
        domain.console.output_ready = output_ready;
        return number;
    }
    return Error::limit_reached;
}

void ConsolePorts::detach(Domain& domain)
{
    const std::uint32_t number = domain.console.slot;
    if (number == 0)
        return;
    Slot& slot = slots_[number];
    {
        LockGuard guard{slot.lock};
        std::array<std::byte, 256> piece;
        while (const std::size_t bytes = domain.console.output.read(piece))
            slot.rest.write({piece.data(), bytes});
        slot.domain = nullptr;
        slot.changed = true;
        domain.console.slot = 0;
    }
    if (!device_.close_port(number))
        slot.released();
}

void ConsolePorts::wake(std::uint32_t slot) { device_.wake(slot); }

bool ConsolePorts::next_changed(protocol::ConsoleChangedEvent& event)
{
    for (Slot& slot : slots_) {
        if (!slot.changed)
            continue;
        LockGuard guard{slot.lock};
        slot.changed = false;
        event.slot = slot.number;
        event.domain = slot.domain == nullptr ? 0 : slot.domain->id;
        return true;
    }
    return false;
}

std::size_t ConsolePorts::Slot::take(std::span<const std::byte> bytes)
{
    LockGuard guard{lock};
    if (domain == nullptr)
        return bytes.size();  // nobody is there any more to read what was typed
    const std::size_t taken = domain->console.input.write(bytes);
    if (taken != 0)
        domain->pc->console_changed();
    return taken;
}

std::size_t ConsolePorts::Slot::give(std::span<std::byte> room)
{
    LockGuard guard{lock};
    if (domain == nullptr)
        return rest.read(room);
    const bool was_full = domain->console.output.full();
    const std::size_t given = domain->console.output.read(room);
    if (was_full && given != 0)
        domain->pc->console_changed();
    return given;
}

void ConsolePorts::Slot::released()
{
    LockGuard guard{lock};
    rest.clear();
    in_use = false;
}

}  // namespace hv::core::service
