// SPDX-License-Identifier: MIT
//
// What an instance did last, for the report of its failure: the hooks that were called, with their arguments and verdicts, and
// the services that they called, with their answers.  One ring per VCPU and one for the domain's hooks, each written by one
// processor at a time, so that recording takes a few stores and no lock; failure_report.cpp puts them in one order.  Declared
// answers call no hook and write nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "hv/abi/host_table.hpp"
#include "hv/base/bounded_text.hpp"

namespace hv::core {

/// A cache line.
struct HookEvent {
    static constexpr std::size_t maximum_arguments{5};
    /// `verdict` of a hook that runs, and of one that was thrown out; no verdict has such a kind.
    static constexpr std::uint64_t running{~0ull};
    static constexpr std::uint64_t thrown_out{~1ull};

    std::uint64_t ticks;                   ///< when it began; 0: nothing was recorded here yet
    std::uint64_t what;                    ///< a Hook, or the address of a service's name
    std::uint64_t verdict;                 ///< of a hook
    std::uint64_t words[maximum_arguments];  ///< a hook's arguments after the context; of a service: its answer
};
static_assert(sizeof(HookEvent) == 64);

// ---- for who reads events (event_words.cpp) ----

/// A service, not a hook.
[[nodiscard]] bool is_service(const HookEvent& event);
/// Of the hook or the service.
[[nodiscard]] std::string_view name_of(const HookEvent& event);
/// How many of its words mean something.
[[nodiscard]] unsigned argument_count(const HookEvent& event);
/// The verdict or the answer: `done`, `inject #13(0x0)`, `invalid argument`, `runs` …
void say_result(TextWriter& text, const HookEvent& event);

/// The time-stamp counter, in line: an event that costs a call to be dated would cost twice as much.
[[nodiscard]] inline std::uint64_t event_ticks()
{
    return __builtin_ia32_rdtsc();
}

class EventLog {
public:
    static constexpr std::size_t capacity{64};
    static constexpr std::size_t bytes{capacity * sizeof(HookEvent)};

    /// `room` holds `bytes` zeroed bytes; null: nothing was allocated, and nothing may be recorded.
    void use(void* room) { events_ = static_cast<HookEvent*>(room); }
    [[nodiscard]] void* room() const { return events_; }

    template <typename... Words>
    [[gnu::always_inline]] HookEvent* hook_begins(std::uint64_t hook, Words... words)
    {
        static_assert(sizeof...(words) <= HookEvent::maximum_arguments);
        HookEvent& event = take();
        event.ticks = event_ticks();
        event.what = hook;
        event.verdict = HookEvent::running;
        std::size_t at{};
        ((event.words[at++] = words), ...);
        return &event;
    }

    void service_answered(const char* name, abi::Answer answer)
    {
        HookEvent& event = take();
        event.ticks = event_ticks();
        event.what = reinterpret_cast<std::uintptr_t>(name);
        event.words[0] = static_cast<std::uint64_t>(answer);
    }

    /// In no order; `index` below capacity.  Another processor may be writing it.
    [[nodiscard]] const HookEvent& at(std::size_t index) const { return events_[index]; }

private:
    HookEvent& take()
    {
        HookEvent& event = events_[next_];
        next_ = (next_ + 1) % capacity;
        return event;
    }

    HookEvent* events_{};
    std::uint32_t next_{};
};

}  // namespace hv::core
