// SPDX-License-Identifier: MIT
//
// What a domain's ExtensionStack is made of, and the parts of its dispatch that lie in files of their own.
#pragma once

#include <array>

#include "binding.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"

namespace hv::core {

/// What of a stack stays when what it is made of is replaced: its locks, its channels, and what its VCPUs exit for.
struct StackLocks {
    explicit StackLocks(Heap& heap) : control_channels{channels, heap, Channels::of_control_domain} {}

    Spinlock pages{};  ///< of all bindings' GuestPages
    ChannelBoard channels{};
    Channels control_channels;  ///< the control domain's ends
    InterceptPlan intercepts{};
    Spinlock holds{};  ///< whether a VCPU is held, and the scheduler's knowledge of it, change together
};

/// Everything that dispatch looks at.  A swap makes another and puts it in this one's place by one pointer,
/// while no VCPU of the domain runs: nobody ever sees parts of both.
struct ExtensionStack::Implementation {
    static constexpr std::size_t maximum_bindings{WindowPlan::maximum_modules};

    explicit Implementation(StackLocks& of) : locks{of} {}

    StackLocks& locks;
    WindowMap windows{};
    StaticVector<Binding*, maximum_bindings> bindings{};
    std::uint64_t generation{1};  ///< how often it was replaced, from 1
    bool frozen{};                ///< freeze() was called last

    // Until forget_replaced(): what the last swap put this in the place of, and the instances that it has no more use of.
    Implementation* before{};
    std::array<Binding*, 2> left_over{};
};

/// Nothing leads to the binding any more, but for its place in the stack (extension_stack.cpp).
void take_out(ExtensionStack::Implementation& own, Binding& binding);

/// The binding of the extension `name` of this domain, or null, and `why` says so.
Binding* find_binding(const Domain& domain, std::string_view name, TextWriter& why);

// ---- declared answers (answer.cpp)
// ------------------------------------------------------------------------------

/// What of the answers at a leaf's place is for this subleaf.
struct OfSubleaf {
    std::uint32_t subleaf;
    bool operator()(const LeafAnswer& one) const { return one.any_subleaf || one.subleaf == subleaf; }
};
Answered answer_read(VcpuBinding& vcpu, const MsrReadAnswer& answer, std::uint64_t& value);
/// MsrReadKind::scaled_time.
[[nodiscard]] inline std::uint64_t scaled_time(const Vcpu& vcpu, std::uint64_t multiplier, std::uint32_t shift, std::uint64_t addend)
{
    const std::uint64_t guest_ns = vcpu.domain.time.nanoseconds(platform::ticks());
    return static_cast<std::uint64_t>(static_cast<unsigned __int128>(guest_ns) * multiplier >> shift) + addend;
}
/// `value` has no bit that may not be written.
Answered answer_write(Vcpu& vcpu, abi::MsrWriteKind kind, std::uint64_t value);
/// MsrWriteKind::deadline, by the processor that runs the VCPU.  False, and nothing changes: the module is to be asked.
bool move_deadline(VcpuBinding& own, abi::DeadlinePlaces places, std::uint64_t value);
[[nodiscard]] inline std::uint32_t read_field(const Vcpu& vcpu, abi::VcpuField field)
{
    return field == abi::VcpuField::apic_id ? vcpu.apic.addressing().id : vcpu.id;
}

// ---- blocking (block.cpp)
// ---------------------------------------------------------------------------------------

/// Carries out a `block` verdict as vcpu_block has arranged it.
void block_vcpu(VcpuBinding& vcpu);
/// A kick, or the deadline, ends the block.
void wake_vcpu(VcpuBinding& vcpu);
/// Blocker::extension is set while a module holds the VCPU, for whatever reason and however often.
void update_hold(Vcpu& vcpu);

// ---- watched vectors (interrupt_watch.cpp)
// ---------------------------------------------------------------------------------

/// What the VCPU looks at, after what an instance watches has changed, or an instance has gone.  The VCPU stands still or is the
/// caller's own.
void renew_watched(Vcpu& vcpu);
/// The hooks that are due, before an entry.
void deliver_watched(VcpuBinding& own);

// ---- run states (run_states.cpp)
// ---------------------------------------------------------------------------------------

[[nodiscard]] bool hears_run_states(const Binding& binding);
/// After an instance that may hear of them has come, gone, failed or been swapped.
void renew_run_listeners(Domain& domain);
/// The hooks that are due, before an entry.
void deliver_run_states(VcpuBinding& own);

// ---- events (events.cpp)
// ----------------------------------------------------------------------------------------

/// freeze or thaw, where the module has it.  An instance that fails there owes it to the next.
void tell(Binding& binding, Hook hook);

// ---- hypercalls (hypercall.cpp)
// ---------------------------------------------------------------------------------

/// hypercall_continue of a call that gave way.  Called before an entry.
void continue_hypercall(VcpuBinding& vcpu);

}  // namespace hv::core
