// SPDX-License-Identifier: MIT
//
// What a module is shown of an exit, and what its answer changes.  Internal to the extension framework.
#pragma once

#include "hv/abi/hook_table.hpp"
#include "hv/core/emulate/decode.hpp"
#include "hv/core/hvm/exit.hpp"
#include "hv/core/hvm/system_registers.hpp"

namespace hv::core {

class Vcpu;

/// An exit as it is shown, and what the framework itself must know to carry an answer out.
struct Shown {
    abi::ExitFrame frame{};
    unsigned result_register{};  ///< of a read of a control or debug register
    bool repeats{};              ///< INS or OUTS: not one access
    emulate::Instruction status{};  ///< CLTS, LMSW or SMSW; else of no length
};

/// What is the same for every exit: registers, mode, privilege.
void describe_state(const Vcpu& vcpu, const ExecutionContext& context, abi::ExitFrame& frame);
/// False: nobody is shown this one.
bool describe(Vcpu& vcpu, const Exit& exit, Shown& shown);
/// True where the subscription is for such an exit.
[[nodiscard]] bool matches(const abi::ExitSubscription& wanted, const abi::ExitFrame& frame);
/// What the module left in the frame is the guest's; RIP is the caller's.  False: the guest has got a fault instead.
bool take_answer(Vcpu& vcpu, const Exit& exit, const Shown& shown, const abi::ExitFrame& answer);

}  // namespace hv::core
