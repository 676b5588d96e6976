// SPDX-License-Identifier: MIT
//
// Whether every VCPU of a domain is halted for good, found out by each that halts: the domain ends as soon as nobody is left to
// wake anybody, and never while an NMI is on its way.  Three VCPUs, each of which may send the others NMIs while it runs.
//
// It abstracts, in hypervisor/core/src:
//   domain/domain.cpp  check_all_halted
//   domain/domain.hpp  rouse
//   vcpu/run_loop.cpp  wakes, wait_for_startup
//   vcpu/entry.cpp     carry_out_requests
//
// Seeded faults, each of which the model must reject:
// fault ONE_PASS             asleep and nothing noted are looked at together, one VCPU after the other
// fault ROUSINGS_UNCOUNTED   nobody looks whether somebody was roused meanwhile
// fault ROUSE_AFTER_TAKING   what was noted is taken first
// fault COUNT_BEFORE_ROUSING  the count is raised before the VCPU is said to be awake
// fault LOOK_BEFORE_SAYING   a VCPU looks at the others before it says that it is asleep itself

#define COUNT 3
#define MESSAGES 3

bit asleep[COUNT];   // Vcpu::dead_halt
bit noted[COUNT];    // Vcpu::requests_
bit awake[COUNT] = 1;  // ghost: it executes, or is about to
byte rousings;
byte messages = MESSAGES;
bit ended;

#define nobody_left (!awake[0] && !awake[1] && !awake[2] && !noted[0] && !noted[1] && !noted[2])

inline check_all_halted() {
    all = 1;
    before = rousings;
    other = 0;
    do
    :: other == COUNT -> break
    :: else ->
       if
       :: !asleep[other] -> all = 0; break
       :: else
       fi;
#ifdef ONE_PASS
       if
       :: noted[other] -> all = 0; break
       :: else
       fi;
#endif
       other = other + 1
    od;
#ifndef ONE_PASS
    other = 0;
    do
    :: !all || other == COUNT -> break
    :: else ->
       if
       :: noted[other] -> all = 0; break
       :: else
       fi;
       other = other + 1
    od;
#endif
    if
#if defined(ROUSINGS_UNCOUNTED) || defined(ONE_PASS)
    :: all -> atomic { assert(nobody_left); ended = 1 }
#else
    :: all && rousings == before -> atomic { assert(nobody_left); ended = 1 }
#endif
    :: else
    fi
}

proctype Vcpu(byte self) {
    byte other, before;
    bit all;
running:
    do
    :: atomic { messages > 0 -> messages = messages - 1; if :: other = (self + 1) % COUNT :: other = (self + 2) % COUNT fi };
       noted[other] = 1
    :: break
    od;
halt:
#ifdef LOOK_BEFORE_SAYING
    check_all_halted();
    atomic { asleep[self] = 1; awake[self] = 0 };
#else
    atomic { asleep[self] = 1; awake[self] = 0 };
    check_all_halted();
#endif
end_asleep:
    noted[self];
#ifdef ROUSE_AFTER_TAKING
    atomic { noted[self] = 0; awake[self] = 1 };
    asleep[self] = 0;
    rousings = rousings + 1;
#else
#ifdef COUNT_BEFORE_ROUSING
    atomic { rousings = rousings + 1 };
    asleep[self] = 0;
#else
    asleep[self] = 0;
    atomic { rousings = rousings + 1 };
#endif
    atomic { noted[self] = 0; awake[self] = 1 };
#endif
    if
    :: goto running  // an NMI
    :: goto halt     // something that does not end a HLT, after all
    fi
}

proctype Judge() {
    timeout;
    assert(ended && nobody_left)
}

init { atomic { run Vcpu(0); run Vcpu(1); run Vcpu(2); run Judge() } }
