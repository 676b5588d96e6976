// SPDX-License-Identifier: MIT
//
// The RAM of one domain: blocks of frames, bought when the domain is made, zeroed and entered into the nested table a
// large page at a time when the guest (or its builder) first touches them.  So a domain never finds that its memory is
// not there, and making a large one takes no long breath.
#pragma once

#include <cstdint>
#include <span>

#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/memory/frame_allocator.hpp"
#include "hv/core/memory/guest_memory.hpp"
#include "hv/core/memory/heap.hpp"
#include "hv/core/memory/nested_map.hpp"
#include "hv/core/sync/spinlock.hpp"

namespace hv::core {

class DomainMemory final : public Populator {
public:
    /// All outlive this.  Frames are charged to the heap's ledger.
    DomainMemory(FrameAllocator& frames, Heap& heap, const NestedEntryFormat& format, bool gigabyte_pages);
    ~DomainMemory();
    DomainMemory(const DomainMemory&) = delete;
    DomainMemory& operator=(const DomainMemory&) = delete;

    /// Buys `bytes` of RAM: from guest-physical 0 up to `hole.begin`, the rest from the hole's end on.  Once.  Fails with
    /// no_memory or invalid_argument (not whole pages), holding nothing then but the root table.
    Status create(std::uint64_t bytes, GuestRange hole);

    bool populate(GuestPhysical address) override;
    /// True when `address` is RAM of the guest, populated or not.
    [[nodiscard]] bool is_ram(GuestPhysical address) const { return block_of(address) != nullptr; }
    /// True when all of the range is.
    [[nodiscard]] bool is_ram(GuestPhysical address, std::uint64_t length) const;
    /// The RAM page of `address` itself, whatever the nested table shows there now (an overlay may hide it); populated
    /// first.  not_found: it is not RAM.
    Expected<HostPhysical> ram_page(GuestPhysical address);

    [[nodiscard]] NestedMap& map() { return map_; }
    [[nodiscard]] const GuestMemory& guest() const { return guest_; }
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

private:
    struct Block {
        std::uint64_t guest;
        HostPhysical host;
        std::uint64_t bytes;
    };
    /// What of a block one populate() enters: a large page.
    static constexpr std::uint64_t portion{2ull << 20};

    Status buy(std::uint64_t guest, std::uint64_t bytes);
    void give_back();
    [[nodiscard]] const Block* block_of(GuestPhysical address) const;

    FrameAllocator& frames_;
    Heap& heap_;
    NestedMap map_;
    GuestMemory guest_;
    Spinlock lock_;
    Block* blocks_{};
    std::size_t block_count_{};
    std::size_t block_capacity_{};
    std::uint64_t bytes_{};
};

}  // namespace hv::core
