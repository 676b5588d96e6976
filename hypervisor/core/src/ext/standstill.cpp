// SPDX-License-Identifier: MIT
#include "standstill.hpp"

#include "hv/core/machine.hpp"

namespace hv::core {

Standstill::Standstill(Domain& domain) : domain_{domain}
{
    for (unsigned index = 0; index < domain.vcpu_count(); ++index)
        machine().scheduler.block(domain.vcpu(index), Blocker::swapping);
    for (unsigned index = 0; index < domain.vcpu_count(); ++index)
        Scheduler::wait_until_off(domain.vcpu(index));
}

Standstill::~Standstill()
{
    for (unsigned index = 0; index < domain_.vcpu_count(); ++index) {
        domain_.vcpu(index).mark(VcpuRequest::extension);
        machine().scheduler.unblock(domain_.vcpu(index), Blocker::swapping);
    }
}

}  // namespace hv::core
