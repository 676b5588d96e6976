// SPDX-License-Identifier: MIT
//
// An instance's state on its way out and into another instance: the framework's own records of the state
// blocks and open continuations, and those of the module's export_state and import_state.
#pragma once

#include "binding.hpp"
#include "state_stream.hpp"

namespace hv::core {

/// Whether the records of an open call are part of the stream: a swap hands the call itself over.
enum class Continuations : bool { leave_out, put_in };

/// All records of the binding.  Blocks as of the last hook that returned well.  Fails with limit_reached, or
/// as export_state refuses.
Status export_state(Binding& binding, StateWriter& writer, Continuations continuations, TextWriter& why);
/// The blocks alone, which an instance that has failed has too.  Fails with limit_reached.
Status export_blocks(Binding& binding, StateWriter& writer, TextWriter& why);
/// Room that is enough for what `binding` exports.
[[nodiscard]] std::size_t export_bytes(const Binding& binding);

/// Fills the blocks of a fresh instance from records, then calls domain_create (start_import) and
/// import_state.  A block of the instance's own version and size is the framework's to copy; one of another is
/// import_state's, and without that hook the instance cannot read it, nor do without one of its blocks.  Fails with malformed, abi_mismatch or as
/// the module refuses, and a sentence in `why`.
Status import_state(Binding& fresh, std::span<const std::byte> records, TextWriter& why);
/// The VCPUs' blocks alone, anew, into an instance that has imported records whose others are the same.
Status import_vcpu_blocks(Binding& fresh, std::span<const std::byte> records, TextWriter& why);

}  // namespace hv::core
