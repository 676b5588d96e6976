// SPDX-License-Identifier: MIT
//
// Size classes over frames: see heap.hpp.  A pointer to a small object is never at the beginning of a page
// (the page's header is), a pointer to a block always is: that tells them apart when they come back.
#include "hv/core/memory/heap.hpp"

#include <cstring>

#include "hv/base/assert.hpp"
#include "hv/base/checked.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::core {

Heap::~Heap()
{
    HV_ASSERT(allocations_ == 0);
}

unsigned Heap::class_for(std::size_t bytes, std::size_t alignment)
{
    for (unsigned index = 0; index < class_bytes.size(); ++index)
        if (class_bytes[index] >= bytes && class_alignment(index) >= alignment)
            return index;
    return no_class;
}

void* Heap::allocate(std::size_t bytes, std::size_t alignment)
{
    static_assert(slots(0) <= 256, "the bitmap of handed-out slots is large enough");
    HV_ASSERT(is_power_of_two(alignment) && alignment <= page_size);
    const LockGuard guard{lock_};
    const unsigned size_class = class_for(bytes, alignment);
    void* const memory = size_class == no_class ? allocate_block(bytes) : allocate_small(size_class);
    if (memory == nullptr)
        return nullptr;
    ++allocations_;
    return std::memset(memory, 0, size_class == no_class ? bytes : class_bytes[size_class]);
}

void Heap::release(void* pointer)
{
    if (pointer == nullptr)
        return;
    const LockGuard guard{lock_};
    const std::uint64_t offset = reinterpret_cast<std::uintptr_t>(pointer) & page_mask;
    if (offset == 0) {
        const HostPhysical block = platform::to_physical(pointer);
        frames_.release(block, frames_.order_of(block), ledger_);
    } else {
        release_small(*reinterpret_cast<Page*>(static_cast<std::byte*>(pointer) - offset), pointer);
    }
    --allocations_;
}

std::uint64_t Heap::allocations()
{
    const LockGuard guard{lock_};
    return allocations_;
}

void* Heap::allocate_block(std::size_t bytes)
{
    if (bytes > page_size << maximum_order)
        return nullptr;
    const auto block = frames_.allocate(order_for_bytes(bytes), ledger_);
    return block ? platform::to_pointer(block.value()) : nullptr;
}

void* Heap::allocate_small(unsigned size_class)
{
    Page* const page = partial_[size_class] != nullptr ? partial_[size_class] : new_page(size_class);
    if (page == nullptr)
        return nullptr;
    Slot* const slot = page->free;
    page->free = slot->next;
    const std::size_t index = (reinterpret_cast<std::uintptr_t>(slot) -
                               reinterpret_cast<std::uintptr_t>(page) - first_slot(size_class)) /
                              class_bytes[size_class];
    page->live[index / 64] |= 1ull << (index % 64);
    if (++page->used == slots(size_class))
        unlink(*page);
    return slot;
}

Heap::Page* Heap::new_page(unsigned size_class)
{
    const auto block = frames_.allocate(0, ledger_);
    if (!block)
        return nullptr;
    auto* const base = static_cast<std::byte*>(platform::to_pointer(block.value()));
    auto* const page = new (base) Page{.previous = nullptr,
                                       .next = nullptr,
                                       .free = nullptr,
                                       .heap = this,
                                       .size_class = static_cast<std::uint16_t>(size_class),
                                       .used = 0,
                                       .live = {}};
    for (std::size_t index = slots(size_class); index-- > 0;)
        page->free = new (base + first_slot(size_class) + index * class_bytes[size_class]) Slot{page->free};
    link(*page);
    return page;
}

void Heap::release_small(Page& page, void* pointer)
{
    HV_ASSERT(page.heap == this && page.size_class < class_bytes.size());
    const unsigned size_class = page.size_class;
    const std::size_t offset =
        reinterpret_cast<std::uintptr_t>(pointer) - reinterpret_cast<std::uintptr_t>(&page);
    HV_ASSERT(offset >= first_slot(size_class) &&
              (offset - first_slot(size_class)) % class_bytes[size_class] == 0);
    const std::size_t index = (offset - first_slot(size_class)) / class_bytes[size_class];
    HV_ASSERT(index < slots(size_class));
    HV_ASSERT((page.live[index / 64] >> (index % 64) & 1) != 0);  // else given back twice
    page.live[index / 64] &= ~(1ull << (index % 64));
    page.free = new (pointer) Slot{page.free};
    if (page.used-- == slots(size_class))
        link(page);
    if (page.used == 0) {
        unlink(page);
        page.heap = nullptr;
        frames_.release(platform::to_physical(&page), 0, ledger_);
    }
}

void Heap::link(Page& page)
{
    Page*& head = partial_[page.size_class];
    page.previous = nullptr;
    page.next = head;
    if (head != nullptr)
        head->previous = &page;
    head = &page;
}

void Heap::unlink(Page& page)
{
    (page.previous != nullptr ? page.previous->next : partial_[page.size_class]) = page.next;
    if (page.next != nullptr)
        page.next->previous = page.previous;
    page.previous = page.next = nullptr;
}

}  // namespace hv::core
