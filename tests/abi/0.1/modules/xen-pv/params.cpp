// SPDX-License-Identifier: MIT
//
// hvm_op get_param and set_param.  There is no xenstore and no console ring yet, and the parameters say so:
// the store's read 0, the console's are no parameters here.
#include "call.hpp"

namespace xen {
namespace {

Outcome get_param(const Call& call, HvmParam param)
{
    switch (param.index) {
    case HVM_PARAM_CALLBACK_IRQ:
        param.value = __atomic_load_n(&call.vcpu().domain_state().callback, __ATOMIC_RELAXED);
        break;
    case HVM_PARAM_STORE_PFN:
    case HVM_PARAM_STORE_EVTCHN: param.value = 0; break;
    default: return fails(XEN_EINVAL);
    }
    return call.give(call.argument(1), param);
}

Outcome set_param(const Call& call, const HvmParam& param)
{
    if (param.index == HVM_PARAM_STORE_PFN || param.index == HVM_PARAM_STORE_EVTCHN)
        return fails(XEN_EPERM);
    if (param.index != HVM_PARAM_CALLBACK_IRQ)
        return fails(XEN_EINVAL);
    const auto state = call.vcpu().update_domain();
    if (!state)
        return fails(XEN_EINVAL);
    __atomic_store_n(&state.value()->callback, param.value, __ATOMIC_RELAXED);
    return returns(0);
}

}  // namespace

Outcome do_hvm_op(const Call& call)
{
    if (call.command() != HVMOP_set_param && call.command() != HVMOP_get_param)
        return fails(XEN_ENOSYS);
    const auto param = call.read<HvmParam>(call.argument(1));
    if (!param)
        return fails(XEN_EFAULT);
    if (!call.is_self(param->domid))
        return fails(XEN_ESRCH);
    return call.command() == HVMOP_get_param ? get_param(call, *param) : set_param(call, *param);
}

}  // namespace xen
