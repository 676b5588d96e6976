// SPDX-License-Identifier: MIT
//
// Events on their way into a guest: injection, what becomes of an event whose delivery an exit interrupted,
// the interrupt window, NMI masking.  Pure.  Specification: [APM2-3.41 §15.20 (injection), §15.7.2, §15.21
// (virtual interrupts)].
#pragma once

#include <cstdint>

#include "hv/arch/x86/svm/vcpu_state.hpp"
#include "hv/core/hvm/backend.hpp"
#include "hv/x86/exceptions.hpp"

namespace hv::svm {

[[nodiscard]] std::uint64_t encode_event(const core::Event& event);
/// EVENTINJ for the next entry out of EXITINTINFO: the same event, but for software interrupts and INT3 and
/// INTO, which the guest executes again.
[[nodiscard]] std::uint64_t requeued_event(std::uint64_t exit_interrupt_info);

void inject_event(VcpuState& vcpu, const core::Event& event);
/// Queues an exception unless an interrupted event is queued, which then comes first and raises the exception
/// anew.
void queue_exception(VcpuState& vcpu, x86::Exception vector, std::uint32_t error_code);

/// HvmTable::cancel_exception.
void cancel_exception(VcpuState& vcpu);

[[nodiscard]] bool event_queued(const VcpuState& vcpu);
[[nodiscard]] bool interrupt_possible(const VcpuState& vcpu, std::uint64_t rflags);
[[nodiscard]] bool nmi_possible(const VcpuState& vcpu, std::uint64_t rip);

/// True while the guest's writes of CR8 must exit: an interrupt waits for one, or a subscriber.
[[nodiscard]] bool watches_task_priority(const VcpuState& vcpu);
/// 0 withdraws.
void set_interrupt_window(VcpuState& vcpu, std::uint8_t priority_class);
void set_task_priority(VcpuState& vcpu, std::uint8_t priority_class);
/// The intercepted IRET of an NMI handler: the next run carries it out.
void end_nmi(VcpuState& vcpu, std::uint64_t rip);

}  // namespace hv::svm
