// SPDX-License-Identifier: MIT
//
// The instructions on CR0 that are not MOVs: CLTS, LMSW and SMSW.  They exit only where somebody wants to see accesses to CR0.
// Specification: [APM3-3.35 "CLTS", "LMSW", "SMSW"].
#pragma once

#include <cstdint>

#include "hv/base/expected.hpp"
#include "hv/core/emulate/decode.hpp"
#include "hv/core/hvm/system_registers.hpp"

namespace hv::core {

class Vcpu;

enum class StatusInstruction : std::uint8_t { none, clear_task_switched, load, store };

[[nodiscard]] StatusInstruction status_instruction(const emulate::Instruction& instruction);

/// SMSW is everybody's unless UMIP says otherwise, the others are for CPL 0 [APM3-3.35 "SMSW"].
[[nodiscard]] bool is_permitted(const ExecutionContext& context, StatusInstruction which);
/// What CLTS or LMSW would make of CR0; not_found: its operand cannot be read just so, nothing has happened.
Expected<std::uint64_t> new_control_0(Vcpu& vcpu, const ExecutionContext& context, const emulate::Instruction& instruction);
/// SMSW's way of `value`.  False: the guest has got a fault instead.
bool store_status(Vcpu& vcpu, const ExecutionContext& context, const emulate::Instruction& instruction, std::uint64_t value);

/// Carries the instruction out, or raises what it raises.
void handle_status_instruction(Vcpu& vcpu, const ExecutionContext& context, const emulate::Instruction& instruction);

}  // namespace hv::core
