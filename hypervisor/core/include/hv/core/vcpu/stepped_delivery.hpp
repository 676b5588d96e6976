// SPDX-License-Identifier: MIT
//
// The delivery of one event of a guest, up to the first instruction of its handler and no further: the VCPU runs on the barred
// root of its view, where nothing can be executed, so that it comes back as it fetches that instruction.  Nothing of it can be
// seen by the guest: RFLAGS.TF is not used.  INT n, INT3 and INTO are such deliveries, too: the event that they are is injected.
// A part of single_step.hpp; called by the processor that runs the VCPU.
#pragma once

#include <cstdint>

namespace hv::core {

class Vcpu;

struct SteppedDelivery {
    bool armed{};      ///< the guest was entered so
    bool by_software{};  ///< the event is an instruction's, whose end RIP was set to
    std::uint64_t rip{};  ///< as it was entered
    std::uint64_t rsp{};
    std::uint64_t instruction{};  ///< RIP of the instruction
};

/// The last thing before an entry that delivers the queued event.
void arm_delivery(Vcpu& vcpu);
/// The same for the software interrupt that the next instruction is, of so many bytes.
void arm_software_interrupt(Vcpu& vcpu, std::uint8_t vector, std::uint8_t length);

enum class DeliveryEnd : std::uint8_t {
    cut_short,   ///< the exit interrupted the delivery, which is to come once more
    elsewhere,   ///< it is over, and the exit has a reason of its own
    at_handler,  ///< it is over, which is all that the exit tells
};
/// The first thing after the exit.
[[nodiscard]] DeliveryEnd finish_delivery(Vcpu& vcpu);

}  // namespace hv::core
