// SPDX-License-Identifier: MIT
//
// An object of a destroyed timer stays for the next one: a callback that was under way when it was cancelled
// finds it, takes the lock, and sees that nothing is due.
#include "timers.hpp"

#include <utility>

#include "binding.hpp"
#include "hv/base/assert.hpp"
#include "hv/core/domain/domain.hpp"
#include "hv/core/machine.hpp"

namespace hv::core {
namespace {

constexpr std::uint32_t timers_of_a_vcpu{16};
constexpr std::uint32_t lowest_vector{16};  // [SDM3-083 §11.5.2]: those below are illegal
constexpr std::uint32_t highest_vector{255};

bool is_legal(const abi::TimerSetting& setting)
{
    if (setting.period_ns != 0 && setting.period_ns < Timers::shortest_period_ns)
        return false;
    if (setting.action == abi::TimerAction::call_hook)
        return setting.vector == 0;
    return setting.action == abi::TimerAction::inject_vector && setting.vector >= lowest_vector &&
           setting.vector <= highest_vector;
}

}  // namespace

void ExtensionTimer::expired(Timer& timer)
{
    auto& self = static_cast<ExtensionTimer&>(timer);
    self.owner_.expire(self);
}

Timers::~Timers()
{
    HV_ASSERT(slots_ == nullptr);
}

Status Timers::create(unsigned vcpus)
{
    const std::uint32_t wanted = vcpus * timers_of_a_vcpu;
    const std::uint32_t capacity = wanted < maximum_timers ? wanted : maximum_timers;
    slots_ = static_cast<ExtensionTimer**>(heap_.allocate(capacity * sizeof(ExtensionTimer*)));
    if (slots_ == nullptr)
        return Error::no_memory;
    capacity_ = capacity;
    return Done{};
}

Expected<ExtensionTimer*> Timers::look_up(Handle handle)
{
    if (handle.index() >= used_)
        return Error::invalid_argument;
    ExtensionTimer* const timer = slots_[handle.index()];
    if (timer->vcpu_ == nullptr || timer->generation_ != handle.generation())
        return Error::gone;
    return timer;
}

Expected<Handle> Timers::create_timer(VcpuBinding& vcpu, std::uint32_t binding, std::uint64_t cookie)
{
    const LockGuard guard{lock_};
    std::uint32_t index{0};
    while (index < used_ && slots_[index]->vcpu_ != nullptr)
        ++index;
    if (index == capacity_)
        return Error::limit_reached;
    if (index == used_) {
        auto made = HV_TRY(make<ExtensionTimer>(heap_, *this));
        slots_[used_++] = made.leak();
    }
    ExtensionTimer& timer = *slots_[index];
    timer.vcpu_ = &vcpu;
    timer.cookie_ = cookie;
    timer.missed_ = 0;
    timer.was_set_ = timer.armed_ = timer.delivering_ = false;
    binding_ = binding;
    return Handle{HandleKind::timer, binding, timer.generation_, index};
}

void Timers::disarm(ExtensionTimer& timer)
{
    timer.armed_ = timer.delivering_ = false;
    TimerQueue::cancel(timer);
}

/// Its host deadline on this processor, and no other, if the guest's time runs; else thaw() does it.
void Timers::arm(ExtensionTimer& timer)
{
    const GuestTime& time = timer.vcpu_->vcpu.domain.time;
    if (time.running())
        machine().arm_here(timer, time.host_tick_of(timer.setting_.deadline_ns));
    else
        TimerQueue::cancel(timer);
}

/// With the setting that it has now; what was due before is due no more.
void Timers::start(ExtensionTimer& timer)
{
    timer.delivering_ = false;
    timer.missed_ = 0;
    timer.armed_ = true;
    arm(timer);
}

Status Timers::set(Handle handle, const abi::TimerSetting& setting)
{
    if (!is_legal(setting))
        return Error::invalid_argument;
    const LockGuard guard{lock_};
    ExtensionTimer* const timer = HV_TRY(look_up(handle));
    if (setting.action == abi::TimerAction::call_hook && timer->vcpu_->binding.hooks.timer == nullptr)
        return Error::invalid_argument;
    timer->setting_ = setting;
    timer->was_set_ = true;
    start(*timer);
    return Done{};
}

bool Timers::move(const VcpuBinding& vcpu, Handle handle, std::uint64_t deadline_ns)
{
    const LockGuard guard{lock_};
    const auto found = look_up(handle);
    if (!found)
        return false;
    ExtensionTimer& timer = *found.value();
    if (timer.vcpu_ != &vcpu || !timer.was_set_ || timer.setting_.period_ns != 0)
        return false;
    timer.setting_.deadline_ns = deadline_ns;
    start(timer);
    return true;
}

Status Timers::cancel(Handle handle)
{
    const LockGuard guard{lock_};
    disarm(*HV_TRY(look_up(handle)));
    return Done{};
}

Status Timers::destroy(Handle handle)
{
    const LockGuard guard{lock_};
    ExtensionTimer* const timer = HV_TRY(look_up(handle));
    disarm(*timer);
    timer->vcpu_ = nullptr;
    timer->generation_ = timer->generation_ == Handle::last_generation ? 1 : timer->generation_ + 1;
    return Done{};
}

void Timers::inject(Vcpu& vcpu, std::uint8_t vector)
{
    if (vcpu.apic.accept(vector, TriggerMode::edge))
        vcpu.notice_interrupt();
}

/// In the main loop of the processor that it was armed on.
void Timers::expire(ExtensionTimer& timer)
{
    const LockGuard guard{lock_};
    if (timer.vcpu_ == nullptr || !timer.armed_)
        return;  // cancelled meanwhile
    Vcpu& vcpu = timer.vcpu_->vcpu;
    const GuestTime& time = vcpu.domain.time;
    if (!time.running())
        return;  // thaw() arms it again
    const std::uint64_t now = time.nanoseconds(platform::ticks());
    if (now < timer.setting_.deadline_ns)
        return arm(timer);  // set anew meanwhile
    std::uint64_t missed{0};
    timer.armed_ = timer.setting_.period_ns != 0;
    if (timer.armed_) {
        missed = (now - timer.setting_.deadline_ns) / timer.setting_.period_ns;
        timer.setting_.deadline_ns += (missed + 1) * timer.setting_.period_ns;
        arm(timer);
    }
    if (timer.setting_.action == abi::TimerAction::inject_vector)
        return inject(vcpu, static_cast<std::uint8_t>(timer.setting_.vector));
    timer.missed_ += missed + (timer.delivering_ ? 1 : 0);
    if (!std::exchange(timer.delivering_, true))
        timer.turn_ = ++turns_;
    timer.vcpu_->ask(VcpuBinding::Pending::timer);
}

bool Timers::take_expiry(VcpuBinding& vcpu, TimerExpiry& expiry)
{
    const LockGuard guard{lock_};
    std::uint32_t first{used_};
    for (std::uint32_t index = 0; index < used_; ++index) {
        const ExtensionTimer& timer = *slots_[index];
        if (timer.vcpu_ == &vcpu && timer.delivering_ && (first == used_ || timer.turn_ < slots_[first]->turn_))
            first = index;
    }
    if (first == used_)
        return false;
    ExtensionTimer& timer = *slots_[first];
    timer.delivering_ = false;
    expiry = {Handle{HandleKind::timer, binding_, timer.generation_, first}.raw(), timer.cookie_, timer.missed_};
    timer.missed_ = 0;
    return true;
}

void Timers::deliver_again(const TimerExpiry& expiry)
{
    const LockGuard guard{lock_};
    const auto timer = look_up(Handle{expiry.handle});
    if (!timer)
        return;
    timer.value()->missed_ += expiry.missed + (timer.value()->delivering_ ? 1 : 0);
    timer.value()->delivering_ = true;
}

void Timers::freeze()
{
    const LockGuard guard{lock_};
    for (std::uint32_t index = 0; index < used_; ++index)
        TimerQueue::cancel(*slots_[index]);
}

void Timers::thaw()
{
    const LockGuard guard{lock_};
    for (std::uint32_t index = 0; index < used_; ++index)
        if (slots_[index]->vcpu_ != nullptr && slots_[index]->armed_)
            arm(*slots_[index]);
}

void Timers::hand_over(VcpuBinding* const* vcpus)
{
    const LockGuard guard{lock_};
    for (std::uint32_t index = 0; index < used_; ++index)
        if (VcpuBinding*& owner = slots_[index]->vcpu_; owner != nullptr)
            owner = vcpus[owner->vcpu.id];
}

std::uint32_t Timers::armed()
{
    const LockGuard guard{lock_};
    std::uint32_t count{};
    for (std::uint32_t index = 0; index < used_; ++index)
        count += slots_[index]->vcpu_ != nullptr && slots_[index]->armed_ ? 1 : 0;
    return count;
}

bool Timers::stop()
{
    const LockGuard guard{lock_};
    for (std::uint32_t index = 0; index < used_; ++index) {
        disarm(*slots_[index]);
        slots_[index]->vcpu_ = nullptr;
    }
    return used_ != 0;
}

void Timers::clear()
{
    for (std::uint32_t index = 0; index < used_; ++index)
        core::destroy(heap_, slots_[index]);
    heap_.release(slots_);
    slots_ = nullptr;
    used_ = capacity_ = 0;
}

}  // namespace hv::core
