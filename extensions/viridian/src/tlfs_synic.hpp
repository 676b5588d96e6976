// SPDX-License-Identifier: MIT
//
// The synthetic interrupt controller and the synthetic timers: their registers' bits, and a message as it lies in its slot.
// Definitions alone.  Of the header the specification draws the size in the last byte; every hypervisor and guest in use has it
// before the flags, and so has this one. Specification: [TLFS-6.0b §11.5 to §11.10, §12.3, §12.4].
#pragma once

#include <cstddef>

#include "hv/base/field.hpp"

namespace hv::viridian::tlfs {

inline constexpr std::uint32_t sint_count{16};
inline constexpr std::uint32_t stimer_count{4};

/// HV_X64_MSR_SCONTROL.
struct SynicControl {
    using Enable = Bit<0>;
    static constexpr std::uint64_t defined{Enable::mask};
};
inline constexpr std::uint64_t synic_version{1};

/// HV_X64_MSR_SINT0 to SINT15.
struct SintRegister {
    using Vector = Field<7, 0, std::uint8_t>;
    using Masked = Bit<16>;
    using AutoEoi = Bit<17>;
    using Polling = Bit<18>;
    static constexpr std::uint64_t defined{Vector::mask | Masked::mask | AutoEoi::mask | Polling::mask};
    static constexpr std::uint64_t at_reset{Masked::mask};
};
static_assert(SintRegister::defined == 0x7'00ff && SintRegister::at_reset == 0x1'0000);
inline constexpr std::uint32_t lowest_vector{16};

/// HV_X64_MSR_STIMER0_CONFIG to STIMER3_CONFIG.
struct TimerConfig {
    using Enable = Bit<0>;
    using Periodic = Bit<1>;
    using Lazy = Bit<2>;
    using AutoEnable = Bit<3>;
    using ApicVector = Field<11, 4, std::uint8_t>;
    using DirectMode = Bit<12>;
    using Sint = Field<19, 16, std::uint8_t>;
    static constexpr std::uint64_t defined{Enable::mask | Periodic::mask | Lazy::mask | AutoEnable::mask |
                                           ApicVector::mask | DirectMode::mask | Sint::mask};
};
static_assert(TimerConfig::defined == 0xf'1fff);

/// HV_MESSAGE: 256 bytes, one slot for each SINT in the page of messages.
inline constexpr std::uint32_t message_bytes{256};
inline constexpr std::uint32_t message_none{0};
inline constexpr std::uint32_t message_of_the_hypervisor{0x8000'0000};  ///< a bit of the type that no guest's message has
inline constexpr std::uint32_t event_flags{2048};  ///< of each SINT, in the page of event flags
inline constexpr std::uint32_t message_timer_expired{0x8000'0010};
inline constexpr std::uint8_t message_pending{1};  ///< of the flags

struct MessageHeader {
    std::uint32_t type;
    std::uint8_t payload_bytes;
    std::uint8_t flags;
    std::uint16_t reserved;
    std::uint64_t origin;
};
static_assert(offsetof(MessageHeader, payload_bytes) == 4 && offsetof(MessageHeader, flags) == 5 &&
              offsetof(MessageHeader, origin) == 8 && sizeof(MessageHeader) == 16);

/// A message that was posted to a port.
struct PortMessage {
    MessageHeader header;
    std::uint8_t payload[message_bytes - sizeof(MessageHeader)];
};
static_assert(sizeof(PortMessage) == message_bytes);

/// HV_TIMER_MESSAGE_PAYLOAD; times are counts of the reference counter.
struct TimerMessage {
    MessageHeader header;
    std::uint32_t timer;
    std::uint32_t reserved;
    std::uint64_t expiration;
    std::uint64_t delivery;
};
static_assert(offsetof(TimerMessage, timer) == 16 && offsetof(TimerMessage, expiration) == 24 &&
              offsetof(TimerMessage, delivery) == 32 && sizeof(TimerMessage) == 40);

}  // namespace hv::viridian::tlfs
