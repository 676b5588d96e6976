// SPDX-License-Identifier: MIT
//
// The declared answers of one kind in one window: found by place in a few instructions, changed while other
// processors look. A window of up to 512 places is indexed directly, a larger one by the low bits.  Entries
// are never freed before the table is; a change happens in place under a sequence count, and a reader that
// met one looks again (DeclaredReading).
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>

#include "hv/base/expected.hpp"
#include "hv/core/memory/heap.hpp"

namespace hv::core {

/// Holds where (condition mask of the binding) has the entry's bit, or always.
constexpr std::uint64_t condition_bit(std::uint32_t condition)
{
    return condition == 0 ? 0 : 1ull << (condition - 1);
}

/// How many changes of declared answers have begun and ended.  One at a time.
struct DeclareSequence {
    std::atomic<std::uint32_t> begun{};
    std::atomic<std::uint32_t> ended{};
};

/// One look at declared answers: what was read in it counts only if holds() says so afterwards.
class DeclaredReading {
public:
    explicit DeclaredReading(const DeclareSequence& sequence)
        : sequence_{sequence}, ended_{sequence.ended.load(std::memory_order_acquire)}
    {
    }
    /// Goes on with a look that began when this many changes had ended.
    DeclaredReading(const DeclareSequence& sequence, std::uint32_t ended) : sequence_{sequence}, ended_{ended} {}
    [[nodiscard]] std::uint32_t ended() const { return ended_; }
    /// True when every change that had begun by now had ended before the look.
    [[nodiscard]] bool holds() const
    {
        std::atomic_thread_fence(std::memory_order_acquire);
        if (sequence_.begun.load(std::memory_order_relaxed) == ended_) [[likely]]
            return true;
        __builtin_ia32_pause();
        return false;
    }

private:
    const DeclareSequence& sequence_;
    const std::uint32_t ended_;
};

/// `Answer` is what a reader gets: trivially copyable, default-constructed "nothing declared here", with a
/// member `bool declared` and `bool same_place(const Answer&) const` for several answers at one place
/// (subleaves).
template <typename Answer>
class DeclaredTable {
public:
    static constexpr std::uint32_t directly_indexed{512};

    DeclaredTable() = default;
    DeclaredTable(const DeclaredTable&) = delete;
    DeclaredTable& operator=(const DeclaredTable&) = delete;

    /// Room for `places` places.  Once.  Fails with no_memory.
    Status create(Heap& heap, std::uint64_t places)
    {
        const auto slots = static_cast<std::uint32_t>(
            std::bit_ceil(places < directly_indexed ? places : std::uint64_t{directly_indexed}));
        first_ = static_cast<std::atomic<Entry*>*>(heap.allocate(slots * sizeof(std::atomic<Entry*>)));
        if (first_ == nullptr)
            return Error::no_memory;
        mask_ = slots - 1;
        return Done{};
    }
    void destroy(Heap& heap)
    {
        for (std::uint32_t slot = 0; first_ != nullptr && slot <= mask_; ++slot)
            for (Entry* entry = first_[slot].load(std::memory_order_relaxed); entry != nullptr;) {
                Entry* const next = entry->next.load(std::memory_order_relaxed);
                heap.release(entry);
                entry = next;
            }
        heap.release(first_);
        first_ = nullptr;
    }

    /// The answer at `place` that `accepts` and whose condition is on, or null: nothing is declared.  It is
    /// read where it lies, inside of a DeclaredReading.
    template <typename Accepts>
    [[nodiscard]] const Answer* find(std::uint32_t place, const std::atomic<std::uint64_t>& conditions,
                                     Accepts accepts) const
    {
        for (const Entry* entry = first_[place & mask_].load(std::memory_order_acquire); entry != nullptr;
             entry = entry->next.load(std::memory_order_acquire))
            if (entry->answers_at == place && accepts(entry->answer) &&
                (entry->condition == 0 ||
                 (entry->condition & conditions.load(std::memory_order_relaxed)) != 0))
                return &entry->answer;
        return nullptr;
    }

    /// Makes an entry for this place, which set() then fills.  Counts new ones in `entries`.  Fails with
    /// no_memory. By one at a time.
    Status prepare(Heap& heap, std::uint32_t place, std::uint32_t condition, const Answer& answer,
                   std::uint32_t& entries)
    {
        if (lookup(place, condition, answer) != nullptr)
            return Done{};
        void* const memory = heap.allocate(sizeof(Entry), alignof(Entry));
        if (memory == nullptr)
            return Error::no_memory;
        auto* const entry = new (memory) Entry{};
        entry->answer = answer;
        entry->place = place;
        entry->condition = condition_bit(condition);
        append(*entry);
        ++entries;
        return Done{};
    }
    /// After prepare() for the same; inside a change of the sequence count.
    void set(std::uint32_t place, std::uint32_t condition, const Answer& answer)
    {
        Entry& entry = *lookup(place, condition, answer);
        entry.answer = answer;
        entry.answers_at = answer.declared ? place : nowhere;
    }
    /// Whether prepare() would make an entry.
    [[nodiscard]] bool has(std::uint32_t place, std::uint32_t condition, const Answer& answer) const
    {
        return lookup(place, condition, answer) != nullptr;
    }

    /// Calls `visit(place, answer)` for all that is declared, whatever its condition.  While nothing changes.
    template <typename Visit>
    void each(Visit visit) const
    {
        for (std::uint32_t slot = 0; first_ != nullptr && slot <= mask_; ++slot)
            for (const Entry* entry = first_[slot].load(std::memory_order_acquire); entry != nullptr;
                 entry = entry->next.load(std::memory_order_acquire))
                if (entry->answer.declared)
                    visit(entry->place, entry->answer);
    }

    /// Calls `edit(answer)` for all that was ever declared; inside a change of the sequence count.
    template <typename Edit>
    void change(Edit edit)
    {
        for (std::uint32_t slot = 0; first_ != nullptr && slot <= mask_; ++slot)
            for (Entry* entry = first_[slot].load(std::memory_order_acquire); entry != nullptr;
                 entry = entry->next.load(std::memory_order_acquire))
                edit(entry->answer);
    }

private:
    static constexpr std::uint32_t nowhere{~0u};  // no window is so long
    struct Entry {
        Answer answer{};
        std::uint64_t condition{};
        std::uint32_t place{};
        std::uint32_t answers_at{nowhere};  ///< the place, while something is declared
        std::atomic<Entry*> next{};
    };

    [[nodiscard]] Entry* lookup(std::uint32_t place, std::uint32_t condition, const Answer& answer) const
    {
        Entry* entry = first_[place & mask_].load(std::memory_order_relaxed);
        while (entry != nullptr && (entry->place != place || entry->condition != condition_bit(condition) ||
                                    !entry->answer.same_place(answer)))
            entry = entry->next.load(std::memory_order_relaxed);
        return entry;
    }
    /// At the end, so that of several whose conditions hold the first declared answers.
    void append(Entry& entry)
    {
        std::atomic<Entry*>* link = &first_[entry.place & mask_];
        while (Entry* const there = link->load(std::memory_order_relaxed))
            link = &there->next;
        link->store(&entry, std::memory_order_release);
    }

    std::atomic<Entry*>* first_{};
    std::uint32_t mask_{};
};

}  // namespace hv::core
