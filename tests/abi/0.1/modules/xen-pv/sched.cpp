// SPDX-License-Identifier: MIT
//
// sched_op: giving the processor away, and the end of the domain.
#include "call.hpp"

namespace xen {
namespace {

Outcome yield(const Call& call)
{
    return ext::check(ext::host().vcpu_yield(call.vcpu().handle())) ? returns(0) : fails(XEN_EINVAL);
}

Outcome end(const Call& call, abi::ShutdownReason reason, std::string_view text)
{
    const auto answer = ext::host().domain_shutdown(call.vcpu().domain(), reason, text.data(), text.size());
    return ext::check(answer) ? returns(0) : fails(XEN_EINVAL);
}

Outcome shutdown(const Call& call)
{
    const auto reason = call.read<std::uint32_t>(call.argument(1));
    if (!reason)
        return fails(XEN_EFAULT);
    switch (*reason) {
    case SHUTDOWN_poweroff: return end(call, abi::ShutdownReason::poweroff, "SCHEDOP_shutdown");
    case SHUTDOWN_reboot: return end(call, abi::ShutdownReason::reboot, "SCHEDOP_shutdown");
    case SHUTDOWN_crash:
        return end(call, abi::ShutdownReason::crash, "the guest reported a crash by SCHEDOP_shutdown");
    case SHUTDOWN_watchdog: return end(call, abi::ShutdownReason::crash, "the guest's watchdog ran out");
    default: return fails(XEN_EINVAL);
    }
}

}  // namespace

Outcome do_sched_op(const Call& call)
{
    switch (call.command()) {
    case SCHEDOP_yield: return yield(call);
    case SCHEDOP_shutdown: return shutdown(call);
    default: return fails(XEN_ENOSYS);
    }
}

}  // namespace xen
