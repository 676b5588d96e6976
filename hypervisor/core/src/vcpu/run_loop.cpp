// SPDX-License-Identifier: MIT
#include "hv/core/vcpu/run_loop.hpp"

#include "hv/core/domain/domain.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/platform/isolated_space.hpp"
#include "hv/core/vcpu/exit_answer.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "hv/x86/control_registers.hpp"

namespace hv::core {
namespace {

std::atomic<bool> work_announced{};
std::atomic<bool> work_under_way{};

/// While there are trusted instances: looks, once in a hook's budget, whether another processor has one that goes on for ever.
std::uint64_t watch_trusted_hooks(Processor& processor, std::uint64_t now)
{
    if (trusted_instances.load(std::memory_order_relaxed) == 0 || platform::processor_count() <= 2 ||
        platform::hook_budget() == TimerQueue::never)
        return TimerQueue::never;
    if (now >= processor.next_watch) {
        platform::watch_trusted_hooks();
        processor.next_watch = now + platform::hook_budget();
    }
    return processor.next_watch;
}

void program_deadline(Processor& processor, std::uint64_t now)
{
    const std::uint64_t timers = processor.timers.earliest();
    const std::uint64_t decision = machine().scheduler.next_decision(now);
    const std::uint64_t watch = watch_trusted_hooks(processor, now);
    const std::uint64_t earlier = timers < decision ? timers : decision;
    const std::uint64_t deadline = earlier < watch ? earlier : watch;
    if (deadline == processor.programmed)
        return;
    processor.programmed = deadline;
    platform::set_deadline(deadline);
}

void begin_turn(Processor& processor)
{
    processor.turns.fetch_add(1, std::memory_order_release);
    processor.attention.store(false, std::memory_order_relaxed);
}

/// Calls what is due; returns the time after that.
std::uint64_t expire_timers(Processor& processor)
{
    const std::uint64_t now = platform::ticks();
    if (processor.programmed <= now)
        processor.programmed = TimerQueue::never;
    if (processor.timers.earliest() > now)
        return now;
    processor.timers.expire(now);
    return platform::ticks();
}

/// Something wants this processor's attention.  True: the VCPU that it runs must give way.
bool look_around(Processor& processor, const Vcpu& vcpu)
{
    begin_turn(processor);
    const std::uint64_t now = expire_timers(processor);
    program_deadline(processor, now);
    return machine().scheduler.should_yield(vcpu, now) ||
           (work_announced.load(std::memory_order_relaxed) && !work_under_way.load(std::memory_order_relaxed));
}

bool has_requests(const Schedulable& self) { return static_cast<const Vcpu&>(self).has_requests(); }

/// After INIT: sleeps until something is asked of it; a startup message sets it going.
void wait_for_startup(Vcpu& vcpu)
{
    vcpu.dead_halt.store(true);
    vcpu.domain.check_all_halted();
    machine().scheduler.block_unless(vcpu, Blocker::waiting_for_startup, has_requests);
}

/// The guest executed HLT: true when it has something to wake up for now.
bool wakes(Vcpu& vcpu)
{
    fetch_task_priority(vcpu);  // the guest may have lowered it since, without an exit
    const bool event = Vcpu::has_event(vcpu);
    const bool for_good = !event && !x86::Rflags::IF::get(vcpu.registers.rflags);
    if (event)
        return true;
    if (for_good) {
        vcpu.dead_halt.store(true);
        vcpu.domain.check_all_halted();
    }
    machine().scheduler.block_unless(vcpu, Blocker::halted, Vcpu::has_event);
    return false;
}

void adopt_time(Vcpu& vcpu)
{
    const std::uint64_t offset = vcpu.domain.time.tsc_offset() + vcpu.tsc_delta;
    if (offset == vcpu.tsc_offset)
        return;
    vcpu.tsc_offset = offset;
    machine().hvm.set_tsc_offset(vcpu, offset);
}

/// Does what has to be done before an entry.  False: the VCPU must give way.
bool make_ready(Processor& processor, Vcpu& vcpu)
{
    for (;;) {
        if (processor.attention.load(std::memory_order_acquire) && look_around(processor, vcpu))
            return false;
        if (vcpu.has_requests())
            carry_out_requests(vcpu);
        if (vcpu.entry_held && vcpu.runnable())
            continue;
        if (!vcpu.runnable() || (vcpu.in_halt && !wakes(vcpu)))
            return false;
        if (!vcpu.started.load(std::memory_order_relaxed)) {
            wait_for_startup(vcpu);
            continue;
        }
        if (has_waiting_event(vcpu))
            prepare_entry(vcpu);
        if (!vcpu.in_halt)  // else what woke it cannot be taken: it sleeps on
            return true;
    }
}

void run_vcpu(Processor& processor, Vcpu& vcpu)
{
    processor.current = &vcpu;
    vcpu.on = &processor;
    machine().hvm.load(vcpu);
    platform::keep_loaded(vcpu.domain.resident_space);
    adopt_time(vcpu);
    if (prepare_and_announce(vcpu))
        machine().hvm.run(vcpu, answer_exit);
    platform::keep_loaded(nullptr);
    machine().hvm.unload(vcpu);
    processor.current = nullptr;
}

void do_work(BackgroundWork& work)
{
    if (!work_announced.load(std::memory_order_acquire) || work_under_way.exchange(true, std::memory_order_acquire))
        return;
    work_announced.store(false, std::memory_order_release);
    if (work.step())
        work_announced.store(true, std::memory_order_release);
    work_under_way.store(false, std::memory_order_release);
}

void idle(Processor& processor)
{
    program_deadline(processor, platform::ticks());
    if (processor.attention.load(std::memory_order_acquire) || work_announced.load(std::memory_order_acquire))
        return;
    platform::wait_for_interrupt();
}

}  // namespace

bool prepare_and_announce(Vcpu& vcpu)
{
    while (make_ready(*vcpu.on, vcpu)) {
        announce_entry(vcpu);
        if (!vcpu.has_requests())
            return !vcpu.extras.wanted || enter_with_extras(vcpu);
        announce_exit(vcpu);  // asked for since they were carried out
    }
    return false;
}

void announce_work()
{
    work_announced.store(true, std::memory_order_release);
    machine().attend(1);
}

void announce_work_soon() { work_announced.store(true, std::memory_order_release); }

bool run_one_turn(BackgroundWork& work)
{
    Processor& processor = machine().here();
    begin_turn(processor);
    do_work(work);
    const std::uint64_t now = expire_timers(processor);
    Schedulable* const next = machine().scheduler.pick(now);
    if (next == nullptr)
        return false;
    program_deadline(processor, now);
    run_vcpu(processor, static_cast<Vcpu&>(*next));
    machine().scheduler.put_back(*next, platform::ticks());
    return true;
}

void run_processor(BackgroundWork& work)
{
    for (;;)
        if (!run_one_turn(work))
            idle(machine().here());
}

}  // namespace hv::core
