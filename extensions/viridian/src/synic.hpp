// SPDX-License-Identifier: MIT
//
// The synthetic interrupt controller of one VCPU, as its other parts see it: messages that wait for their slots.  All functions are
// called from hooks of that VCPU. Specification: [TLFS-6.0b §11].
#pragma once

#include "viridian.hpp"

namespace hv::viridian {

/// All sources masked, everything else off; pages are given back.
void reset_synic(Viridian::Vcpu& vcpu);

/// Queues the message of a timer, and delivers it where its slot is empty.  `expiration` is a count of the reference counter.
/// False: it is lost, as nothing is queued while the controller is disabled, or the one before still waits.
bool post_timer_message(Viridian::Vcpu& vcpu, std::uint32_t timer, std::uint64_t expiration);

/// What waits for any slot is delivered as far as there is room.
void deliver_all(Viridian::Vcpu& vcpu);
/// The interrupt of a source that is neither masked nor polled.
void interrupt_by_sint(const Viridian::Vcpu& vcpu, std::uint32_t sint);

/// All timers stopped, their registers zero.
void reset_stimers(Viridian::Vcpu& vcpu);

}  // namespace hv::viridian
