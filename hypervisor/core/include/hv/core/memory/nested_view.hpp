// SPDX-License-Identifier: MIT
//
// A domain's nested table as one VCPU has it whose local APIC lies where the others have memory: the same
// translations but for one page, which is a hole.  Of the tables only the four on the way to the hole are its
// own; they follow every change of the map's.
#pragma once

#include <cstddef>

#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/memory/nested_map.hpp"

namespace hv::core {

/// One VCPU's.  The map outlives it.
class NestedView {
public:
    explicit NestedView(NestedMap& map) : map_{map} {}
    ~NestedView() { close(); }
    NestedView(const NestedView&) = delete;
    NestedView& operator=(const NestedView&) = delete;

    // By the processor that runs the VCPU, while that is outside of the guest.  Before it is in the guest
    // again the back end is told root(), and flushes.
    /// Makes the page a hole until close(); one that was made before ends.  Below
    /// NestedMap::address_space_bytes.  Fails as FrameAllocator::allocate() does, having changed nothing;
    /// never where the view is open already.
    Status open(GuestPhysical hole);
    void close();

    [[nodiscard]] bool is_open() const { return tables_[0] != HostPhysical{}; }
    /// Where the VCPU's nested translations begin: in the view's own tables, or in the map's.
    [[nodiscard]] HostPhysical root() const { return is_open() ? tables_[depth - 1] : map_.root(); }

private:
    friend class NestedMap;
    static constexpr std::size_t depth{4};

    /// Takes over what the map has now.  Under the map's lock.
    void follow();

    NestedMap& map_;
    GuestPhysical hole_{};
    HostPhysical tables_[depth]{};  ///< by level, from 1; all or none
    NestedView* next_{};            ///< of the map's open ones
};

}  // namespace hv::core
