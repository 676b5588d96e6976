// SPDX-License-Identifier: MIT
//
// The guest's own page tables, walked by the hypervisor: from a guest-linear to a guest-physical address, with the page
// fault that the processor would raise.  Legacy, PAE and four-level paging; five levels are not offered to guests.
// Specification: [SDM3-083 §4.3, §4.4, §4.5, §4.7], [APM2-3.41 §5.2, §5.3].
#pragma once

#include <cstdint>
#include <optional>

#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/hvm/system_registers.hpp"
#include "hv/core/memory/guest_memory.hpp"

namespace hv::core {

/// What the access is, as in the error code of a page fault [SDM3-083 §4.7].
struct LinearAccess {
    bool write{};
    bool user{};
    bool execute{};
};

/// One paging-structure entry that a walk read, and where.
struct WalkStep {
    const std::byte* entry{};  ///< in the hypervisor's view; see GuestMemory::page for how long it is valid
    std::uint64_t value{};     ///< with the accessed and dirty bits cleared
};

struct LinearTranslation {
    GuestPhysical address{};
    std::uint8_t levels{};       ///< steps that are filled in; 0 without paging
    std::uint8_t entry_bytes{};  ///< 4 or 8
    std::uint8_t first_marked{};  ///< the first step with an accessed bit: PAE's topmost entries have none
    WalkStep steps[4]{};
};

struct PageFault {
    std::uint32_t error_code;
};

/// A translation or the page fault's error code.
class WalkResult {
public:
    WalkResult(const LinearTranslation& translation) : translation_{translation} {}
    WalkResult(PageFault fault) : fault_{fault} {}
    [[nodiscard]] explicit operator bool() const { return !fault_.has_value(); }
    [[nodiscard]] const LinearTranslation& operator*() const { return translation_; }
    [[nodiscard]] const LinearTranslation* operator->() const { return &translation_; }
    [[nodiscard]] std::uint32_t error_code() const { return fault_->error_code; }

private:
    LinearTranslation translation_{};
    std::optional<PageFault> fault_{};
};

/// Reads, but does not set, accessed and dirty bits.  An entry that lies outside the guest's RAM counts as not present.
[[nodiscard]] WalkResult walk_guest_tables(const GuestMemory& memory, const ExecutionContext& context,
                                           GuestLinear address, LinearAccess access);

/// Sets the accessed bits of a walk, and the dirty bit of its last step for a write, as the processor would.
void mark_accessed(const LinearTranslation& translation, bool write);

}  // namespace hv::core
