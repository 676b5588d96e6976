// SPDX-License-Identifier: MIT
//
// Memory for tests of page tables: a frame allocator over ordinary memory, in which a host-physical address
// is the pointer's own value.
#pragma once

#include <cstdint>

#include "hv/core/hvm/backend.hpp"
#include "hv/core/memory/frame_allocator.hpp"

namespace hv::test {

/// Frames for a test.  After a test that gave everything back, free_frames() is what it was.
class IdentityMemory {
public:
    explicit IdentityMemory(std::uint64_t frames);
    ~IdentityMemory();
    IdentityMemory(const IdentityMemory&) = delete;
    IdentityMemory& operator=(const IdentityMemory&) = delete;

    core::FrameAllocator frames;
    core::Ledger ledger;

private:
    void* memory_;
};

/// Entries as AMD's nested tables have them [APM2-3.41 §15.25.5].
inline constexpr core::NestedEntryFormat amd_format{.table = 0x27,
                                                    .leaf = 0x65,
                                                    .read = 0,
                                                    .write = 0x2,
                                                    .execute = 0,
                                                    .deny_execute = 1ull << 63,
                                                    .large = 0x80,
                                                    .address_mask = 0x000f'ffff'ffff'f000};
/// Entries as Intel's extended page tables have them [SDM3-083 §29.3.2]: one bit for each right.
inline constexpr core::NestedEntryFormat intel_format{.table = 0x7,
                                                      .leaf = 6 << 3,
                                                      .read = 0x1,
                                                      .write = 0x2,
                                                      .execute = 0x4,
                                                      .deny_execute = 0,
                                                      .large = 0x80,
                                                      .address_mask = 0x000f'ffff'ffff'f000};

}  // namespace hv::test
