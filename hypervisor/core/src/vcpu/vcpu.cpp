// SPDX-License-Identifier: MIT
#include "hv/core/vcpu/vcpu.hpp"

#include "hv/core/domain/domain.hpp"
#include "hv/core/machine.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/exceptions.hpp"

namespace hv::core {
namespace {

constexpr std::uint32_t bit(VcpuRequest what) { return static_cast<std::uint32_t>(what); }

void apic_deadline(Timer& timer) { static_cast<ApicTimer&>(timer).vcpu.request(VcpuRequest::timer); }

}  // namespace

ApicTimer::ApicTimer(Vcpu& owner) : Timer{apic_deadline}, vcpu{owner} {}

Vcpu::Vcpu(Domain& owner, std::uint32_t index, const LocalApicConfig& apic_config)
    : domain{owner}, apic{apic_config}, view{owner.memory.map()}, apic_timer{*this}
{
    id = index;
    kind = VcpuKind::guest;
    ledger = &owner.ledger;
    nested_root = view.root();
    nested_generation = &owner.memory.map().generation();
}

void Vcpu::request(VcpuRequest what)
{
    requests_.fetch_or(static_cast<std::uint32_t>(what), std::memory_order_acq_rel);
    notice_interrupt();
}

void Vcpu::request_init()
{
    std::uint32_t before = requests_.load(std::memory_order_relaxed);
    std::uint32_t after{};
    do {
        constexpr std::uint32_t startup = bit(VcpuRequest::startup) | 0xffu << startup_vector_shift;
        after = (before & ~startup) | bit(VcpuRequest::init);
    } while (!requests_.compare_exchange_weak(before, after));
    notice_interrupt();
}

void Vcpu::request_startup(std::uint8_t vector)
{
    std::uint32_t before = requests_.load(std::memory_order_relaxed);
    do {
        const bool waits = (before & bit(VcpuRequest::init)) != 0 || !started.load();
        if (!waits || (before & bit(VcpuRequest::startup)) != 0)
            return;
    } while (!requests_.compare_exchange_weak(before, before | bit(VcpuRequest::startup) |
                                                          std::uint32_t{vector} << startup_vector_shift));
    notice_interrupt();
    machine().scheduler.unblock(*this, Blocker::waiting_for_startup);
}

std::uint32_t Vcpu::take_requests()
{
    std::uint32_t requests = requests_.load(std::memory_order_relaxed);
    do {
        if ((requests & bit(VcpuRequest::init)) != 0)
            started.store(false);
    } while (!requests_.compare_exchange_weak(requests, 0));
    return requests;
}

bool Vcpu::has_rousing_request() const
{
    const std::uint32_t requests = requests_.load();
    return started.load() ? requests != 0 : (requests & bit(VcpuRequest::startup)) != 0;
}

std::uint64_t Vcpu::mark(VcpuRequest what)
{
    requests_.fetch_or(static_cast<std::uint32_t>(what), std::memory_order_seq_cst);
    const std::uint64_t turn = guest_turns.load();
    if (machine().here().current != this)
        machine().scheduler.kick(*this);
    return turn;
}

void Vcpu::notice_interrupt()
{
    if (machine().here().current == this)
        return;  // it looks before its next entry anyway
    Scheduler& scheduler = machine().scheduler;
    scheduler.unblock(*this, Blocker::halted);  // under the queue's lock, or a HLT under way would miss it
    scheduler.kick(*this);
}

bool Vcpu::has_event(const Schedulable& self)
{
    const Vcpu& vcpu = static_cast<const Vcpu&>(self);
    const HvmTable& hvm = machine().hvm;
    if (vcpu.has_requests() || (vcpu.nmi_waiting && hvm.nmi_possible(vcpu)))
        return true;
    if (!hvm.interrupt_possible(vcpu))
        return false;
    return (vcpu.external_waiting && vcpu.apic.takes_external_interrupts()) ||
           vcpu.bare_vector.load(std::memory_order_acquire) != 0 || vcpu.apic.highest_deliverable().has_value();
}

std::uint64_t Vcpu::guest_tsc(std::uint64_t now) const { return domain.time.ticks(now) + tsc_delta; }

void Vcpu::end_instruction_with_flags()
{
    end_instruction();
    if (!x86::Rflags::TF::get(registers.rflags))
        return;
    SystemRegisters system{};
    machine().hvm.read_system(*this, system);
    constexpr std::uint64_t dr6_single_step{1 << 14};  // BS [SDM3-083 §18.2.3]
    system.dr6 |= dr6_single_step;
    if (machine().hvm.write_system(*this, system))
        raise(static_cast<std::uint8_t>(x86::Exception::DB));
}

void Vcpu::raise(std::uint8_t vector) { machine().hvm.inject(*this, {EventKind::exception, vector, false, 0}); }

void Vcpu::raise(std::uint8_t vector, std::uint32_t error_code)
{
    machine().hvm.inject(*this, {EventKind::exception, vector, true, error_code});
}

}  // namespace hv::core
