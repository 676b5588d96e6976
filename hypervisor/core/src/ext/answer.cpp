// SPDX-License-Identifier: MIT
//
// Declared answers carried out: what the core does by itself where a module has said once how it is.
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

std::uint64_t now_of(const Vcpu& vcpu)
{
    return vcpu.guest_tsc(platform::ticks());
}

std::uint64_t word_of(const StateCopies& state, std::uint32_t offset)
{
    return __atomic_load_n(state.kept + offset / sizeof(std::uint64_t), __ATOMIC_RELAXED);
}

std::uint64_t read_apic(Vcpu& vcpu, std::uint32_t offset)
{
    fetch_task_priority(vcpu);
    return vcpu.apic.read_mmio(offset, 4, now_of(vcpu));
}

Answered write_tpr(Vcpu& vcpu, std::uint64_t value)
{
    if (value > 0xff)
        return Answered::fault;
    vcpu.apic.set_task_priority(static_cast<std::uint8_t>(value));
    store_task_priority(vcpu);
    return Answered::done;
}

}  // namespace

Answered answer_read(VcpuBinding& own, const MsrReadAnswer& answer, std::uint64_t& value)
{
    Vcpu& vcpu = own.vcpu;
    switch (answer.kind) {
    case abi::MsrReadKind::constant: value = answer.value; return Answered::done;
    case abi::MsrReadKind::vcpu_field:
        value = read_field(vcpu, static_cast<abi::VcpuField>(answer.argument));
        return Answered::done;
    case abi::MsrReadKind::scaled_time:
        value = scaled_time(vcpu, answer.value, answer.argument, answer.addend);
        return Answered::done;
    case abi::MsrReadKind::apic_register: value = read_apic(vcpu, answer.argument); return Answered::done;
    case abi::MsrReadKind::apic_icr: value = vcpu.apic.command(); return Answered::done;
    case abi::MsrReadKind::domain_state: value = word_of(own.binding.state, answer.argument); return Answered::done;
    case abi::MsrReadKind::vcpu_state: value = word_of(own.state, answer.argument); return Answered::done;
    case abi::MsrReadKind::general_protection:
    case abi::MsrReadKind::withdrawn: break;
    }
    return Answered::fault;
}

Answered answer_write(Vcpu& vcpu, abi::MsrWriteKind kind, std::uint64_t value)
{
    switch (kind) {
    case abi::MsrWriteKind::apic_eoi: end_interrupt(vcpu); return Answered::done;
    case abi::MsrWriteKind::apic_icr:
        return apply_apic_effect(vcpu, vcpu.apic.write_command(value)) ? Answered::done : Answered::fault;
    case abi::MsrWriteKind::apic_tpr: return write_tpr(vcpu, value);
    case abi::MsrWriteKind::ignore: return Answered::done;
    case abi::MsrWriteKind::deadline:  // not here: move_deadline
    case abi::MsrWriteKind::general_protection:
    case abi::MsrWriteKind::withdrawn: break;
    }
    return Answered::fault;
}

bool move_deadline(VcpuBinding& own, abi::DeadlinePlaces places, std::uint64_t value)
{
    const Handle timer{word_of(own.state, places.timer_at)};
    Binding& binding = own.binding;
    std::uint64_t deadline_ns{};
    if (__builtin_mul_overflow(value, std::uint64_t{places.unit_ns}, &deadline_ns)) [[unlikely]]
        deadline_ns = ~0ull;
    if (value == 0 || !timer.is_of(HandleKind::timer, binding.number) || !binding.timers.move(own, timer, deadline_ns))
        return false;
    own.state.put(places.value_at, value);
    return true;
}

}  // namespace hv::core
