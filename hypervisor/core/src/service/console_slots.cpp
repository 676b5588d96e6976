// SPDX-License-Identifier: MIT
#include "hv/core/service/console_slots.hpp"

#include "hv/core/domain/virtual_pc.hpp"

namespace hv::core::service {

Status ConsoleSlots::attach(Domain& domain)
{
    for (std::uint32_t number = 1; number < slots_.size(); ++number) {
        Slot& slot = slots_[number];
        if (slot.stream != nullptr)
            continue;
        auto stream = HV_TRY(make<control::ConsoleStream>(heap_, device_, number, static_cast<control::ConsoleOwner&>(*this)));
        if (!stream->open())
            continue;
        slot = {stream.leak(), domain.id, true};
        domain.console.attach(slot.stream);
        slot.stream->listen(domain.pc->console_listener());
        return Done{};
    }
    return Error::limit_reached;
}

void ConsoleSlots::detach(Domain& domain)
{
    control::ConsoleStream* const stream = domain.console.stream();
    if (stream == nullptr)
        return;
    Slot& slot = slots_[stream->slot()];
    slot.domain = 0;
    slot.changed = true;
    stream->listen(nullptr);
    domain.console.attach(nullptr);
    stream->close();
}

bool ConsoleSlots::next_changed(protocol::ConsoleChangedEvent& event)
{
    for (std::uint32_t number = 1; number < slots_.size(); ++number)
        if (slots_[number].changed) {
            slots_[number].changed = false;
            event = {number, slots_[number].domain};
            return true;
        }
    return false;
}

void ConsoleSlots::console_released(control::ConsoleStream& stream)
{
    slots_[stream.slot()].stream = nullptr;
    core::destroy(heap_, &stream);
}

}  // namespace hv::core::service
