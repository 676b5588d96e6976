// SPDX-License-Identifier: MIT
//
// An I/O APIC of 24 pins [82093AA-1996 §3], version 0x20: with the EOI register of later chipsets.  It turns
// lines into messages and knows no local APIC; who receives a message is the sink's business.
//
// The caller holds the domain's device lock.  A line's level is "asserted or not": a redirection entry's
// polarity is kept for the guest but inverts nothing, as in every virtual PC.
#pragma once

#include <array>
#include <cstdint>

#include "hv/base/field.hpp"
#include "hv/core/interrupt/interrupt_line.hpp"
#include "hv/core/interrupt/message.hpp"
#include "hv/protocol/platform_layout.hpp"

namespace hv::core {

/// Where an I/O APIC sends its messages.
class InterruptMessageSink {
public:
    /// True when at least one local APIC took it.  Must not call back into the sender.
    virtual bool deliver(const InterruptMessage& message) = 0;

protected:
    ~InterruptMessageSink() = default;
};

/// A redirection entry [82093AA-1996 §3.2.4].
struct RedirectionEntry {
    using Vector = Field<7, 0, std::uint8_t>;
    using Delivery = Field<10, 8, std::uint8_t>;
    using Logical = Bit<11>;
    using DeliveryStatus = Bit<12>;
    using Polarity = Bit<13>;
    using RemoteIrr = Bit<14>;
    using Level = Bit<15>;
    using Masked = Bit<16>;
    using Destination = Field<63, 56, std::uint8_t>;
    static constexpr std::uint64_t writable{Vector::mask | Delivery::mask | Logical::mask | Polarity::mask |
                                            Level::mask | Masked::mask | Destination::mask};
};

/// The whole state as plain data, for save and restore.
struct IoApicState {
    std::uint32_t index{};
    std::uint32_t id{protocol::io_apic_id};
    std::array<std::uint64_t, protocol::io_apic_pins> entries{};
    std::uint32_t lines{};  ///< bit n: pin n is asserted

    friend bool operator==(const IoApicState&, const IoApicState&) = default;
};

class IoApic final : public InterruptLine {
public:
    static constexpr unsigned pins{protocol::io_apic_pins};
    static constexpr std::uint32_t version{0x20 | (pins - 1) << 16};

    explicit IoApic(InterruptMessageSink& sink);

    /// Power-up state: every pin masked.  Lines keep the level that their devices gave them.
    void reset();
    /// `pin` below 24; others are not connected and ignored.
    void set_line(unsigned pin, bool level) override;
    /// A local APIC's EOI broadcast, or a write of the EOI register: level pins of that vector may interrupt
    /// again, and do at once while their line is asserted.
    void end_of_interrupt(std::uint8_t vector);

    /// The register window: select at 0, data at 0x10, EOI at 0x40.  Data is written in four or eight bytes
    /// only.
    [[nodiscard]] std::uint64_t read_mmio(std::uint64_t offset, unsigned bytes) const;
    void write_mmio(std::uint64_t offset, unsigned bytes, std::uint64_t value);

    [[nodiscard]] const IoApicState& save() const { return state_; }
    /// False, and nothing changed, when the state is one that no guest could have brought about.
    [[nodiscard]] bool restore(const IoApicState& state);

private:
    [[nodiscard]] std::uint32_t read_selected() const;
    void write_selected(std::uint32_t value);
    void write_entry(unsigned pin, std::uint64_t value);
    void signal(unsigned pin);
    void service_level(unsigned pin);

    InterruptMessageSink& sink_;
    IoApicState state_{};
};

}  // namespace hv::core
