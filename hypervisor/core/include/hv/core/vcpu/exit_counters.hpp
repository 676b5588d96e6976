// SPDX-License-Identifier: MIT
//
// How often a virtual processor left guest mode, by reason, and for which MSR and port: what `xl exits` shows.  Written by
// the processor that runs the VCPU alone, read by anybody: a reader may miss the newest count, never see a torn one.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <utility>

#include "hv/core/hvm/exit.hpp"

namespace hv::core {

/// Counts under keys that a guest chooses: a fixed open-addressing table; what does not fit is counted as `other`.  What is
/// counted often comes to lie where its search begins, so that it costs the same whichever key it has.
class KeyCounts {
public:
    static constexpr std::size_t capacity{64};
    struct Slot {
        std::uint32_t key;
        std::uint64_t count;  ///< 0: unused
    };
    using Slots = std::array<Slot, capacity>;

    void count(std::uint32_t key)
    {
        if (!count_at_once(key)) [[unlikely]]
            count_elsewhere(key);
    }
    /// False, and nothing is counted, where count() would have to search.
    [[nodiscard]] bool count_at_once(std::uint32_t key)
    {
        const std::size_t first = first_of(key);
        if (tags_[first] != tag_of(key)) [[unlikely]]
            return false;
        ++counts_[first];
        return true;
    }
    /// All of them; any processor.
    [[nodiscard]] Slots read() const
    {
        for (;;) {
            const std::uint32_t before = __atomic_load_n(&moves_, __ATOMIC_ACQUIRE);
            Slots slots{};
            for (std::size_t index = 0; index < capacity; ++index)
                if (tags_[index] != 0)
                    slots[index] = {static_cast<std::uint32_t>(tags_[index] - 1), counts_[index]};
            std::atomic_thread_fence(std::memory_order_acquire);
            if (before % 2 == 0 && __atomic_load_n(&moves_, __ATOMIC_RELAXED) == before)
                return slots;
            __builtin_ia32_pause();
        }
    }
    [[nodiscard]] std::uint64_t other() const { return other_; }

private:
    static constexpr std::size_t first_of(std::uint32_t key) { return key * 2654435761u >> 26; }
    static_assert(capacity == 1 << (32 - 26));
    static constexpr std::uint64_t tag_of(std::uint32_t key) { return std::uint64_t{key} + 1; }

    [[gnu::noinline]] void count_elsewhere(std::uint32_t key)
    {
        const std::size_t first = first_of(key);
        for (std::size_t probe = 0; probe < capacity; ++probe) {
            const std::size_t slot = (first + probe) % capacity;
            if (tags_[slot] == 0)
                tags_[slot] = tag_of(key);
            if (tags_[slot] != tag_of(key))
                continue;
            constexpr std::uint64_t counts_between_moves{4};
            if (++counts_[slot] % counts_between_moves == 0)
                exchange(first, slot);
            return;
        }
        ++other_;
    }
    /// The one that lay first is still found: its search passes there, and every slot from there on is used.
    void exchange(std::size_t first, std::size_t slot)
    {
        __atomic_store_n(&moves_, moves_ + 1, __ATOMIC_RELAXED);
        std::atomic_thread_fence(std::memory_order_release);
        std::swap(tags_[first], tags_[slot]);
        std::swap(counts_[first], counts_[slot]);
        __atomic_store_n(&moves_, moves_ + 1, __ATOMIC_RELEASE);
    }

    std::array<std::uint64_t, capacity> tags_{};  ///< 0: unused
    std::array<std::uint64_t, capacity> counts_{};
    std::uint64_t other_{};
    std::uint32_t moves_{};  ///< odd while two change places
};

/// Of MSRs or of ports.
struct AccessCounts {
    KeyCounts reads{};
    KeyCounts writes{};

    void count(std::uint32_t key, bool write) { (write ? writes : reads).count(key); }
    [[nodiscard]] std::uint64_t other() const { return reads.other() + writes.other(); }
};

struct ExitCounters {
    std::array<std::uint64_t, exit_kinds> by_kind{};
    AccessCounts msrs{};
    AccessCounts ports{};

    [[nodiscard]] std::uint64_t total() const
    {
        std::uint64_t sum{};
        for (const std::uint64_t count : by_kind)
            sum += count;
        return sum;
    }
};

/// The English name of an exit kind, for `xl exits`.
constexpr const char* exit_kind_name(ExitKind kind)
{
    switch (kind) {
    case ExitKind::physical_interrupt: return "physical interrupt";
    case ExitKind::physical_nmi: return "physical NMI";
    case ExitKind::interrupt_window: return "interrupt window";
    case ExitKind::cpuid: return "CPUID";
    case ExitKind::msr_read: return "MSR read";
    case ExitKind::msr_write: return "MSR write";
    case ExitKind::port: return "port";
    case ExitKind::hypercall: return "hypercall";
    case ExitKind::halt: return "HLT";
    case ExitKind::pause: return "PAUSE";
    case ExitKind::nested_fault: return "nested page fault";
    case ExitKind::exception: return "exception";
    case ExitKind::control_register: return "control register";
    case ExitKind::debug_register: return "debug register";
    case ExitKind::invalidate_page: return "INVLPG";
    case ExitKind::cache_control: return "cache control";
    case ExitKind::read_tsc: return "RDTSC";
    case ExitKind::set_extended_control: return "XSETBV";
    case ExitKind::monitor: return "MONITOR/MWAIT";
    case ExitKind::privileged_instruction: return "virtualization instruction";
    case ExitKind::task_switch: return "task switch";
    case ExitKind::init_signal: return "INIT";
    case ExitKind::shutdown: return "shutdown";
    case ExitKind::invalid_state: return "invalid state";
    case ExitKind::unknown: return "unknown";
    }
    return "unknown";
}

}  // namespace hv::core
