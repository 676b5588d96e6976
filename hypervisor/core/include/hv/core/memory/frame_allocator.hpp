// SPDX-License-Identifier: MIT
//
// A buddy allocator of host frames.  It owns the ranges that it was given (zones) and hands out blocks of
// 2^order frames, aligned to their size; each block is charged to a ledger.  Bookkeeping is one record per
// frame, placed at the beginning of the zone.  Frames are handed out with whatever they held: the caller
// clears what another must not see.
#pragma once

#include <cstdint>
#include <utility>

#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/base/static_vector.hpp"
#include "hv/core/memory/ledger.hpp"
#include "hv/core/sync/spinlock.hpp"

namespace hv::core {

/// Blocks are at most 2^18 frames, 1 GiB: what one entry of the third page-table level maps.
inline constexpr unsigned maximum_order{18};

/// Frames in a block of that order.
constexpr std::uint64_t frames_of_order(unsigned order)
{
    return 1ull << order;
}
/// The smallest order whose block holds so many bytes; bytes is at most 1 GiB.
constexpr unsigned order_for_bytes(std::uint64_t bytes)
{
    unsigned order{0};
    while ((page_size << order) < bytes)
        ++order;
    return order;
}

class FrameAllocator {
public:
    FrameAllocator() = default;
    FrameAllocator(const FrameAllocator&) = delete;
    FrameAllocator& operator=(const FrameAllocator&) = delete;

    /// Adds RAM that nobody else uses; whole pages are taken from it, and a part of it for the records.  What
    /// is added is never taken back.  Fails with invalid_argument (too small to be of use) or limit_reached
    /// (too many zones); the range is then not used.  Ranges must be disjoint.
    Status add_range(HostRange range);

    /// A block of 2^order frames, charged to the ledger.  Fails with no_memory, limit_reached (the ledger's
    /// limit) or out_of_range (order); nothing is then changed.
    Expected<HostPhysical> allocate(unsigned order, Ledger& ledger);
    /// Gives back exactly a block that allocate() returned, of the same order and ledger; anything else is a
    /// bug and asserted: a block given back twice, one of another owner, an address that was never handed
    /// out.
    void release(HostPhysical block, unsigned order, Ledger& ledger);
    /// Moves a block from one owner to another.  Fails with limit_reached, and changes nothing then.
    Status transfer(HostPhysical block, unsigned order, Ledger& from, Ledger& to);

    /// The order under which `block` was handed out (asserts that it was).
    [[nodiscard]] unsigned order_of(HostPhysical block);

    [[nodiscard]] std::uint64_t free_frames();
    /// Frames that can be handed out altogether: free ones and those in use.
    [[nodiscard]] std::uint64_t total_frames();

private:
    enum class State : std::uint8_t {
        inside,
        free,
        used
    };

    /// What is known of a frame.  Only a block's first frame says more than `inside`.
    struct Record {
        std::uint32_t owner;
        std::uint8_t order;
        State state;
        std::uint16_t reserved;
    };
    static_assert(sizeof(Record) == 8);

    /// Lies at the beginning of a free block.
    struct FreeBlock {
        FreeBlock* previous;
        FreeBlock* next;
    };

    struct Zone {
        std::uint64_t first_frame;
        std::uint64_t frames;
        Record* records;
    };

    static constexpr std::size_t maximum_zones{64};

    [[nodiscard]] Zone* zone_of(std::uint64_t frame);
    [[nodiscard]] Record& record_of(std::uint64_t frame);
    [[nodiscard]] bool is_free_block(Zone& zone, std::uint64_t frame, unsigned order);
    Record& checked_used(HostPhysical block, unsigned order, const Ledger& ledger);
    void insert_free(Zone& zone, std::uint64_t frame, unsigned order);
    void remove_free(Record& record, std::uint64_t frame);
    void merge_and_insert(Zone& zone, std::uint64_t frame, unsigned order);
    Expected<std::uint64_t> take(unsigned order);

    Spinlock lock_;
    StaticVector<Zone, maximum_zones> zones_;
    FreeBlock* free_[maximum_order + 1]{};
    std::uint64_t free_frames_{};
    std::uint64_t total_frames_{};
};

/// A block of frames that gives itself back.
class OwnedFrames {
public:
    static Expected<OwnedFrames> allocate(FrameAllocator& allocator, unsigned order, Ledger& ledger)
    {
        const HostPhysical block = HV_TRY(allocator.allocate(order, ledger));
        return OwnedFrames{allocator, ledger, block, order};
    }
    OwnedFrames() = default;
    OwnedFrames(OwnedFrames&& other) noexcept { swap(other); }
    OwnedFrames& operator=(OwnedFrames&& other) noexcept
    {
        swap(other);
        return *this;
    }
    ~OwnedFrames()
    {
        if (allocator_ != nullptr)
            allocator_->release(address_, order_, *ledger_);
    }

    [[nodiscard]] explicit operator bool() const { return allocator_ != nullptr; }
    [[nodiscard]] HostPhysical address() const { return address_; }
    [[nodiscard]] std::uint64_t bytes() const { return page_size << order_; }
    /// Ends the ownership without giving back; the caller now owns the block.
    HostPhysical leak()
    {
        allocator_ = nullptr;
        return address_;
    }

private:
    OwnedFrames(FrameAllocator& allocator, Ledger& ledger, HostPhysical address, unsigned order)
        : allocator_{&allocator}, ledger_{&ledger}, address_{address}, order_{order}
    {
    }
    void swap(OwnedFrames& other)
    {
        std::swap(allocator_, other.allocator_);
        std::swap(ledger_, other.ledger_);
        std::swap(address_, other.address_);
        std::swap(order_, other.order_);
    }

    FrameAllocator* allocator_{};
    Ledger* ledger_{};
    HostPhysical address_{};
    unsigned order_{};
};

}  // namespace hv::core
