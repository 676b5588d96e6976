// SPDX-License-Identifier: MIT
//
// The SVM back end: fills the HVM function table.  hypervisor/main calls find_backend once; all else goes
// through the table.
#pragma once

#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/hvm/backend.hpp"
#include "hv/core/memory/frame_allocator.hpp"
#include "hv/core/memory/ledger.hpp"

namespace hv::svm {

/// The table for this machine's processors; asked on the boot processor.  What a processor needs for itself
/// is charged to `ledger`; what a VCPU needs, to its own.  Both arguments live for ever.  Fails with
/// not_supported where SVM or nested paging is missing, or no_memory; `why` then holds one sentence.
Expected<const core::HvmTable*> find_backend(core::FrameAllocator& frames, core::Ledger& ledger,
                                             TextWriter& why);

}  // namespace hv::svm
