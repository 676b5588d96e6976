// SPDX-License-Identifier: MIT
//
// The end: says what happened on the console, with registers, a backtrace with names and the processor, then
// stops every processor.  Takes no lock it cannot get, allocates nothing, trusts no pointer it has not
// checked.
#pragma once

#include <cstdint>
#include <string_view>

#include "hv/arch/x86/cpu/interrupts.hpp"

namespace hv::x86 {

/// An exception that nobody expected.
[[noreturn]] void panic_on_exception(const InterruptFrame& frame);

/// The machine cannot run Graft, or was told something wrong: one sentence, no registers, all processors
/// stopped.
[[noreturn]] void refuse_to_run(std::string_view sentence);

/// `name+0x12` of a code address, or nothing when it is not in the image's text.
struct SymbolName {
    std::string_view name;
    std::uint64_t offset;
};
[[nodiscard]] SymbolName find_symbol(std::uint64_t address);

}  // namespace hv::x86
