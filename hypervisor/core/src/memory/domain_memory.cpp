// SPDX-License-Identifier: MIT
#include "hv/core/memory/domain_memory.hpp"

#include <cstring>

#include "hv/base/assert.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::core {
namespace {

/// The largest block that fits at this guest address into so many bytes.
unsigned best_order(std::uint64_t guest, std::uint64_t bytes)
{
    unsigned order{maximum_order};
    while (order > 0 && ((page_size << order) > bytes || (guest & ((page_size << order) - 1)) != 0))
        --order;
    return order;
}

}  // namespace

DomainMemory::DomainMemory(FrameAllocator& frames, Heap& heap, const NestedEntryFormat& format, bool gigabyte_pages)
    : frames_{frames}, heap_{heap}, map_{frames, heap.ledger(), format, gigabyte_pages}, guest_{map_, this}
{
}

DomainMemory::~DomainMemory() { give_back(); }

void DomainMemory::give_back()
{
    for (std::size_t index = 0; index < block_count_; ++index)
        frames_.release(blocks_[index].host, order_for_bytes(blocks_[index].bytes), heap_.ledger());
    heap_.release(blocks_);
    blocks_ = nullptr;
    block_count_ = block_capacity_ = 0;
}

Status DomainMemory::create(std::uint64_t bytes, GuestRange hole)
{
    HV_ASSERT(blocks_ == nullptr);
    if (bytes == 0 || (bytes & page_mask) != 0)
        return Error::invalid_argument;
    HV_TRY(map_.create());
    const std::uint64_t low = bytes < hole.begin.raw() ? bytes : hole.begin.raw();
    auto bought = buy(0, low);
    if (bought)
        bought = buy(hole.begin.raw() + hole.bytes, bytes - low);
    if (bought)
        bytes_ = bytes;
    else
        give_back();
    return bought;
}

Status DomainMemory::buy(std::uint64_t guest, std::uint64_t bytes)
{
    unsigned ceiling{maximum_order};
    while (bytes > 0) {
        unsigned order = best_order(guest, bytes);
        order = order < ceiling ? order : ceiling;
        const auto host = frames_.allocate(order, heap_.ledger());
        if (!host) {
            if (order == 0)
                return host.error();
            ceiling = order - 1;  // memory is in smaller pieces
            continue;
        }
        if (block_count_ == block_capacity_) {
            const std::size_t capacity = block_capacity_ == 0 ? 16 : 2 * block_capacity_;
            auto* const larger = static_cast<Block*>(heap_.allocate(capacity * sizeof(Block), alignof(Block)));
            if (larger == nullptr) {
                frames_.release(host.value(), order, heap_.ledger());
                return Error::no_memory;
            }
            if (block_count_ > 0)
                std::memcpy(larger, blocks_, block_count_ * sizeof(Block));
            heap_.release(blocks_);
            blocks_ = larger;
            block_capacity_ = capacity;
        }
        blocks_[block_count_++] = {guest, host.value(), page_size << order};
        guest += page_size << order;
        bytes -= page_size << order;
    }
    return Done{};
}

const DomainMemory::Block* DomainMemory::block_of(GuestPhysical address) const
{
    std::size_t low{0};
    std::size_t high{block_count_};
    while (low < high) {
        const std::size_t middle = low + (high - low) / 2;
        if (address.raw() < blocks_[middle].guest)
            high = middle;
        else if (address.raw() - blocks_[middle].guest >= blocks_[middle].bytes)
            low = middle + 1;
        else
            return &blocks_[middle];
    }
    return nullptr;
}

bool DomainMemory::is_ram(GuestPhysical address, std::uint64_t length) const
{
    while (length > 0) {
        const Block* const block = block_of(address);
        if (block == nullptr)
            return false;
        const std::uint64_t left = block->bytes - (address.raw() - block->guest);
        if (length <= left)
            return true;
        length -= left;
        address = address.plus(left);
    }
    return true;
}

bool DomainMemory::populate(GuestPhysical address)
{
    const Block* const block = block_of(address);
    if (block == nullptr)
        return false;
    LockGuard guard{lock_};
    if (map_.lookup(address.page_base()))
        return true;
    const std::uint64_t step = block->bytes < portion ? block->bytes : portion;
    const std::uint64_t offset = (address.raw() - block->guest) & ~(step - 1);
    const HostPhysical host = block->host.plus(offset);
    std::memset(platform::to_pointer(host), 0, step);
    return map_.map(GuestPhysical{block->guest + offset}, host, step, access_all).has_value();
}

Expected<HostPhysical> DomainMemory::ram_page(GuestPhysical address)
{
    const Block* const block = block_of(address);
    if (block == nullptr || (!map_.lookup(address.page_base()) && !populate(address)))
        return Error::not_found;
    return block->host.plus(address.page_base().raw() - block->guest);
}

}  // namespace hv::core
