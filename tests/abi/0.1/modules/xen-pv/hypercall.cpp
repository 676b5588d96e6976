// SPDX-License-Identifier: MIT
//
// From a hypercall's number to who serves it.  A number that nobody serves is answered -ENOSYS, a call from
// outside of the guest's kernel -EPERM.
#include "call.hpp"

namespace xen {
namespace {

Outcome dispatch(const Call& call)
{
    switch (call.number()) {
    case memory_op: return do_memory_op(call);
    case xen_version: return do_xen_version(call);
    case console_io: return do_console_io(call);
    case sched_op: return do_sched_op(call);
    case hvm_op: return do_hvm_op(call);
    default: return fails(XEN_ENOSYS);
    }
}

}  // namespace

abi::Verdict XenPv::hypercall(Vcpu& vcpu, abi::HypercallFrame& frame)
{
    const Outcome outcome{frame.cpl == 0 ? dispatch(Call{vcpu, frame}) : fails(XEN_EPERM)};
    if (outcome.goes_on)
        return abi::again;
    ext::reg(frame, abi::GeneralRegister::rax) = static_cast<std::uint64_t>(outcome.result);
    return abi::done_unchanged;
}

/// The frame is the one of the first call, and its continuation says how far that came.
abi::Verdict XenPv::hypercall_continue(Vcpu& vcpu, abi::HypercallFrame& frame)
{
    return hypercall(vcpu, frame);
}

}  // namespace xen
