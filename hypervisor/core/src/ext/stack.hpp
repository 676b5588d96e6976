// SPDX-License-Identifier: MIT
//
// What a domain's ExtensionStack is made of, and the parts of its dispatch that lie in files of their own.
#pragma once

#include "binding.hpp"

namespace hv::core {

struct ExtensionStack::Implementation {
    static constexpr std::size_t maximum_bindings{8};

    WindowMap windows{};
    StaticVector<Binding*, maximum_bindings> bindings{};
    Spinlock page_lock{};  ///< of all bindings' GuestPages
    Spinlock hold_lock{};  ///< whether a VCPU is held, and the scheduler's knowledge of it, change together
    bool frozen{};         ///< freeze() was called last
};

// ---- declared answers (answer.cpp)
// ------------------------------------------------------------------------------

Answered answer_read(VcpuBinding& vcpu, const MsrReadAnswer& answer, std::uint64_t& value);
/// `value` has no bit that may not be written.
Answered answer_write(Vcpu& vcpu, abi::MsrWriteKind kind, std::uint64_t value);
[[nodiscard]] std::uint32_t read_field(const Vcpu& vcpu, abi::VcpuField field);

// ---- blocking (block.cpp)
// ---------------------------------------------------------------------------------------

/// Carries out a `block` verdict as vcpu_block has arranged it.
void block_vcpu(VcpuBinding& vcpu);
/// A kick, or the deadline, ends the block.
void wake_vcpu(VcpuBinding& vcpu);
/// Blocker::extension is set while a module holds the VCPU, for whatever reason and however often.
void update_hold(Vcpu& vcpu);

// ---- hypercalls (hypercall.cpp)
// ---------------------------------------------------------------------------------

/// hypercall_continue of a call that gave way.  Called before an entry.
void continue_hypercall(VcpuBinding& vcpu);

}  // namespace hv::core
