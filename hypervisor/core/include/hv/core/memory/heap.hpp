// SPDX-License-Identifier: MIT
//
// Objects of any size over frames.  One heap per owner: every frame that it takes is charged to its ledger,
// and a heap that dies holds nothing.  Small objects share a page with others of their size class; what is
// larger than a class gets a block of frames of its own.  Memory comes as zeroes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "hv/base/expected.hpp"
#include "hv/core/memory/frame_allocator.hpp"
#include "hv/core/memory/ledger.hpp"
#include "hv/core/sync/spinlock.hpp"

namespace hv::core {

class Heap {
public:
    /// Both outlive the heap.
    Heap(FrameAllocator& frames, Ledger& ledger) : frames_{frames}, ledger_{ledger} {}
    /// Asserts that everything was given back.
    ~Heap();
    Heap(const Heap&) = delete;
    Heap& operator=(const Heap&) = delete;

    /// Zeroed memory, or nullptr when the frames or the ledger's limit do not suffice.  `alignment` is a
    /// power of two up to a page; bytes is at most 1 GiB.
    [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment = 16);
    /// Gives back what allocate() returned; nullptr is nothing.  Asserts that it is this heap's and not free
    /// already.
    void release(void* pointer);

    [[nodiscard]] std::uint64_t allocations();
    [[nodiscard]] Ledger& ledger() { return ledger_; }

private:
    struct Slot {
        Slot* next;
    };
    /// At the beginning of every page of small objects.
    struct Page {
        Page* previous;
        Page* next;
        Slot* free;
        Heap* heap;
        std::uint16_t size_class;
        std::uint16_t used;
        std::uint64_t live[4];  // one bit per slot that is handed out
    };

    static constexpr std::array<std::uint16_t, 10> class_bytes{32,  64,  96,  128,  192,
                                                               256, 384, 512, 1024, 2000};
    static constexpr std::size_t header_bytes{(sizeof(Page) + 15) & ~std::size_t{15}};
    static constexpr unsigned no_class{~0u};
    /// Where the first slot lies: behind the header, aligned to the largest power of two that divides the
    /// slot's size.
    [[nodiscard]] static constexpr std::size_t first_slot(unsigned size_class)
    {
        const std::size_t alignment = class_alignment(size_class);
        return (header_bytes + alignment - 1) & ~(alignment - 1);
    }
    [[nodiscard]] static constexpr std::size_t class_alignment(unsigned size_class)
    {
        return class_bytes[size_class] & (~std::size_t{class_bytes[size_class]} + 1);
    }
    [[nodiscard]] static constexpr std::size_t slots(unsigned size_class)
    {
        return (page_size - first_slot(size_class)) / class_bytes[size_class];
    }
    [[nodiscard]] static unsigned class_for(std::size_t bytes, std::size_t alignment);

    [[nodiscard]] void* allocate_small(unsigned size_class);
    [[nodiscard]] void* allocate_block(std::size_t bytes);
    [[nodiscard]] Page* new_page(unsigned size_class);
    void release_small(Page& page, void* pointer);
    void link(Page& page);
    void unlink(Page& page);

    Spinlock lock_;
    FrameAllocator& frames_;
    Ledger& ledger_;
    std::array<Page*, class_bytes.size()> partial_{};  // pages with a free slot
    std::uint64_t allocations_{};
};

/// The only owner of an object on a heap.
template <typename T>
class Owned {
public:
    Owned() = default;
    Owned(Heap& heap, T* object) : heap_{&heap}, object_{object} {}
    Owned(Owned&& other) noexcept : heap_{other.heap_}, object_{std::exchange(other.object_, nullptr)} {}
    Owned& operator=(Owned&& other) noexcept
    {
        std::swap(heap_, other.heap_);
        std::swap(object_, other.object_);
        return *this;
    }
    ~Owned() { reset(); }

    [[nodiscard]] explicit operator bool() const { return object_ != nullptr; }
    T& operator*() const { return *object_; }
    T* operator->() const { return object_; }
    [[nodiscard]] T* get() const { return object_; }
    /// Destroys the object and gives its memory back.
    void reset()
    {
        if (T* const object = std::exchange(object_, nullptr)) {
            object->~T();
            heap_->release(object);
        }
    }
    /// Ends the ownership; whoever gets the pointer calls destroy().
    [[nodiscard]] T* leak() { return std::exchange(object_, nullptr); }

private:
    Heap* heap_{};
    T* object_{};
};

/// A new T on the heap.  Fails with no_memory (also when the ledger's limit is reached).
template <typename T, typename... Arguments>
Expected<Owned<T>> make(Heap& heap, Arguments&&... arguments)
{
    void* const memory = heap.allocate(sizeof(T), alignof(T));
    if (memory == nullptr)
        return Error::no_memory;
    return Owned<T>{heap, new (memory) T(std::forward<Arguments>(arguments)...)};
}

/// What Owned::reset does, for an object that was leaked.
template <typename T>
void destroy(Heap& heap, T* object)
{
    Owned<T>{heap, object}.reset();
}

}  // namespace hv::core
