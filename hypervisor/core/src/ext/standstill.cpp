// SPDX-License-Identifier: MIT
#include "standstill.hpp"

#include "hv/core/machine.hpp"

namespace hv::core {

Standstill::Standstill(Domain& domain, Blocker why) : domain_{domain}, why_{why}
{
    for (unsigned index = 0; index < domain.vcpu_count(); ++index)
        machine().scheduler.block(domain.vcpu(index), why);
    for (unsigned index = 0; index < domain.vcpu_count(); ++index)
        Scheduler::wait_until_off(domain.vcpu(index));
}

Standstill::~Standstill()
{
    for (unsigned index = 0; index < domain_.vcpu_count(); ++index) {
        domain_.vcpu(index).mark(VcpuRequest::extension);
        machine().scheduler.unblock(domain_.vcpu(index), why_);
    }
}

Status check_running(const Domain& domain, TextWriter& why)
{
    const DomainState state = domain.state();
    if (state == DomainState::running || state == DomainState::paused)
        return Done{};
    say(why, "domain '", domain.name(), "' is not running");
    return Error::conflict;
}

}  // namespace hv::core
