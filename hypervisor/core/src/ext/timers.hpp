// SPDX-License-Identifier: MIT
//
// The timers of one binding, in guest time: they stand still while the guest is frozen.  One that injects a
// vector does so where it expires; one that calls the module is noted and delivered on its VCPU's own
// processor before the next entry.
#pragma once

#include <cstdint>

#include "handle.hpp"
#include "hv/abi/declared.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/memory/heap.hpp"
#include "hv/core/sync/spinlock.hpp"
#include "hv/core/time/timer_queue.hpp"

namespace hv::core {

class Timers;
class Vcpu;
struct VcpuBinding;

class ExtensionTimer final : public Timer {
public:
    explicit ExtensionTimer(Timers& owner) : Timer{expired}, owner_{owner} {}

private:
    friend class Timers;
    static void expired(Timer& timer);

    Timers& owner_;
    VcpuBinding* vcpu_{};  ///< null: not in use
    std::uint64_t cookie_{};
    abi::TimerSetting setting_{};
    std::uint64_t missed_{};
    std::uint64_t turn_{};  ///< among those that wait for delivery
    std::uint32_t generation_{1};
    bool was_set_{};     ///< setting_ is what a module has asked for
    bool armed_{};       ///< setting_.deadline_ns is ahead
    bool delivering_{};  ///< expired, and the hook has not been called yet
};

/// An expiry that the module is to be told of.
struct TimerExpiry {
    std::uint64_t handle;
    std::uint64_t cookie;
    std::uint64_t missed;
};

/// All functions: any processor, with one lock inside.
class Timers {
public:
    static constexpr std::uint32_t maximum_timers{1024};
    static constexpr std::uint64_t shortest_period_ns{100'000};

    explicit Timers(Heap& heap) : heap_{heap} {}
    ~Timers();
    Timers(const Timers&) = delete;
    Timers& operator=(const Timers&) = delete;

    /// Room for the timers of so many VCPUs.  Once.  Fails with no_memory.
    Status create(unsigned vcpus);
    Expected<Handle> create_timer(VcpuBinding& vcpu, std::uint32_t binding, std::uint64_t cookie);
    Status set(Handle timer, const abi::TimerSetting& setting);
    /// As set() with the setting that it had last, but for the deadline.  False, and nothing changes, where it is no one-shot timer
    /// of this VCPU, or was never set.
    bool move(const VcpuBinding& vcpu, Handle timer, std::uint64_t deadline_ns);
    Status cancel(Handle timer);
    Status destroy(Handle timer);
    /// The next expiry to tell the module of this VCPU; false: none.
    bool take_expiry(VcpuBinding& vcpu, TimerExpiry& expiry);

    /// The module did not hear of it: it is told again, with what expires until then.  No effect where the timer is gone.
    void deliver_again(const TimerExpiry& expiry);

    /// The guest's time is about to stand still: nothing expires any more until thaw().
    void freeze();
    void thaw();
    /// Each timer of VCPU n is from now on one of vcpus[n], in the instance that takes the other's place.
    void hand_over(VcpuBinding* const* vcpus);
    /// How many are armed.
    [[nodiscard]] std::uint32_t armed();
    /// Disarms everything; true: there were timers, and a callback may still be under way on another
    /// processor.
    bool stop();
    /// Gives the memory back, when no callback can be under way any more.
    void clear();

private:
    std::uint64_t turns_{};  ///< given to expiries, so that they are told in order
    friend class ExtensionTimer;
    [[nodiscard]] Expected<ExtensionTimer*> look_up(Handle timer);
    void start(ExtensionTimer& timer);
    void arm(ExtensionTimer& timer);
    static void disarm(ExtensionTimer& timer);
    void expire(ExtensionTimer& timer);
    static void inject(Vcpu& vcpu, std::uint8_t vector);

    Heap& heap_;
    Spinlock lock_{};
    ExtensionTimer** slots_{};
    std::uint32_t capacity_{};
    std::uint32_t used_{};  ///< slots that have a timer object, in use or not
    std::uint32_t binding_{};
};

}  // namespace hv::core
