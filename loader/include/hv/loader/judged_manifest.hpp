// SPDX-License-Identifier: MIT
//
// Stage 6's proof: the manifest and everything that it names, read as bytes of the file and found good.
// Pointers have become locations (section and offset), known from the relocations before anything has an
// address.
#pragma once

#include "hv/abi/manifest.hpp"
#include "hv/loader/image.hpp"
#include "hv/loader/names.hpp"

namespace hv::loader {

/// An array of const data, inside one read-only section and untouched by relocation: what the file has is
/// what it is.
struct ConstTable {
    Location at;
    std::uint32_t count{};
};

struct JudgedManifest {
    abi::Manifest manifest{};  ///< pointers null
    Location
        hook_targets[abi::hook_count]{};  ///< functions in text; section 0: the module does not have the hook
    Location host_table{};                ///< manifest.host_size bytes in .hv.host
    ConstTable windows, parameters, counters, leaves, msr_reads, msr_writes, exits;
};

}  // namespace hv::loader
