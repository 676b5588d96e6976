// SPDX-License-Identifier: MIT
//
// One VCPU, two guest processors that may run it, a device that interrupts it, and an operator who pauses it: no interrupt is
// left lying while the VCPU sleeps or computes, and a pause that was acknowledged holds.  Each step is one access to memory
// that others see; what happens under a queue's lock may still be overtaken by accesses that take no lock.  The one store that
// may linger in a processor's store buffer, of the attention flag, does so here too.
//
// It abstracts, in hypervisor/core/src:
//   vcpu/run_loop.cpp    run_one_turn, run_vcpu, look_around, begin_turn, wakes, idle
//   sched/scheduler.cpp  pick, steal, hand_over, accept, put_back, block, block_unless, unblock, wake_if_needed, kick, wait_until_off
//   vcpu/vcpu.cpp        notice_interrupt
//   machine.cpp          attend
//   domain/domain.cpp    pause, unpause
//
// variant HAND_OVER  processors hand the VCPU over to each other when they will; without the store buffer, to keep it small
//
// Seeded faults, each of which the model must reject:
// fault CHECK_OUTSIDE_THE_LOCK   the last look for an event before HLT is not under the queue's lock
// fault NOTICE_BEFORE_REQUEST    the waker unblocks and kicks first, and notes the interrupt then
// fault ATTENTION_WITHOUT_IPI    attention is a flag only
// fault ACKNOWLEDGE_WHILE_RUNNING  a pause does not wait until the VCPU is off its processor
// fault ACCEPT_BLINDLY           what was handed over is queued without a look at what was done to it meanwhile
// fault STEAL_BEHIND_THE_LOCK    a thief marks what it took only after it has let go of the queue

#define INTERRUPTS 1
#ifdef ACCEPT_BLINDLY
#define HAND_OVER
#endif

bit requested;           // LocalApic: an interrupt waits
bit halted, paused;      // blockers
bit running, queued;     // Schedulable
byte where;              // Schedulable::processor_
bit lock[2];             // a queue's
bit attention[2];        // Processor::attention
bit clearing[2];         // ... a store of `false` in the store buffer of its processor
bit interrupt[2];        // an IPI is pending there
bit in_halt;             // the guest executed HLT
bit in_guest;
bit still;               // the operator was told that the VCPU stands still
byte left = INTERRUPTS;

#define runnable (!halted && !paused)

inline drain(own) {
    atomic {
        if
        :: clearing[own] -> clearing[own] = 0; attention[own] = 0
        :: else
        fi
    }
}
#ifdef HAND_OVER
inline forget_attention(own) { attention[own] = 0 }
#else
inline forget_attention(own) { clearing[own] = 1 }
#endif

// A locked instruction: what is in the store buffer goes out with it.
inline acquire(queue_nr, own) {
    atomic {
        !lock[queue_nr] -> lock[queue_nr] = 1;
        if
        :: clearing[own] -> clearing[own] = 0; attention[own] = 0
        :: else
        fi
    }
}
inline acquire_unbuffered(queue_nr) { atomic { !lock[queue_nr] -> lock[queue_nr] = 1 } }
inline release(queue_nr) { lock[queue_nr] = 0 }

inline attend(target) {
    attention[target] = 1;
#ifndef ATTENTION_WITHOUT_IPI
    interrupt[target] = 1
#endif
}

// lock_queue_of(), by who runs on no guest processor of these two
inline lock_queue(which) {
    do
    :: which = where;
       acquire_unbuffered(which);
       if
       :: where == which -> break
       :: else -> release(which)
       fi
    od
}

inline wake_if_needed(which) {
    attend(which);
#ifndef HAND_OVER
    if
    :: attend(1 - which)  // somebody idle may take it over
    :: skip
    fi
#endif
}

proctype Guest_processor(byte me) {
    bool mine;
    byte queue;
turn:
    forget_attention(me);  // begin_turn
    // pick
    mine = false;
    acquire(me, me);
#ifdef HAND_OVER
    if  // hand_over, accept
    :: queued && where == me ->
       queued = 0;
       where = 1 - me;
       release(me);
       acquire(1 - me, me);
       if
#ifdef ACCEPT_BLINDLY
       :: true -> queued = 1; attend(1 - me)
#else
       :: where == 1 - me && !queued && !running && runnable -> queued = 1; attend(1 - me)
       :: else
#endif
       fi;
       release(1 - me);
       acquire(me, me)
    :: true
    fi;
#endif
    if
    :: queued && where == me -> queued = 0; running = 1; mine = true; release(me)
    :: else ->
       release(me);
       acquire(1 - me, me);  // steal
       if
       :: queued && where == 1 - me ->
          queued = 0;
#ifdef STEAL_BEHIND_THE_LOCK
          release(1 - me);
          running = 1;
          where = me;
#else
          running = 1;
          where = me;
          release(1 - me);
#endif
          mine = true
       :: true -> release(1 - me)
       fi
    fi;
    if
    :: mine -> goto next_entry
    :: else
    fi;
    // idle
    if
    :: attention[me] && !clearing[me] -> goto turn
    :: else
    fi;
end_idle:
    atomic { interrupt[me] -> interrupt[me] = 0; goto turn }

next_entry:
    if
    :: attention[me] && !clearing[me] ->  // look_around
       forget_attention(me);
       if
       :: !runnable -> goto leave
       :: else
       fi
    :: else
    fi;
    if
    :: !runnable -> goto leave
    :: else
    fi;
    if
    :: in_halt ->  // wakes
       if
       :: requested
       :: else ->
#ifdef CHECK_OUTSIDE_THE_LOCK
          acquire(me, me);
          halted = 1;
#else
          acquire(me, me);
          if
          :: requested
          :: else -> halted = 1
          fi;
#endif
          release(me);
          goto leave
       fi
    :: else
    fi;
    atomic {  // prepare_entry
        if
        :: requested -> requested = 0; in_halt = 0
        :: else
        fi
    };
    if
    :: in_halt -> goto next_entry
    :: else
    fi;
    atomic { in_guest = 1; assert(!still); assert(running && where == me) };
    drain(me);
    if
    :: atomic { in_guest = 0; in_halt = 1 }; goto next_entry  // HLT
    :: goto compute
    fi;
compute:
end_compute:  // for ever, unless somebody interrupts it
    atomic { interrupt[me] -> interrupt[me] = 0; in_guest = 0; attention[me] = 1; goto next_entry }

leave:
    acquire(me, me);  // put_back
    running = 0;
    if
    :: runnable -> queued = 1
    :: else
    fi;
    release(me);
    goto turn
}

// The time that a store may take to leave its processor's buffer.
proctype Store_buffer(byte cpu) {
end_wait:
    do
    :: atomic { clearing[cpu] -> clearing[cpu] = 0; attention[cpu] = 0 }
    od
}

inline note() { atomic { requested = 1; left = left - 1 } }

inline notice(queue) {
    lock_queue(queue);  // unblock
    if
    :: halted && !paused ->
       halted = 0;
       if
       :: running
       :: else -> queued = 1; wake_if_needed(queue)
       fi
    :: else -> halted = 0
    fi;
    release(queue);
    if  // kick
    :: running -> queue = where; attend(queue)
    :: else
    fi
}

proctype Device() {
    byte queue;
    do
    :: left == 0 -> break
    :: else ->
#ifdef NOTICE_BEFORE_REQUEST
       notice(queue);
       note()
#else
       note();
       notice(queue)
#endif
    od
}

proctype Operator() {
    byte queue;
    bit was_running;
    lock_queue(queue);  // pause: block
    paused = 1;
    queued = 0;
    was_running = running;
    release(queue);
    if
    :: was_running -> attend(queue)
    :: else
    fi;
#ifndef ACKNOWLEDGE_WHILE_RUNNING
    !running;  // wait_until_off
#endif
    atomic { still = 1; assert(!in_guest) };
    still = 0;
    lock_queue(queue);  // unpause: unblock
    paused = 0;
    if
    :: runnable && !running -> queued = 1; wake_if_needed(queue)
    :: else
    fi;
    release(queue)
}

// When nobody can go on: nothing waits, and the VCPU sleeps or computes.
proctype Judge() {
    timeout;
    assert(!requested && left == 0);
    assert(!paused && !queued);
    assert(in_guest || (in_halt && halted && !running))
}

init {
    atomic {
        queued = 1;
        run Guest_processor(0); run Guest_processor(1); run Store_buffer(0); run Store_buffer(1);
        run Device(); run Operator(); run Judge()
    }
}
