// SPDX-License-Identifier: MIT
//
// The buddy allocator: see frame_allocator.hpp.  A free block keeps its list links in its own first bytes;
// its record says that it is free and how large.  A block's buddy is found by flipping the bit of its size in
// the frame number, and only inside the zone: two zones never merge, even where they touch.
#include "hv/core/memory/frame_allocator.hpp"

#include <algorithm>
#include <new>

#include "hv/base/assert.hpp"
#include "hv/base/checked.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::core {

namespace {

HostPhysical address_of(std::uint64_t frame)
{
    return HostPhysical{frame * page_size};
}

}  // namespace

Status FrameAllocator::add_range(HostRange range)
{
    const auto begin = checked_align_up(range.begin.raw(), page_size);
    const auto end_exact = checked_add(range.begin.raw(), range.bytes);
    if (!begin || !end_exact || align_down(*end_exact, page_size) <= *begin)
        return Error::invalid_argument;
    const std::uint64_t all_frames = (align_down(*end_exact, page_size) - *begin) / page_size;
    const std::uint64_t record_frames = (all_frames * sizeof(Record) + page_size - 1) / page_size;
    if (record_frames >= all_frames)
        return Error::invalid_argument;

    const LockGuard guard{lock_};
    auto* const records = static_cast<Record*>(platform::to_pointer(HostPhysical{*begin}));
    const Zone zone{.first_frame = *begin / page_size + record_frames,
                    .frames = all_frames - record_frames,
                    .records = records};
    if (!zones_.push_back(zone))
        return Error::limit_reached;
    std::fill_n(records, zone.frames, Record{});

    // The largest aligned block that fits, again and again.
    for (std::uint64_t frame = zone.first_frame, left = zone.frames; left > 0;) {
        unsigned order =
            frame == 0 ? maximum_order
                       : std::min<unsigned>(maximum_order, static_cast<unsigned>(__builtin_ctzll(frame)));
        while (frames_of_order(order) > left)
            --order;
        insert_free(zones_.back(), frame, order);
        frame += frames_of_order(order);
        left -= frames_of_order(order);
    }
    free_frames_ += zone.frames;
    total_frames_ += zone.frames;
    return Done{};
}

Expected<HostPhysical> FrameAllocator::allocate(unsigned order, Ledger& ledger)
{
    if (order > maximum_order)
        return Error::out_of_range;
    HV_TRY(ledger.charge(frames_of_order(order)));
    const LockGuard guard{lock_};
    const auto frame = take(order);
    if (!frame) {
        ledger.refund(frames_of_order(order));
        return frame.error();
    }
    Record& record = record_of(frame.value());
    record = {.owner = ledger.identity(),
              .order = static_cast<std::uint8_t>(order),
              .state = State::used,
              .reserved = 0};
    free_frames_ -= frames_of_order(order);
    return address_of(frame.value());
}

void FrameAllocator::release(HostPhysical block, unsigned order, Ledger& ledger)
{
    {
        const LockGuard guard{lock_};
        checked_used(block, order, ledger) = Record{};
        merge_and_insert(*zone_of(block.page_number()), block.page_number(), order);
        free_frames_ += frames_of_order(order);
    }
    ledger.refund(frames_of_order(order));
}

Status FrameAllocator::transfer(HostPhysical block, unsigned order, Ledger& from, Ledger& to)
{
    HV_TRY(to.charge(frames_of_order(order)));
    {
        const LockGuard guard{lock_};
        checked_used(block, order, from).owner = to.identity();
    }
    from.refund(frames_of_order(order));
    return Done{};
}

unsigned FrameAllocator::order_of(HostPhysical block)
{
    const LockGuard guard{lock_};
    const Record& record = record_of(block.page_number());
    HV_ASSERT(record.state == State::used);
    return record.order;
}

std::uint64_t FrameAllocator::free_frames()
{
    const LockGuard guard{lock_};
    return free_frames_;
}

std::uint64_t FrameAllocator::total_frames()
{
    const LockGuard guard{lock_};
    return total_frames_;
}

FrameAllocator::Zone* FrameAllocator::zone_of(std::uint64_t frame)
{
    for (Zone& zone : zones_)
        if (frame >= zone.first_frame && frame - zone.first_frame < zone.frames)
            return &zone;
    return nullptr;
}

FrameAllocator::Record& FrameAllocator::record_of(std::uint64_t frame)
{
    Zone* const zone = zone_of(frame);
    HV_ASSERT(zone != nullptr);  // an address that is not the allocator's
    return zone->records[frame - zone->first_frame];
}

FrameAllocator::Record& FrameAllocator::checked_used(HostPhysical block, unsigned order, const Ledger& ledger)
{
    HV_ASSERT(block.page_offset() == 0);
    Record& record = record_of(block.page_number());
    HV_ASSERT(record.state == State::used);  // else given back twice, or never handed out
    HV_ASSERT(record.order == order);
    HV_ASSERT(record.owner == ledger.identity());  // else another's
    return record;
}

bool FrameAllocator::is_free_block(Zone& zone, std::uint64_t frame, unsigned order)
{
    if (frame < zone.first_frame || frame - zone.first_frame >= zone.frames)
        return false;
    const Record& record = zone.records[frame - zone.first_frame];
    return record.state == State::free && record.order == order;
}

void FrameAllocator::insert_free(Zone& zone, std::uint64_t frame, unsigned order)
{
    zone.records[frame - zone.first_frame] = {
        .owner = 0, .order = static_cast<std::uint8_t>(order), .state = State::free, .reserved = 0};
    auto* const node = new (platform::to_pointer(address_of(frame))) FreeBlock{nullptr, free_[order]};
    if (node->next != nullptr)
        node->next->previous = node;
    free_[order] = node;
}

void FrameAllocator::remove_free(Record& record, std::uint64_t frame)
{
    auto* const node = static_cast<FreeBlock*>(platform::to_pointer(address_of(frame)));
    (node->previous != nullptr ? node->previous->next : free_[record.order]) = node->next;
    if (node->next != nullptr)
        node->next->previous = node->previous;
    record = Record{};
}

void FrameAllocator::merge_and_insert(Zone& zone, std::uint64_t frame, unsigned order)
{
    while (order < maximum_order) {
        const std::uint64_t buddy = frame ^ frames_of_order(order);
        if (!is_free_block(zone, buddy, order))
            break;
        remove_free(zone.records[buddy - zone.first_frame], buddy);
        frame = std::min(frame, buddy);
        ++order;
    }
    insert_free(zone, frame, order);
}

Expected<std::uint64_t> FrameAllocator::take(unsigned order)
{
    unsigned found = order;
    while (found <= maximum_order && free_[found] == nullptr)
        ++found;
    if (found > maximum_order)
        return Error::no_memory;
    const std::uint64_t frame = platform::to_physical(free_[found]).page_number();
    Zone& zone = *zone_of(frame);
    remove_free(zone.records[frame - zone.first_frame], frame);
    while (found > order) {  // keep the lower half, give back the upper
        --found;
        insert_free(zone, frame + frames_of_order(found), found);
    }
    return frame;
}

}  // namespace hv::core
