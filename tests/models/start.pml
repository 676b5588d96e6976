// SPDX-License-Identifier: MIT
//
// INIT and startup messages (SIPI) between processors: one VCPU that runs, and two others that each restart it as kernels do.
// No startup message that the architecture would heed is lost, none starts it elsewhere than the first one said, and it runs
// no instruction between INIT and SIPI.  That a wake reaches a processor is wake.pml's matter: here the VCPU sees at once that
// it is no longer blocked, or that something is asked of it.
//
// It abstracts, in hypervisor/core/src:
//   vcpu/vcpu.cpp      request_init, request_startup, take_requests
//   vcpu/entry.cpp     carry_out_requests, take_init, take_startup
//   vcpu/run_loop.cpp  run_vcpu, wait_for_startup
//   sched/scheduler.cpp  block_unless, unblock
//
// Seeded faults, each of which the model must reject:
// fault BLOCK_THEN_EXCHANGE      INIT blocks where it was seen before all requests are taken, and may come between the two
// fault STARTED_AFTER_TAKING     the VCPU is marked as waiting for a startup message only after INIT was taken
// fault INIT_KEEPS_STARTUP       INIT leaves an earlier startup message in force
// fault LATER_STARTUP_WINS       a second startup message replaces the first one's vector
// fault SLEEP_WITHOUT_LOOKING    the VCPU goes to sleep without a last look under the lock

bit init_noted, startup_noted;  // Vcpu::requests_, changed as one word
byte vector_noted;
bit other_noted;                // any other request, a timer's for instance
bit started = 1;
byte vector;                    // where it was started
bit waiting;                    // Blocker::waiting_for_startup
bit lock;

// What the architecture says, by the order in which messages arrive.
bit expect_started = 1;
byte expect_vector;

#define requests (init_noted || startup_noted || other_noted)

inline request_init() {
    atomic {
        init_noted = 1;
#ifndef INIT_KEEPS_STARTUP
        startup_noted = 0;
        vector_noted = 0;
#endif
        expect_started = 0;
        expect_vector = 0
    }
}

inline request_startup(to) {
    heeded = 0;
    do
    :: seen_init = init_noted; seen_startup = startup_noted;  // one load; that they are two here is caught by the exchange
#ifdef BLOCK_THEN_EXCHANGE
       saw_started = !waiting;
#else
       saw_started = started;
#endif
       if
#ifdef LATER_STARTUP_WINS
       :: !seen_init && saw_started -> break
#else
       :: (!seen_init && saw_started) || seen_startup -> break
#endif
       :: else
       fi;
       atomic {
           if
           :: init_noted == seen_init && startup_noted == seen_startup ->
              startup_noted = 1;
              vector_noted = to;
              heeded = 1;
              if
              :: !expect_started -> expect_started = 1; expect_vector = to
              :: else
              fi;
              break
           :: else
           fi
       }
    od;
    if
    :: heeded ->
       atomic { !lock -> lock = 1 };
       waiting = 0;  // unblock
       lock = 0
    :: else
    fi
}

proctype Sender(byte first) {
    bit seen_init, seen_startup, saw_started, heeded;
    request_init();
    request_startup(first);
    request_startup(first + 1);  // Linux sends two
    request_init();
    request_startup(first + 2)
}

proctype Timer() { other_noted = 1 }

proctype Vcpu() {
    bit take_init, take_startup, take_other;
    byte take_vector;
next_entry:
    if
    :: requests ->  // carry_out_requests
#ifdef BLOCK_THEN_EXCHANGE
       if
       :: init_noted -> atomic { !lock -> lock = 1 }; waiting = 1; lock = 0
       :: else
       fi;
       atomic {
           take_init = init_noted; take_startup = startup_noted; take_vector = vector_noted; take_other = other_noted;
           init_noted = 0; startup_noted = 0; vector_noted = 0; other_noted = 0
       };
#else
       do  // take_requests
       :: atomic {
              take_init = init_noted; take_startup = startup_noted; take_vector = vector_noted; take_other = other_noted
          };
#ifndef STARTED_AFTER_TAKING
          if
          :: take_init -> started = 0
          :: else
          fi;
#endif
          atomic {
              if
              :: take_init == init_noted && take_startup == startup_noted && take_vector == vector_noted &&
                 take_other == other_noted ->
                 init_noted = 0; startup_noted = 0; vector_noted = 0; other_noted = 0;
                 break
              :: else
              fi
          }
       od;
#endif
       if
       :: take_init -> started = 0; vector = 0
       :: else
       fi;
       if
       :: take_startup && !started -> vector = take_vector; started = 1
#ifdef BLOCK_THEN_EXCHANGE
          ; atomic { !lock -> lock = 1 }; waiting = 0; lock = 0
#endif
       :: else
       fi
    :: else
    fi;
    if
    :: waiting -> goto off
    :: else
    fi;
    if
    :: !started ->
#ifdef BLOCK_THEN_EXCHANGE
       requests;  // it looks again and again
#else
       atomic { !lock -> lock = 1 };  // wait_for_startup: block_unless
       if
#ifndef SLEEP_WITHOUT_LOOKING
       :: requests
#endif
       :: else -> waiting = 1
       fi;
       lock = 0;
#endif
       goto next_entry
    :: else
    fi;
    assert(started);
end_in_guest:
    requests;  // a kick ends it
    goto next_entry;
off:
end_off:
    !waiting;
    goto next_entry
}

proctype Judge() {
    timeout;
    assert(expect_started);
    assert(started && !waiting && !requests);
    assert(vector == expect_vector)
}

init { atomic { run Vcpu(); run Sender(1); run Sender(11); run Timer(); run Judge() } }
