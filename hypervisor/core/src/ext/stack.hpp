// SPDX-License-Identifier: MIT
//
// What a domain's ExtensionStack is made of, and the parts of its dispatch that lie in files of their own.
#pragma once

#include "binding.hpp"

namespace hv::core {

/// The locks of a stack, which stay when what it is made of is replaced.
struct StackLocks {
    Spinlock pages{};  ///< of all bindings' GuestPages
    Spinlock holds{};  ///< whether a VCPU is held, and the scheduler's knowledge of it, change together
};

/// Everything that dispatch looks at.  A swap makes another and puts it in this one's place by one pointer,
/// while no VCPU of the domain runs: nobody ever sees parts of both.
struct ExtensionStack::Implementation {
    static constexpr std::size_t maximum_bindings{8};

    explicit Implementation(StackLocks& of) : locks{of} {}

    StackLocks& locks;
    WindowMap windows{};
    StaticVector<Binding*, maximum_bindings> bindings{};
    std::uint64_t generation{1};  ///< how often it was replaced, from 1
    bool frozen{};                ///< freeze() was called last
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
