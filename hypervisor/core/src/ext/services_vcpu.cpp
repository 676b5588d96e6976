// SPDX-License-Identifier: MIT
//
// Services on VCPUs as what runs or does not, and on their local APICs' registers.
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "service_call.hpp"

namespace hv::core::services {
namespace {

constexpr std::uint32_t known_wakes{abi::wake_interrupt | abi::wake_deadline | abi::wake_kick};
constexpr std::uint32_t apic_command{0x300};  // ICR, low half [SDM3-083 table 11-1]
constexpr std::uint32_t apic_page{0x400};

Status check_register(std::uint32_t apic_register)
{
    if (apic_register % 16 != 0 || apic_register >= apic_page)
        return Error::invalid_argument;
    return Done{};
}

static_assert(static_cast<std::uint32_t>(RunState::running) == static_cast<std::uint32_t>(abi::RunState::running));
static_assert(static_cast<std::uint32_t>(RunState::offline) == static_cast<std::uint32_t>(abi::RunState::offline));

}  // namespace

Answer vcpu_by_index(std::uint64_t domain, std::uint32_t index, std::uint64_t* vcpu)
{
    return serve_domain(domain, abi::need_vcpus, [&](HookCall& call) -> Status {
        if (vcpu == nullptr)
            return Error::invalid_argument;
        if (index >= call.binding->vcpu_count)
            return Error::not_found;
        *vcpu = call.binding->vcpus[index]->context.vcpu;
        return Done{};
    });
}

Answer vcpu_pause(std::uint64_t vcpu)
{
    return serve_vcpu(vcpu, abi::need_vcpus | acts, [&](HookCall&, VcpuBinding& own) -> Status {
        own.pauses.fetch_add(1);
        update_hold(own.vcpu);
        return Done{};
    });
}

Answer vcpu_unpause(std::uint64_t vcpu)
{
    return serve_vcpu(vcpu, abi::need_vcpus | acts, [&](HookCall&, VcpuBinding& own) -> Status {
        std::uint32_t pauses = own.pauses.load();
        do {
            if (pauses == 0)
                return Error::conflict;
        } while (!own.pauses.compare_exchange_weak(pauses, pauses - 1));
        update_hold(own.vcpu);
        return Done{};
    });
}

Answer vcpu_kick(std::uint64_t vcpu)
{
    return serve_vcpu(vcpu, abi::need_vcpus | acts, [&](HookCall&, VcpuBinding& own) -> Status {
        own.ask(VcpuBinding::Pending::kick);
        wake_vcpu(own);
        return Done{};
    });
}

Answer vcpu_yield(std::uint64_t vcpu)
{
    return serve_vcpu(vcpu, abi::need_vcpus | acts, [&](HookCall& call, VcpuBinding& own) -> Status {
        if (call.vcpu != &own)
            return Error::invalid_argument;
        call.after |= HookCall::yields;
        return Done{};
    });
}

Answer vcpu_block(std::uint64_t vcpu, std::uint32_t wake, std::uint64_t deadline_ns)
{
    return serve_vcpu(vcpu, abi::need_vcpus | acts, [&](HookCall& call, VcpuBinding& own) -> Status {
        if (call.vcpu != &own || wake == 0 || (wake & ~known_wakes) != 0)
            return Error::invalid_argument;
        own.wake = wake;
        own.wake_deadline_ns = deadline_ns;
        return Done{};
    });
}

Answer run_state_times(std::uint64_t vcpu, abi::RunStateTimes* times)
{
    return serve_vcpu(vcpu, abi::need_vcpus, [&](HookCall&, VcpuBinding& own) -> Status {
        if (times == nullptr)
            return Error::invalid_argument;
        const std::uint64_t now = platform::ticks();
        const RunTimes found = machine().scheduler.run_times(own.vcpu, now);
        const GuestTime& time = own.vcpu.domain.time;
        *times = {};
        for (std::size_t state = 0; state < found.ticks.size(); ++state)
            times->ns[state] = scale(found.ticks[state], GuestTime::nanoseconds_per_second, time.frequency());
        times->now = static_cast<abi::RunState>(found.now);
        const std::uint64_t ago = time.running() && now > found.since ? now - found.since : 0;
        const std::uint64_t guest_ticks = time.ticks(now);
        times->since_ns = scale(guest_ticks > ago ? guest_ticks - ago : 0, GuestTime::nanoseconds_per_second,
                                time.frequency());
        return Done{};
    });
}

Answer apic_read(std::uint64_t vcpu, std::uint32_t apic_register, std::uint64_t* value)
{
    return serve_vcpu(vcpu, abi::need_vcpus, [&](HookCall& call, VcpuBinding& own) -> Status {
        if (value == nullptr)
            return Error::invalid_argument;
        HV_TRY(check_register(apic_register));
        HV_TRY(check_still(call, own));
        fetch_task_priority(own.vcpu);
        *value = apic_register == apic_command
                     ? own.vcpu.apic.command()
                     : own.vcpu.apic.read_mmio(apic_register, 4, own.vcpu.guest_tsc(platform::ticks()));
        return Done{};
    });
}

Answer apic_write(std::uint64_t vcpu, std::uint32_t apic_register, std::uint64_t value)
{
    return serve_vcpu(vcpu, abi::need_vcpus | acts, [&](HookCall& call, VcpuBinding& own) -> Status {
        HV_TRY(check_register(apic_register));
        HV_TRY(check_still(call, own));
        if (apic_register != apic_command && value >> 32 != 0)
            return Error::invalid_argument;
        fetch_task_priority(own.vcpu);
        const std::uint64_t now = own.vcpu.guest_tsc(platform::ticks());
        const ApicEffect effect = apic_register == apic_command
                                      ? own.vcpu.apic.write_command(value)
                                      : own.vcpu.apic.write_mmio(apic_register, 4, value, now);
        if (!apply_apic_effect(own.vcpu, effect))
            return Error::invalid_argument;
        store_task_priority(own.vcpu);
        return Done{};
    });
}

}  // namespace hv::core::services
