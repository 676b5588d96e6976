// SPDX-License-Identifier: MIT
//
// The I/O APIC: pins, redirection entries and the register window [82093AA-1996 §3].
#include "hv/core/interrupt/io_apic.hpp"

namespace hv::core {

namespace {

constexpr std::uint64_t select_offset{0x00};
constexpr std::uint64_t window_offset{0x10};
constexpr std::uint64_t eoi_offset{0x40};
constexpr std::uint64_t window_page_mask{protocol::io_apic_bytes - 1};

constexpr std::uint32_t id_register{0x00};
constexpr std::uint32_t version_register{0x01};
constexpr std::uint32_t arbitration_register{0x02};
constexpr std::uint32_t first_entry_register{0x10};
constexpr std::uint32_t end_entry_register{first_entry_register + 2 * IoApic::pins};
using Id = Field<27, 24, std::uint32_t>;

/// Level-triggered is a matter of interrupts with a vector; NMI, SMI, INIT and ExtINT are edges whatever is
/// written.
bool is_level(std::uint64_t entry)
{
    const auto delivery = static_cast<DeliveryMode>(RedirectionEntry::Delivery::get(entry));
    return RedirectionEntry::Level::get(entry) &&
           (delivery == DeliveryMode::fixed || delivery == DeliveryMode::lowest_priority);
}

InterruptMessage message_of(std::uint64_t entry)
{
    return {.destination = widen_destination(RedirectionEntry::Destination::get(entry)),
            .vector = RedirectionEntry::Vector::get(entry),
            .delivery = static_cast<DeliveryMode>(RedirectionEntry::Delivery::get(entry)),
            .destination_mode = static_cast<DestinationMode>(RedirectionEntry::Logical::get(entry)),
            .trigger = is_level(entry) ? TriggerMode::level : TriggerMode::edge,
            .shorthand = DestinationShorthand::none};
}

}  // namespace

IoApic::IoApic(InterruptMessageSink& sink) : sink_{sink}
{
    reset();
}

/// Names every member of the state, so that a new one does not compile until it is handled here.  `lines` is
/// not touched: it belongs to the devices.
void IoApic::reset()
{
    auto& [index, id, entries, lines] = state_;
    index = 0;
    id = protocol::io_apic_id;
    entries.fill(RedirectionEntry::Masked::mask);
}

void IoApic::set_line(unsigned pin, bool level)
{
    if (pin >= pins)
        return;
    const std::uint32_t bit = 1u << pin;
    const bool rises = level && (state_.lines & bit) == 0;
    state_.lines = level ? state_.lines | bit : state_.lines & ~bit;
    const std::uint64_t entry = state_.entries[pin];
    if (is_level(entry))
        service_level(pin);
    else if (rises && !RedirectionEntry::Masked::get(entry))
        signal(pin);
}

void IoApic::signal(unsigned pin)
{
    std::uint64_t& entry = state_.entries[pin];
    const bool taken = sink_.deliver(message_of(entry));
    if (taken && is_level(entry))
        entry |= RedirectionEntry::RemoteIrr::mask;
}

/// Sends a level-triggered pin's message, unless it is masked, not asserted, or still being served.
void IoApic::service_level(unsigned pin)
{
    const std::uint64_t entry = state_.entries[pin];
    const bool asserted = ((state_.lines >> pin) & 1) != 0;
    if (asserted && is_level(entry) && !RedirectionEntry::Masked::get(entry) &&
        !RedirectionEntry::RemoteIrr::get(entry))
        signal(pin);
}

void IoApic::end_of_interrupt(std::uint8_t vector)
{
    for (unsigned pin = 0; pin < pins; ++pin) {
        std::uint64_t& entry = state_.entries[pin];
        if (!RedirectionEntry::RemoteIrr::get(entry) || RedirectionEntry::Vector::get(entry) != vector)
            continue;
        entry &= ~RedirectionEntry::RemoteIrr::mask;
        service_level(pin);
    }
}

std::uint64_t IoApic::read_mmio(std::uint64_t offset, unsigned bytes) const
{
    const std::uint64_t base = offset & window_page_mask & ~std::uint64_t{3};
    std::uint32_t value{};
    if (base == select_offset)
        value = state_.index;
    else if (base == window_offset)
        value = read_selected();
    const std::uint64_t shifted = value >> (offset % 4 * 8);
    return bytes >= 4 ? shifted : shifted & ((1ull << (bytes * 8)) - 1);
}

void IoApic::write_mmio(std::uint64_t offset, unsigned bytes, std::uint64_t value)
{
    const std::uint64_t where = offset & window_page_mask;
    if (where == select_offset)
        state_.index = static_cast<std::uint8_t>(value);
    else if (where == eoi_offset)
        end_of_interrupt(static_cast<std::uint8_t>(value));
    else if (where == window_offset && bytes >= 4)
        write_selected(static_cast<std::uint32_t>(value));
}

std::uint32_t IoApic::read_selected() const
{
    const std::uint32_t index = state_.index;
    if (index == id_register || index == arbitration_register)
        return static_cast<std::uint32_t>(Id::make(state_.id));
    if (index == version_register)
        return version;
    if (index < first_entry_register || index >= end_entry_register)
        return 0;
    return static_cast<std::uint32_t>(state_.entries[(index - first_entry_register) / 2] >> (index % 2 * 32));
}

void IoApic::write_selected(std::uint32_t value)
{
    const std::uint32_t index = state_.index;
    if (index == id_register)
        state_.id = Id::get(value);
    if (index < first_entry_register || index >= end_entry_register)
        return;
    const unsigned pin = (index - first_entry_register) / 2;
    const std::uint64_t before = state_.entries[pin];
    write_entry(pin, index % 2 == 0 ? (before & 0xffff'ffff'0000'0000) | value
                                    : (before & 0xffff'ffff) | std::uint64_t{value} << 32);
}

/// An entry made edge-triggered forgets its remote IRR: how software frees a pin without the EOI register.
void IoApic::write_entry(unsigned pin, std::uint64_t value)
{
    const std::uint64_t keeps = is_level(value) ? state_.entries[pin] & RedirectionEntry::RemoteIrr::mask : 0;
    state_.entries[pin] = (value & RedirectionEntry::writable) | keeps;
    service_level(pin);
}

bool IoApic::restore(const IoApicState& state)
{
    bool possible = state.index <= 0xff && state.id <= 0xf && state.lines >> pins == 0;
    for (const std::uint64_t entry : state.entries) {
        const std::uint64_t undefined =
            entry & ~(RedirectionEntry::writable | RedirectionEntry::RemoteIrr::mask);
        possible =
            possible && undefined == 0 && (is_level(entry) || !RedirectionEntry::RemoteIrr::get(entry));
    }
    if (possible)
        state_ = state;
    return possible;
}

}  // namespace hv::core
