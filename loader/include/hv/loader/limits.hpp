// SPDX-License-Identifier: MIT
//
// What the loader accepts at most, and why.  A limit here keeps the work on a hostile file small and the
// tables that describe it inside fixed storage; our own modules stay below a tenth of each.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hv::loader {

/// The file: it is held in hypervisor memory as long as the module is loaded.
inline constexpr std::uint64_t maximum_file_bytes{4 * 1024 * 1024};
/// Sections: module.ld makes about fifteen; a module linked without it has one for each inline function.
inline constexpr std::size_t maximum_sections{96};
/// Symbols and relocations: each is visited once or a few times, with the time of a guest's processor.
inline constexpr std::uint64_t maximum_symbols{16384};
inline constexpr std::uint64_t maximum_relocations{65536};
/// The placed image: paid for by every instance; also keeps all PC-relative distances far below 2 GiB.
inline constexpr std::uint64_t maximum_image_bytes{2 * 1024 * 1024};
/// Alignment of a section: a page, since pages are what regions are made of.
inline constexpr std::uint64_t maximum_alignment{4096};

/// What a manifest may name.
inline constexpr std::uint32_t maximum_windows{16};
inline constexpr std::uint32_t maximum_parameters{64};
inline constexpr std::uint32_t maximum_counters{32};
inline constexpr std::uint32_t maximum_declared{256};
inline constexpr std::uint32_t maximum_exits{64};
inline constexpr std::uint32_t maximum_hypercall_pages{4};
/// A service table of a later ABI may be longer than ours; this much longer it is an error.
inline constexpr std::uint32_t maximum_host_table_bytes{16384};
/// State blocks: one of each VCPU is copied after a hook that changed it.
inline constexpr std::uint32_t maximum_domain_state{65536};
inline constexpr std::uint32_t maximum_vcpu_state{16384};

}  // namespace hv::loader
