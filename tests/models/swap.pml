// SPDX-License-Identifier: MIT
//
// The hot swap of one instance under a VCPU that runs, sets a timer and blocks with a deadline, while callbacks run on another
// processor and the swap on a third.  The guest finds the state that it left, each armed timer is told once, a block ends, and
// nobody touches an instance that is gone.  What one instance does in a hook, and how a VCPU is woken (wake.pml), is not here;
// an event that the VCPU is asked to look for stays noted at the VCPU itself, whichever instance stands.
//
// It abstracts, in hypervisor/core/src:
//   ext/swap.cpp     stop, carry_over, publish, let_go, forget_replaced
//   ext/transfer.cpp export_state, import_state
//   ext/binding.cpp  take_over, cancel_block_timers, arm_block_timers, ask
//   ext/block.cpp    deadline_came, block_vcpu, wake_vcpu, update_hold
//   ext/timers.cpp   set, expire, take_expiry, hand_over
//   ext/events.cpp   serve, deliver_timers
//   machine.cpp      wait_for_turn
//
// Seeded faults, each of which the model must reject:
// fault PUBLISH_BEFORE_IMPORT   the new instance stands before it has the state
// fault EVENTS_LEFT_BEHIND      what the old instance was asked to look for is not handed over
// fault FIRES_IN_BOTH           a timer that is armed is armed again for the new instance
// fault STOP_WITHOUT_WAITING    the state is exported while a hook may still run
// fault FORGET_AT_ONCE          the old instance is destroyed while a callback may still hold it
// fault DEADLINE_BEFORE_BLOCK   the deadline is armed before the VCPU counts as blocked
// fault FIRING_UNSEEN           a deadline's callback is waited for only while its timer counts as armed

#define OLD 0
#define NEW 1

bit standing;             // ExtensionStack::implementation_
byte state[2];            // the block, by instance
byte expected;            // ghost: what the guest wrote last
bit gone[2];              // ghost: destroyed

bit timer_lock, armed, queued, delivering, owner;  // Timers, one timer
bit set_once;             // ghost
byte told;                // ghost: how often its hook was called
bit pending[2];           // VcpuBinding::pending
bit requested;            // VcpuRequest::extension

bit deadline_armed[2], deadline_queued[2], firing[2], held[2];  // VcpuBinding
bit holds_lock;
bit blocked;              // Blocker::extension
bit swapping;             // Blocker::swapping
bit running;              // a hook of the VCPU runs
bit asked_turn[2];        // wait_for_turn, of the two other processors

inline lock_timers() { atomic { !timer_lock -> timer_lock = 1 } }
inline unlock_timers() { timer_lock = 0 }

inline update_hold(which) {
    which = standing;
    atomic { !holds_lock -> holds_lock = 1 };
    assert(!gone[which]);
    blocked = held[which];
    holds_lock = 0
}

proctype Vcpu() {
    bit at, look;
    byte writes, value;
    bit has_blocked;
end_asleep:
    do
    :: asked_turn[0] -> asked_turn[0] = 0
    :: atomic { !swapping && !blocked && (requested || writes < 2 || !set_once || !has_blocked) -> running = 1 };
       if  // carry_out_requests, serve
       :: requested ->
          requested = 0;
          at = standing;
          atomic { look = pending[at]; pending[at] = 0; assert(!gone[at]) };
          if
          :: look ->  // take_expiry
             lock_timers();
             if
             :: delivering && owner == at -> delivering = 0; told = told + 1; assert(told == 1)
             :: else
             fi;
             unlock_timers()
          :: else
          fi
       :: else
       fi;
       at = standing;
       if
       :: writes < 2 ->
          assert(!gone[at]);
          value = state[at];
          assert(value == expected);
          atomic { state[at] = value + 1; expected = value + 1 };
          writes = writes + 1
       :: !set_once ->
          lock_timers();
          owner = at;
          armed = 1;
          atomic { queued = 1; set_once = 1 };
          unlock_timers()
       :: !has_blocked ->  // block_vcpu: until its deadline
          has_blocked = 1;
#ifdef DEADLINE_BEFORE_BLOCK
          deadline_armed[at] = 1;
          deadline_queued[at] = 1;
          held[at] = 1;
          update_hold(at)
#else
          held[at] = 1;
          update_hold(at);
          at = standing;
          deadline_armed[at] = 1;
          deadline_queued[at] = 1
#endif
       :: else
       fi;
       running = 0
    od
}

// The timers' processor; any deadline may have come.
proctype Callbacks() {
    bit at, was_held;
    byte which;
end_idle:
    do
    :: asked_turn[1] -> asked_turn[1] = 0
    :: atomic { queued -> queued = 0 };  // TimerQueue::expire takes it out, and calls
       lock_timers();
       if
       :: armed ->
          armed = 0;
          delivering = 1;
          assert(!gone[owner]);
          pending[owner] = 1;  // ask
          requested = 1
       :: else
       fi;
       unlock_timers()
    :: atomic { deadline_queued[OLD] -> deadline_queued[OLD] = 0; which = OLD }; goto came
    :: atomic { deadline_queued[NEW] -> deadline_queued[NEW] = 0; which = NEW }; goto came
    od;
came:  // deadline_came
    assert(!gone[which]);
    firing[which] = 1;
    deadline_armed[which] = 0;
    atomic { was_held = held[which]; held[which] = 0 };
    if
    :: was_held -> update_hold(at)
    :: else
    fi;
    assert(!gone[which]);
    firing[which] = 0;
    goto end_idle
}

inline wait_for_turn() {
    asked_turn[0] = 1;
    asked_turn[1] = 1;
    !asked_turn[0] && !asked_turn[1]
}

proctype Swapper() {
    bit any, look;
    swapping = 1;  // stop
#ifndef STOP_WITHOUT_WAITING
    !running;      // wait_until_off
#endif
    any = deadline_armed[OLD];  // cancel_block_timers
#ifndef FIRING_UNSEEN
    any = any || firing[OLD];
#endif
    deadline_queued[OLD] = 0;
    if
    :: any -> wait_for_turn()
    :: else
    fi;
    if  // a step fails: the old instance goes on
    :: true ->
       if
       :: deadline_armed[OLD] -> deadline_queued[OLD] = 1
       :: else
       fi;
       swapping = 0;
       goto end_done
    :: true
    fi;
#ifdef PUBLISH_BEFORE_IMPORT
    standing = NEW;
    swapping = 0;
#endif
    state[NEW] = state[OLD];  // carry_over
    lock_timers();            // publish: hand_over
    owner = NEW;
#ifdef FIRES_IN_BOTH
    if
    :: set_once -> armed = 1; queued = 1
    :: else
    fi;
#endif
    unlock_timers();
#ifndef EVENTS_LEFT_BEHIND
    atomic { look = pending[OLD]; pending[OLD] = 0 };  // take_over
    pending[NEW] = pending[NEW] || look;
#endif
    atomic { look = held[OLD]; held[OLD] = 0 };
    held[NEW] = look;
    deadline_armed[NEW] = deadline_armed[OLD];
    deadline_armed[OLD] = 0;
    if  // arm_block_timers
    :: deadline_armed[NEW] -> deadline_queued[NEW] = 1
    :: else
    fi;
    standing = NEW;
    swapping = 0;  // let_go
#ifndef FORGET_AT_ONCE
    wait_for_turn();  // forget_replaced
#endif
    gone[OLD] = 1;
end_done:
    skip
}

proctype Judge() {
    timeout;
    assert(set_once && told == 1);
    assert(!blocked && !held[standing] && !swapping && !running);
    assert(expected == 2 && state[standing] == expected)
}

init { atomic { run Vcpu(); run Callbacks(); run Swapper(); run Judge() } }
