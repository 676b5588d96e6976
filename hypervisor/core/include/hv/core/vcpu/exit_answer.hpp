// SPDX-License-Identifier: MIT
//
// From an exit to the next entry.  The back end stays in its loop meanwhile (HvmTable::run) and calls answer_exit(), which
// leads to the answer of the exit's kind; each ends by goes_on().  What is here is paid at every exit.  To be called by the
// processor that runs the VCPU.
#pragma once

#include "hv/core/hvm/exit.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/vcpu.hpp"

namespace hv::core {

/// What the core does about each exit: an ExitAnswer.
bool answer_exit(VcpuContext& context);

/// From here on other processors take the VCPU for one that is in the guest.  Before the look at whether it may go there.
inline void announce_entry(Vcpu& vcpu) { vcpu.guest_turns.fetch_add(1); }
inline void announce_exit(Vcpu& vcpu) { vcpu.guest_turns.fetch_add(1, std::memory_order_release); }

/// Does all that has to be done before the VCPU enters the guest, and announces the entry; false: it must give way.
bool prepare_and_announce(Vcpu& vcpu);
/// The same for a VCPU whose entry was announced too early.
bool prepare_after_all(Vcpu& vcpu);
/// The end of an entry's preparation where there is more to it than the common.  True.
bool enter_with_extras(Vcpu& vcpu);

/// The exit is dealt with.  True: the guest goes on, as is announced; false: the VCPU must give way.
inline bool goes_on(Vcpu& vcpu)
{
    announce_entry(vcpu);
    if (!vcpu.unconcerned() || vcpu.on->attention.load(std::memory_order_acquire)) [[unlikely]]
        return prepare_after_all(vcpu);
    if (vcpu.extras.wanted) [[unlikely]]
        return enter_with_extras(vcpu);
    return true;
}

/// An answer made of a handler.
template <void (*handle)(Vcpu&, const Exit&)>
bool answer_by(Vcpu& vcpu)
{
    handle(vcpu, vcpu.exit);
    return goes_on(vcpu);
}

// Answers that have a shorter way than their handlers (ext/short_exits.cpp, ext/hypercall.cpp).
bool answer_hypercall(Vcpu& vcpu);
bool answer_cpuid(Vcpu& vcpu);
bool answer_msr_read(Vcpu& vcpu);
bool answer_msr_write(Vcpu& vcpu);

}  // namespace hv::core
