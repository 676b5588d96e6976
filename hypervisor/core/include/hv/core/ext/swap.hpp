// SPDX-License-Identifier: MIT
//
// Hot swap: the instance of one binding gives way to an instance of another module while the guest goes on.
// What the guest was given stays: handles, overlays, hypercall pages, timers, open calls, its time.  Called by
// the control server; only the VCPUs of that one domain stand still, and only from the export to the publish.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"

namespace hv::core {

class Domain;
class Module;

/// The steps of a swap, in order, numbered as in the control protocol; a test may have one fail.
enum class SwapStep : std::uint8_t {
    none,
    create,         ///< the new instance is placed
    offer,          ///< it offers what the guest was told
    trial_export,   ///< of a copy, while the guest runs
    trial_import,   ///< into a throw-away instance
    stop,           ///< no VCPU of the domain runs any more
    final_export,
    final_import,
    publish,        ///< the last step that can fail
};

struct SwapOptions {
    bool dry_run{};      ///< everything up to the trial import, and nothing stops
    /// An instance that fails within so many seconds gives its place back to the module before, if that was seen to
    /// read its records; 0: it does not.
    std::uint32_t probation_s{};
    SwapStep fail_at{};  ///< for tests: this step fails as if there were no memory
};

/// What a swap found and how long it took.  Host ticks.
struct SwapReport {
    std::uint64_t stop_began{};
    std::uint64_t stopped{};    ///< the last VCPU was out of the guest
    std::uint64_t published{};  ///< and the VCPUs were let go
    std::array<std::uint64_t, 64> left{};  ///< by VCPU: it was out of the guest
    std::uint64_t generation{};
    std::uint32_t armed_timers{};
    std::uint32_t overlays{};  ///< that the guest sees, hypercall pages among them
    std::uint32_t continuations{};
    bool reverts{};  ///< the new instance's records were seen to import into the old module
};

/// Swaps the instance of the module `old_name` in the domain's stack for one of `replacement`.  The guest may run when
/// this returns; the instance that was replaced is there until forget_replaced().  Fails with a
/// sentence in `why`: not_found, busy (the instance has failed), already_exists (another binding of the stack is of
/// that module), conflict (the domain does not run, other windows, or something that the guest was told is not offered), abi_mismatch (the records cannot be read), no_memory, or what the new module says.  The old
/// instance is then as it was.
Status swap_extension(Domain& domain, std::string_view old_name, Module& replacement, const SwapOptions& options,
                      SwapReport& report, TextWriter& why);

/// Gives back the instance that the last swap replaced, if it is still there: best once the VCPUs have gone on, since
/// it takes longer than the swap's stop.
void forget_replaced(Domain& domain);

/// The module that `name`'s binding had before its last swap, where it can go back to it; else null and why.
Module* module_before(Domain& domain, std::string_view name, TextWriter& why);

/// When the VCPU went on after the last publish, or 0: not yet.  A VCPU that is kept from running for another
/// reason is not waited for: ~0.
std::uint64_t resumed_at(Domain& domain, unsigned vcpu);

/// The state of a binding as records of hv/abi/state_record.hpp, continuations and the module's own among
/// them.  Returns the bytes written.  Fails with not_found, limit_reached (more than the room) or what the
/// module's export_state says.
Expected<std::size_t> export_extension(Domain& domain, std::string_view name, std::span<std::byte> room,
                                       TextWriter& why);

}  // namespace hv::core
