// SPDX-License-Identifier: MIT
//
// How often a virtual processor left guest mode, by reason, and for which MSR and port: what `xl exits` shows.  Written by
// the processor that runs the VCPU alone, read by anybody: a reader may miss the newest count, never see a torn one.
#pragma once

#include <array>
#include <cstdint>

#include "hv/core/hvm/exit.hpp"

namespace hv::core {

/// Counts under keys that a guest chooses: a fixed open-addressing table; what does not fit is counted as `other`.
class KeyedCounts {
public:
    static constexpr std::size_t capacity{64};
    struct Slot {
        std::uint32_t key;
        bool write;
        bool used;
        std::uint64_t count;
    };

    void count(std::uint32_t key, bool write)
    {
        const std::size_t first = ((key * 2654435761u >> 26) ^ (write ? 1u : 0u)) % capacity;
        Slot& slot = slots_[first];
        if (slot.used && slot.key == key && slot.write == write) [[likely]]
            ++slot.count;
        else
            count_from(first, key, write);
    }
    [[nodiscard]] const std::array<Slot, capacity>& slots() const { return slots_; }
    [[nodiscard]] std::uint64_t other() const { return other_; }

private:
    [[gnu::noinline]] void count_from(std::size_t first, std::uint32_t key, bool write)
    {
        for (std::size_t probe = 0; probe < capacity; ++probe) {
            Slot& slot = slots_[(first + probe) % capacity];
            if (!slot.used)
                slot = {key, write, true, 0};
            if (slot.key == key && slot.write == write) {
                ++slot.count;
                return;
            }
        }
        ++other_;
    }

    std::array<Slot, capacity> slots_{};
    std::uint64_t other_{};
};

struct ExitCounters {
    std::array<std::uint64_t, exit_kinds> by_kind{};
    KeyedCounts msrs{};
    KeyedCounts ports{};

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
